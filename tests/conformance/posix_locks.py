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
from tests.conformance.lock_table import END_OF_FILE, HeldLock, LockTable, LockUse

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

Inode = tuple[int, int]
"""Device and number."""


class PosixLocks:
    """The lock descriptors by inode and owner, and who has locked what by which handle."""

    def __init__(self) -> None:
        self._descriptors: Final[dict[tuple[Inode, int], int]] = {}
        self._held: Final[dict[Inode, LockTable]] = {}
        self._use: Final[dict[Inode, LockUse]] = {}

    def lock(self, descriptor: int, request: LockFile) -> None:
        """Take or give back; `descriptor` is the one of the request's handle. EAGAIN, EBADF."""
        if request.style is LockStyle.FLOCK:
            _retry(request.wait_ms, lambda: fcntl.flock(descriptor, _FLOCKS[request.mode] | fcntl.LOCK_NB))
            return
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if access == {LockMode.SHARED: os.O_WRONLY, LockMode.EXCLUSIVE: os.O_RDONLY}.get(request.mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        inode, own = self._descriptor(descriptor, request.owner)
        wanted = _FLOCK.pack(_TYPES[request.mode], os.SEEK_SET, request.start, request.length, 0)
        _retry(request.wait_ms, lambda: fcntl.fcntl(own, fcntl.F_OFD_SETLK, wanted))
        held = self._held.setdefault(inode, LockTable())
        end = request.start + request.length if request.length else END_OF_FILE
        held.apply(HeldLock(request.owner, request.mode, request.start, end))
        self._use.setdefault(inode, LockUse(held)).used(request.owner, request.handle)

    def blocker(self, descriptor: int, request: TestLock) -> LockState:
        """F_GETLK."""
        _, own = self._descriptor(descriptor, request.owner)
        wanted = _FLOCK.pack(_TYPES[request.mode], os.SEEK_SET, request.start, request.length, 0)
        kind, _, start, length, _ = _FLOCK.unpack(fcntl.fcntl(own, fcntl.F_OFD_GETLK, wanted))
        return LockState(LockMode.UNLOCK) if kind == fcntl.F_UNLCK else LockState(_MODES[kind], start, length)

    def handle_closed(self, descriptor: int, handle: int) -> None:
        """The owners that locked by `handle` alone lose their locks on its file."""
        inode = _inode(descriptor)
        gone = self._use[inode].closed(handle) if inode in self._use else set()
        unlock = _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
        for owner in gone:
            # A FUSE file system hears nothing of an open file description's locks when it is closed.
            fcntl.fcntl(self._descriptors[inode, owner], fcntl.F_OFD_SETLK, unlock)

    def close(self) -> None:
        """Close all lock descriptors."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _descriptor(self, descriptor: int, owner: int) -> tuple[Inode, int]:
        inode = _inode(descriptor)
        if (inode, owner) not in self._descriptors:
            self._descriptors[inode, owner] = _another_description(descriptor)
        return inode, self._descriptors[inode, owner]


def _another_description(descriptor: int) -> int:
    """The same file opened once more; what has lost its name on a FUSE mount cannot be, and is shared."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
        return os.dup(descriptor)


def _inode(descriptor: int) -> Inode:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


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
