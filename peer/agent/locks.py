"""Locks of the clients' processes, held in the agent's kernel, so that local processes respect them too.

A record lock of fcntl(2) belongs to a process and an inode. Here the owner is (client instance, inode, the owner's
number): it has one open file description of its own, and its locks are OFD locks on that. So two owners exclude each
other, one owner never excludes itself however many handles it uses, and closing the description frees everything. A
lock of flock(2) belongs to an open file, that is to a handle, and sits on the handle's own description.

The one rule: nothing waits in here. A lock that another holds is `BlockingIOError`, at once; see `lock_waiters`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from typing import Final

from peer.agent import system_calls
from peer.agent.lock_ranges import Range, changed
from peer.agent.namespace import reopen
from peer.agent.open_files import OpenFile
from peer.agent.system_calls import RecordLock
from schema.envelope import Address
from schema.replies import LockState
from schema.requests import LockFile, LockMode, LockStyle, TestLock

_RECORD: Final = {LockMode.SHARED: fcntl.F_RDLCK, LockMode.EXCLUSIVE: fcntl.F_WRLCK, LockMode.UNLOCK: fcntl.F_UNLCK}
_MODES: Final = {record: mode for mode, record in _RECORD.items()}
_FLOCK: Final = {LockMode.SHARED: fcntl.LOCK_SH, LockMode.EXCLUSIVE: fcntl.LOCK_EX, LockMode.UNLOCK: fcntl.LOCK_UN}

_OwnerKey = tuple[Address, tuple[int, int], int]


class _Owner:
    """One owner's description of one file, the ranges it has locked, and the handles that it locked them by."""

    __slots__ = ("descriptor", "handles", "ranges", "writable")

    def __init__(self, descriptor: int, *, writable: bool) -> None:
        self.descriptor = descriptor
        self.writable = writable
        self.ranges: tuple[Range, ...] = ()
        self.handles: set[int] = set()


class _Holding:
    """What one client has of both bounds."""

    __slots__ = ("owners", "ranges")

    def __init__(self) -> None:
        self.owners = 0
        self.ranges = 0


class Locks:
    """All locks of all clients.

    An owner costs a descriptor: `owners_per_client` and `owners` bound them; `ranges_per_client` bounds the memory.
    """

    def __init__(self, *, owners_per_client: int = 1024, owners: int = 16_384, ranges_per_client: int = 65_536) -> None:
        self._owners_per_client: Final = owners_per_client
        self._max_owners: Final = owners
        self._ranges_per_client: Final = ranges_per_client
        self._lock: Final = threading.Lock()
        self._owners: Final[dict[_OwnerKey, _Owner]] = {}
        self._holdings: Final[dict[Address, _Holding]] = {}

    def __len__(self) -> int:
        """How many owners hold a description."""
        return len(self._owners)

    def apply(self, file: OpenFile, request: LockFile) -> None:
        """Take, change or give back a lock, at once.

        Raises `OSError`: EAGAIN where another holds it, EBADF for a mode that the handle is not open for, ENOLCK for
        more locks than a client may have, EINVAL or EOVERFLOW for a range that no file has.
        """
        if request.style is LockStyle.FLOCK:
            fcntl.flock(file.descriptor, _FLOCK[request.mode] | fcntl.LOCK_NB)
            return
        if (request.mode is LockMode.SHARED and not file.readable) or (
            request.mode is LockMode.EXCLUSIVE and not file.writable
        ):
            raise OSError(errno.EBADF, "the file is not open for a lock of this mode")
        with self._lock:
            self._apply_record(file, request)

    def test(self, file: OpenFile, request: TestLock) -> LockState:
        """fcntl(2) F_GETLK for an owner. Raises `OSError`."""
        with self._lock:
            owner = self._owners.get((file.client, file.inode, request.owner))
            descriptor = file.descriptor if owner is None else owner.descriptor
            found = system_calls.ofd_getlk(descriptor, RecordLock(_RECORD[request.mode], request.start, request.length))
        mode = _MODES[found.kind]
        if mode is LockMode.UNLOCK:
            return LockState(mode)
        return LockState(mode, found.start, found.length, max(found.pid, 0))

    def handle_closed(self, file: OpenFile) -> None:
        """Forget that owners used the handle of `file`: one that has no other on this inode loses its locks."""
        with self._lock:
            for key, owner in list(self._owners.items()):
                if key[0] == file.client and key[1] == file.inode:
                    owner.handles.discard(file.handle)
                    if not owner.handles:
                        self._drop(key)

    def client_gone(self, client: Address) -> None:
        """Free all record locks of `client`."""
        with self._lock:
            for key in [key for key in self._owners if key[0] == client]:
                self._drop(key)

    def _apply_record(self, file: OpenFile, request: LockFile) -> None:
        key = (file.client, file.inode, request.owner)
        owner = self._owners.get(key)
        if owner is None:
            if request.mode is LockMode.UNLOCK:
                return
            owner = self._add(key, file)
        try:
            after = changed(owner.ranges, request.mode, request.start, request.length)
            holding = self._holdings[file.client]
            more = len(after) - len(owner.ranges)
            if more > 0 and holding.ranges + more > self._ranges_per_client:
                raise OSError(errno.ENOLCK, f"a client may hold {self._ranges_per_client} record locks")
            if request.mode is LockMode.EXCLUSIVE and not owner.writable:
                _make_writable(owner, file)
            system_calls.ofd_setlk(owner.descriptor, RecordLock(_RECORD[request.mode], request.start, request.length))
            owner.ranges = after
            owner.handles.add(file.handle)
            holding.ranges += more
        finally:
            if not owner.ranges:
                self._drop(key)

    def _add(self, key: _OwnerKey, file: OpenFile) -> _Owner:
        holding = self._holdings.get(file.client)
        if len(self._owners) >= self._max_owners or (holding and holding.owners >= self._owners_per_client):
            raise OSError(errno.ENOLCK, f"{self._owners_per_client} processes of a client may hold record locks")
        owner = self._owners[key] = _new_owner(file)
        self._holdings.setdefault(file.client, _Holding()).owners += 1
        return owner

    def _drop(self, key: _OwnerKey) -> None:
        owner = self._owners.pop(key)
        os.close(owner.descriptor)
        holding = self._holdings[key[0]]
        holding.owners -= 1
        holding.ranges -= len(owner.ranges)
        if not holding.owners:
            del self._holdings[key[0]]


def _new_owner(file: OpenFile) -> _Owner:
    """A description for the locks of one owner.

    Read-only for a handle that only reads: a writable one would keep the remote machine from executing the file
    (ETXTBSY). Otherwise it can take locks of both modes if at all possible.
    """
    for access in (os.O_RDWR, file.flags & os.O_ACCMODE) if file.writable else (os.O_RDONLY,):
        try:
            return _Owner(reopen(file.descriptor, access), writable=access != os.O_RDONLY)
        except PermissionError:
            continue
    # The mode of the file has changed since, or never allowed what its creator may do: share the handle's description.
    return _Owner(os.dup(file.descriptor), writable=file.writable)


def _make_writable(owner: _Owner, file: OpenFile) -> None:
    """Move the locks of `owner`, all shared, to a description that can take exclusive ones; none is free meanwhile."""
    writable = _new_owner(file)
    try:
        for held in owner.ranges:
            system_calls.ofd_setlk(writable.descriptor, RecordLock(fcntl.F_RDLCK, held.start, held.length))
    except OSError:
        os.close(writable.descriptor)
        raise
    os.close(owner.descriptor)
    owner.descriptor, owner.writable = writable.descriptor, True
