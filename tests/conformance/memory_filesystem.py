"""A `FileSystem` in memory: the model that the real ones are compared with. For tests only, never shipped.

The one rule: it answers as a local Linux file system would to a caller who may do everything; what it does not model
(permissions, access times of reads, special files that are opened) the suite does not ask.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from peer.filesystem import FileSystem
from schema.replies import (
    Copied,
    Done,
    FileData,
    LockState,
    Metadata,
    OpenedFile,
    Position,
    Written,
)
from schema.requests import (
    AllocateSpace,
    AnyRequest,
    Caller,
    CloseFile,
    CopyRange,
    CreateFile,
    FlushFile,
    LockFile,
    LockMode,
    LockStyle,
    OpenFile,
    ReadFile,
    SeekData,
    SyncFile,
    TestLock,
    WriteFile,
)
from tests.conformance.guarded import Guarded
from tests.conformance.lock_table import END_OF_FILE, HeldLock
from tests.conformance.memory_names import MemoryNames, OpenedInode
from tests.conformance.memory_volume import Inode, Path, failure

KEEP_SIZE: Final = 1
PUNCH_HOLE: Final = 2
ZERO_RANGE: Final = 16
SEEK_DATA: Final = 3
_FIRST_INSTANT: Final = 1_000_000_000_000_000_000

R = TypeVar("R")


def memory_filesystem(clock: Callable[[], int] | None = None) -> FileSystem:
    """An empty file system. `clock` gives nanoseconds since the epoch; without it, each look at it is 1 ns later.

    Inode numbers are not used twice, so every file is of generation 1; with a clock that stands still, versions lie.
    """
    return _OneAtATime(_MemoryOperations(clock or itertools.count(_FIRST_INSTANT).__next__))


class _MemoryOperations(MemoryNames):
    """The operations on open files and their locks added, and whose turn it is."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self.turn: Final = threading.Condition()
        self._handles: Final = itertools.count(1)

    # -- open files

    def _opened(self, inode: Inode, path: Path, flags: int, first_bytes: int = 0) -> OpenedFile:
        if inode.is_dir:
            raise failure(errno.EISDIR, path)
        if not inode.is_file:
            raise failure(errno.ESTALE, path)  # a client's kernel opens what is no file by itself
        if flags & os.O_TRUNC:
            self.volume.truncate(inode, 0)
            self.volume.changed(inode, content=True)
        handle = next(self._handles)
        file = self.files[handle] = OpenedInode(inode, flags)
        data = inode.content.read(0, first_bytes) if file.readable else b""
        return OpenedFile(handle, inode.metadata(), generation=1, data=memoryview(data))

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        return self._opened(self.volume.resolve(request.path), request.path, request.flags, request.first_bytes)

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        inode = self.volume.lookup(request.path)
        if inode is None:
            mode = stat.S_IFREG | (request.mode & 0o7777 & ~caller.umask)
            inode = self.create(request.path, mode, caller)
        elif request.flags & os.O_EXCL:
            raise failure(errno.EEXIST, request.path)
        return self._opened(inode, request.path, request.flags)

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        inode = self.open(request.handle, reading=True).inode
        return FileData(memoryview(inode.content.read(request.offset, request.size)), inode.metadata().version)

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        file = self.open(request.handle, writing=True)
        content = file.inode.content
        offset = content.size if file.flags & os.O_APPEND else request.offset
        if offset + len(request.data) >= END_OF_FILE:
            raise failure(errno.EFBIG)
        content.write(offset, request.data)
        if request.data:
            self.volume.changed(file.inode, content=True)
        return Written(len(request.data), file.inode.metadata())

    def flush_file(self, request: FlushFile, caller: Caller) -> Done:
        self.open(request.handle)
        return Done()

    def sync_file(self, request: SyncFile, caller: Caller) -> Done:
        self.inode(request.path, request.handle)
        return Done()

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        file = self.open(request.handle)
        del self.files[request.handle]
        file.inode.file_locks.drop(request.handle)
        file.inode.record_lock_use.closed(request.handle)
        self.turn.notify_all()
        return Done()

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        if request.length == 0:
            raise failure(errno.EINVAL)
        if request.mode not in (0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE):
            raise failure(errno.EOPNOTSUPP)
        inode = self.open(request.handle, writing=True).inode
        if request.mode & (PUNCH_HOLE | ZERO_RANGE):
            inode.content.erase(request.offset, request.length)
        else:
            inode.content.allocate(request.offset, request.length)
        if not request.mode & KEEP_SIZE:
            inode.content.size = max(inode.content.size, request.offset + request.length)
        self.volume.changed(inode, content=True)
        return Metadata(inode.metadata())

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        source_file, target_file = self.open(request.handle), self.open(request.target)
        if not source_file.readable or not target_file.writable or target_file.flags & os.O_APPEND:
            raise failure(errno.EBADF)
        source, target = source_file.inode, target_file.inode
        length = min(request.length, max(source.content.size - request.offset, 0))
        if source is target and abs(request.offset - request.target_offset) < length:
            raise failure(errno.EINVAL)
        target.content.write(request.target_offset, source.content.read(request.offset, length))
        if length:
            self.volume.changed(target, content=True)
        return Copied(length, target.metadata())

    def seek_data(self, request: SeekData, caller: Caller) -> Position:
        content = self.open(request.handle).inode.content
        if request.offset >= content.size:
            raise failure(errno.ENXIO)
        found = content.next_data(request.offset) if request.whence == SEEK_DATA else content.next_hole(request.offset)
        if found is None:
            raise failure(errno.ENXIO)
        return Position(found)

    # -- locks

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        attempt = self._flock if request.style is LockStyle.FLOCK else self._record_lock
        if not self.turn.wait_for(lambda: attempt(request), request.wait_ms / 1000):
            raise failure(errno.EAGAIN)
        self.turn.notify_all()
        return Done()

    def _flock(self, request: LockFile) -> bool:
        locks = self.open(request.handle).inode.file_locks
        if locks.apply(HeldLock(request.handle, request.mode, 0, END_OF_FILE)):
            return True
        locks.drop(request.handle)  # flock(2): the old lock is given up before the new one is looked for
        return False

    def _record_lock(self, request: LockFile) -> bool:
        file = self.open(request.handle)
        needed = {LockMode.SHARED: file.readable, LockMode.EXCLUSIVE: file.writable}
        if not needed.get(request.mode, True):
            raise failure(errno.EBADF)
        done = file.inode.record_locks.apply(_record_lock(request))
        if done:
            file.inode.record_lock_use.used(request.owner, request.handle)
        return done

    def test_lock(self, request: TestLock, caller: Caller) -> LockState:
        blocker = self.open(request.handle).inode.record_locks.blocker(_record_lock(request))
        if blocker is None:
            return LockState(LockMode.UNLOCK)
        length = 0 if blocker.end == END_OF_FILE else blocker.end - blocker.start
        return LockState(blocker.mode, blocker.start, length)


def _record_lock(request: LockFile | TestLock) -> HeldLock:
    end = request.start + request.length if request.length else END_OF_FILE
    if end > END_OF_FILE:
        raise failure(errno.EOVERFLOW)
    return HeldLock(request.owner, request.mode, request.start, end)


class _OneAtATime(Guarded):
    """Safe to call from several threads; who waits for a lock lets the others in."""

    def __init__(self, operations: _MemoryOperations) -> None:
        super().__init__(operations)
        self._turn: Final = operations.turn

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        with self._turn:
            return super()._perform(request, caller, reply)
