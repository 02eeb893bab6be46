"""Record locks and flock(2) of a real kernel, taken as the requests ask.

The one rule: an owner's record locks on a file live on one descriptor of their own (open file description locks of
fcntl(2)), so that owners exclude one another inside one process as processes do.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable
from typing import Final

from schema.replies import LockState
from schema.requests import LockFile, LockMode, LockStyle, TestLock

_FLOCK: Final = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid."""
_TYPES: Final = {
    LockMode.SHARED: fcntl.F_RDLCK,
    LockMode.EXCLUSIVE: fcntl.F_WRLCK,
    LockMode.UNLOCK: fcntl.F_UNLCK,
}
_MODES: Final = {number: mode for mode, number in _TYPES.items()}
_FLOCKS: Final = {
    LockMode.SHARED: fcntl.LOCK_SH,
    LockMode.EXCLUSIVE: fcntl.LOCK_EX,
    LockMode.UNLOCK: fcntl.LOCK_UN,
}
_RETRY_SECONDS: Final = 0.002

Key = tuple[int, int, int]


class PosixLocks:
    """The lock descriptors, by device, inode and owner."""

    def __init__(self) -> None:
        self._descriptors: Final[dict[Key, int]] = {}
        self._taken_by: Final[dict[int, set[Key]]] = {}

    def lock(self, descriptor: int, request: LockFile) -> None:
        """Take or give back; `descriptor` is the one of the request's handle. EAGAIN, EBADF."""
        if request.style is LockStyle.FLOCK:
            _retry(request.wait_ms, lambda: fcntl.flock(descriptor, _FLOCKS[request.mode] | fcntl.LOCK_NB))
            return
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if access == {LockMode.SHARED: os.O_WRONLY, LockMode.EXCLUSIVE: os.O_RDONLY}.get(request.mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        own = self._descriptor(descriptor, request.handle, request.owner)
        wanted = _FLOCK.pack(_TYPES[request.mode], os.SEEK_SET, request.start, request.length, 0)
        _retry(request.wait_ms, lambda: fcntl.fcntl(own, fcntl.F_OFD_SETLK, wanted))

    def blocker(self, descriptor: int, request: TestLock) -> LockState:
        """F_GETLK."""
        own = self._descriptor(descriptor, request.handle, request.owner)
        wanted = _FLOCK.pack(_TYPES[request.mode], os.SEEK_SET, request.start, request.length, 0)
        kind, _, start, length, _ = _FLOCK.unpack(fcntl.fcntl(own, fcntl.F_OFD_GETLK, wanted))
        return LockState(LockMode.UNLOCK) if kind == fcntl.F_UNLCK else LockState(_MODES[kind], start, length)

    def _descriptor(self, descriptor: int, handle: int, owner: int) -> int:
        status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino, owner)
        self._taken_by.setdefault(handle, set()).add(key)
        if key not in self._descriptors:
            self._descriptors[key] = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        return self._descriptors[key]

    def handle_closed(self, handle: int) -> None:
        """The owners that locked through `handle` lose their locks on that file, as when a process closes it."""
        unlock = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
        for key in self._taken_by.pop(handle, ()):
            if key in self._descriptors:
                own = self._descriptors.pop(key)
                # A FUSE file system hears nothing of an open file description's locks when it is closed.
                fcntl.fcntl(own, fcntl.F_OFD_SETLK, unlock)
                os.close(own)


def _retry(wait_ms: int, attempt: Callable[[], object]) -> None:
    """Try until it is done or `wait_ms` milliseconds are over; then the last EAGAIN."""
    deadline = time.monotonic() + wait_ms / 1000
    while True:
        try:
            attempt()
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return
