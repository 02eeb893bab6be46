"""What the simulated agent does: appends and open files, and a record of all that was ever done.

It breaks its test at once when something is done that must not be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from peer.channel.responder_core import ClientKey, Work
from schema.attributes import FileMetadata
from schema.replies import AnyReply, Done, FileData, Metadata, OpenedFile, Written
from schema.requests import CloseFile, CreateFile, GetMetadata, KeepAlive, ReadFile, WriteFile

NO_METADATA = FileMetadata(1, 0o100644, 1, 0, 0, 0, 0, 4096, 1, 0, 0, 0, 0)


class FileModel:
    """The files outlive the agent's programs; handles do not. An operation is named by the offset that it writes at."""

    def __init__(self, forbidden: Callable[[int], str | None]) -> None:
        """`forbidden(operation)` says why an operation may not begin now."""
        self._forbidden = forbidden
        self._next_handle = 1
        self.boot = 0
        self.done: Counter[tuple[int, int]] = Counter()
        """How often each (boot, operation) was done."""
        self.handles: dict[int, tuple[ClientKey, int]] = {}
        """Handle -> whose it is, and the operation that opened it."""

    def restart(self) -> None:
        """Another program runs now."""
        self.boot += 1
        self.handles.clear()

    def client_gone(self, client: ClientKey) -> None:
        """Close all that it has open."""
        self.handles = {handle: owner for handle, owner in self.handles.items() if owner[0] != client}

    def perform(self, work: Work) -> AnyReply:
        """Do it. What the answer says can only be the answer to this very request."""
        match work.request:
            case WriteFile(offset=operation):
                self._count(operation)
                return Written(operation, NO_METADATA)
            case CreateFile(path=(name,)):
                operation = int(name)
                self._count(operation)
                handle = self._next_handle
                self._next_handle += 1
                self.handles[handle] = (work.client, operation)
                return OpenedFile(handle, NO_METADATA, operation)
            case CloseFile(handle=handle):
                owner = self.handles.pop(handle, None)
                assert owner is None or owner[0] == work.client, "somebody closed the file of another"
                return Done()
            case ReadFile(offset=operation):
                return FileData(memoryview(b"%d" % operation))
            case GetMetadata(path=(name,)):
                return Metadata(NO_METADATA.__class__(*[int(name)] * 13))
            case KeepAlive():
                return Done()
        raise AssertionError(work)

    def _count(self, operation: int) -> None:
        why = self._forbidden(operation)
        assert why is None, why
        self.done[self.boot, operation] += 1
        assert self.done[self.boot, operation] == 1, f"operation {operation} was done twice by one agent"
