"""Which open files have something to flush: the others are closed without asking.

The one rule: close(2) says what became of everything that was written by its handle since it was asked last.
"""

from __future__ import annotations

from typing import Final

from peer.filesystem import Decorator, FileSystem
from schema.replies import Copied, Done, Metadata, Written
from schema.requests import AllocateSpace, Caller, CloseFile, CopyRange, FlushFile, WriteFile


class Unflushed(Decorator):
    """A `FileSystem` that passes on a flush only where something was written. Thread-safe: a set's methods are."""

    def __init__(self, inner: FileSystem) -> None:
        super().__init__(inner)
        self._written: Final[set[int]] = set()

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        """See `FileSystem`."""
        self._written.add(request.handle)
        return self.inner.write_file(request, caller)

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        self._written.add(request.handle)
        return self.inner.allocate_space(request, caller)

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        """See `FileSystem`."""
        self._written.add(request.target)
        return self.inner.copy_range(request, caller)

    def flush_file(self, request: FlushFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        if request.handle not in self._written:
            return Done()
        self._written.discard(request.handle)  # before: what is written meanwhile is for the next one to flush
        try:
            return self.inner.flush_file(request, caller)
        except BaseException:
            self._written.add(request.handle)
            raise

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        self._written.discard(request.handle)
        return self.inner.close_file(request, caller)
