"""Containers that stay open from one read to the next, so that the kernel reads ahead in them as in any file.

The one rule: who reads gets what has the name now. Each use compares the file at the path with the one that is open,
and whoever removes a name has it closed here, when its last reader is done.

A descriptor that is opened anew for each read has no read-ahead of its own; to ask for it by posix_fadvise(2) has the
page cache filled page by page: that was a quarter of the CPU time of reading from a cold disk.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

KEPT: Final = 16
"""Descriptors that are kept. So much of the disk stays taken, at worst and for a while, when others evict them."""


class _Open:
    __slots__ = ("descriptor", "file", "kept", "readers", "used")

    def __init__(self, descriptor: int, file: tuple[int, int]) -> None:
        self.descriptor: Final = descriptor
        self.file: Final = file
        self.kept = True
        self.readers = 1
        self.used = True


class OpenContainers:
    """The files that are open for reading, by path; safe in threads. `flags` are those of open(2)."""

    def __init__(self, flags: int) -> None:
        self._flags: Final = flags
        self._lock: Final = threading.Lock()
        self._open: Final[OrderedDict[str, _Open]] = OrderedDict()

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[int | None]:
        """A descriptor to read from, or None where no such file is. Raises OSError for other failures."""
        found = self._found(path)
        if found is None:
            yield None
            return
        try:
            yield found.descriptor
        finally:
            with self._lock:
                found.readers -= 1
                self._close_unused(found)

    def close(self, path: str) -> None:
        """The name is gone: let go of what had it."""
        with self._lock:
            self._drop(path)

    def close_idle(self) -> None:
        """Let go of what was not read since the last call."""
        with self._lock:
            for path, each in list(self._open.items()):
                if each.used:
                    each.used = False
                else:
                    self._drop(path)

    def close_all(self) -> None:
        """Let go of everything; who reads on opens anew."""
        with self._lock:
            for path in list(self._open):
                self._drop(path)

    def _found(self, path: str) -> _Open | None:
        try:
            now = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            self.close(path)
            return None
        with self._lock:
            found = self._open.get(path)
            # While it is open here, no other file can have its number.
            if found is not None and found.file == (now.st_dev, now.st_ino):
                found.readers += 1
                found.used = True
                self._open.move_to_end(path)
                return found
        return self._opened(path)

    def _opened(self, path: str) -> _Open | None:
        try:
            descriptor = os.open(path, self._flags)
        except FileNotFoundError:
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return None
        found = _Open(descriptor, (status.st_dev, status.st_ino))
        with self._lock:
            self._drop(path)
            self._open[path] = found
            if len(self._open) > KEPT:
                self._drop(next(iter(self._open)))
        return found

    def _drop(self, path: str) -> None:
        found = self._open.pop(path, None)
        if found is not None:
            found.kept = False
            self._close_unused(found)

    @staticmethod
    def _close_unused(found: _Open) -> None:
        if not found.kept and not found.readers:
            os.close(found.descriptor)
