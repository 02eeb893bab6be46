"""fcntl(2) and flock(2) locks: what libfuse passes, as requests, and the waiting for them.

The one rule: a thread that waits for a lock asks again and again, each time for a fraction of a second, and stops as
soon as its caller is sent a signal; so a process that waits can be killed, and a mount that ends is not held up.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

import msgspec

from peer.errors import OperationFailed
from peer.filesystem import FileSystem
from peer.mount.aliases import FileKey
from peer.mount.fuse_translation import RecordLock
from schema.requests import Caller, LockFile, LockMode, LockStyle, TestLock

_SLICE_MS: Final = 400
"""Milliseconds that one question waits: within this time a signal is heeded."""

_MODES: Final = {fcntl.F_RDLCK: LockMode.SHARED, fcntl.F_WRLCK: LockMode.EXCLUSIVE, fcntl.F_UNLCK: LockMode.UNLOCK}
_TYPES: Final = {mode: number for number, mode in _MODES.items()}
_FLOCK_MODES: Final = {
    fcntl.LOCK_SH: LockMode.SHARED,
    fcntl.LOCK_EX: LockMode.EXCLUSIVE,
    fcntl.LOCK_UN: LockMode.UNLOCK,
}


class Locks:
    """The locks of one mount. `revalidate` is called with a handle whose file a lock was taken on."""

    def __init__(
        self, filesystem: FileSystem, interrupted: Callable[[], bool], revalidate: Callable[[int], None]
    ) -> None:
        self._filesystem = filesystem
        self._interrupted = interrupted
        self._revalidate = revalidate
        self._files: dict[int, FileKey] = {}
        self._held: set[tuple[FileKey, int]] = set()

    def opened(self, handle: int, file: FileKey) -> None:
        """`handle` is an open file on `file`."""
        self._files[handle] = file

    def closed(self, handle: int) -> None:
        """`handle` was given back."""
        self._files.pop(handle, None)

    def record_lock(self, handle: int, command: int, lock: RecordLock, owner: int, caller: Caller) -> None:
        """F_GETLK, F_SETLK or F_SETLKW of fcntl(2)."""
        mode = _MODES.get(lock.l_type)
        if mode is None:
            raise OSError(errno.EINVAL, f"no lock is of type {lock.l_type}")
        if command == fcntl.F_GETLK:
            self._test(handle, mode, lock, owner, caller)
            return
        holder = (self._files[handle], owner)
        if mode is not LockMode.UNLOCK:
            self._held.add(holder)
        elif holder not in self._held:
            return  # libfuse gives back the locks of whoever closes a file, and hardly anybody has any.
        request = LockFile(handle, owner=owner, style=LockStyle.FCNTL, mode=mode, start=lock.l_start, length=lock.l_len)
        self._take(request, caller, wait=command == fcntl.F_SETLKW)
        if mode is LockMode.UNLOCK and lock.l_start == 0 and lock.l_len == 0:
            self._held.discard(holder)

    def whole_file(self, handle: int, operation: int, owner: int, caller: Caller) -> None:
        """flock(2)."""
        mode = _FLOCK_MODES.get(operation & ~fcntl.LOCK_NB)
        if mode is None:
            raise OSError(errno.EINVAL, f"no flock operation {operation:#x}")
        request = LockFile(handle, owner=owner, style=LockStyle.FLOCK, mode=mode)
        self._take(request, caller, wait=not operation & fcntl.LOCK_NB)

    def _take(self, request: LockFile, caller: Caller, *, wait: bool) -> None:
        if wait and request.mode is not LockMode.UNLOCK:
            request = msgspec.structs.replace(request, wait_ms=_SLICE_MS)
        while True:
            try:
                self._filesystem.lock_file(request, caller)
            except OperationFailed as failure:
                if not request.wait_ms or failure.code != "EAGAIN":
                    raise
            else:
                break
            if self._interrupted():
                raise OSError(errno.EINTR, "a signal ended the wait for a lock")
        if request.mode is not LockMode.UNLOCK:
            # What others wrote under their lock, we must see under ours, as NFS clients do.
            self._revalidate(request.handle)

    def _test(self, handle: int, mode: LockMode, lock: RecordLock, owner: int, caller: Caller) -> None:
        request = TestLock(handle, owner=owner, mode=mode, start=lock.l_start, length=lock.l_len)
        state = self._filesystem.test_lock(request, caller)
        lock.l_type = _TYPES[state.mode]
        lock.l_whence = os.SEEK_SET
        if state.mode is not LockMode.UNLOCK:
            lock.l_start, lock.l_len, lock.l_pid = state.start, state.length, state.pid
