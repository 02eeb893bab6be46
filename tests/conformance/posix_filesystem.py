"""A `FileSystem` that asks a real kernel: system calls on a directory, one kind a request.

The one rule: it adds nothing of its own. On a local directory it shows that the suite asks for what Linux does; on a
mount of ours it shows that the mount does the same.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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
    Caller,
    CloseFile,
    CopyRange,
    CreateFile,
    FlushFile,
    LockFile,
    OpenFile,
    ReadFile,
    SeekData,
    SyncFile,
    TestLock,
    WriteFile,
)
from tests.conformance import libc
from tests.conformance.guarded import Guarded
from tests.conformance.posix_locks import PosixLocks
from tests.conformance.posix_names import PosixNames, metadata_of, umask_of


@contextmanager
def posix_filesystem(directory: str) -> Iterator[FileSystem]:
    """The files below `directory`, which becomes the root of every path; its descriptors are closed at the end."""
    operations = _PosixOperations(os.fsencode(directory))
    try:
        yield Guarded(operations, lengths=False)
    finally:
        operations.close()


class _PosixOperations(PosixNames):
    """The operations on open files and their locks added."""

    def __init__(self, directory: bytes) -> None:
        super().__init__(directory)
        self._handles: Final = itertools.count(1)
        self._locks: Final = PosixLocks()

    def close(self) -> None:
        """Close what is still open."""
        self._locks.close()
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])

    # -- open files

    def _opened(self, descriptor: int, first_bytes: int = 0) -> OpenedFile:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.ESTALE
            raise OSError(number, os.strerror(number))
        handle = next(self._handles)
        self.descriptors[handle] = descriptor
        data = os.pread(descriptor, first_bytes, 0) if first_bytes else b""
        return OpenedFile(handle, metadata_of(status), data=memoryview(data))

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        flags = request.flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self.slot(request.path) as (parent, name):
            readable = request.flags & os.O_ACCMODE != os.O_WRONLY
            return self._opened(os.open(name, flags, dir_fd=parent), request.first_bytes if readable else 0)

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        flags = request.flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self.slot(request.path) as (parent, name), umask_of(caller):
            return self._opened(os.open(name, flags, request.mode, dir_fd=parent))

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        return FileData(memoryview(os.pread(self.descriptor(request.handle), request.size, request.offset)))

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        descriptor = self.descriptor(request.handle)
        size = os.pwrite(descriptor, request.data, request.offset)
        return Written(size, metadata_of(os.fstat(descriptor)))

    def flush_file(self, request: FlushFile, caller: Caller) -> Done:
        os.close(os.dup(self.descriptor(request.handle)))
        return Done()

    def sync_file(self, request: SyncFile, caller: Caller) -> Done:
        synchronise = os.fdatasync if request.data_only else os.fsync
        if request.handle:
            synchronise(self.descriptor(request.handle))
            return Done()
        with self.name_of(request.path, 0) as name:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                synchronise(descriptor)
            finally:
                os.close(descriptor)
        return Done()

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        descriptor = self.descriptor(request.handle)
        self._locks.handle_closed(descriptor, request.handle)
        del self.descriptors[request.handle]
        os.close(descriptor)
        return Done()

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        descriptor = self.descriptor(request.handle)
        libc.fallocate(descriptor, request.mode, request.offset, request.length)
        return Metadata(metadata_of(os.fstat(descriptor)))

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        source, target = self.descriptor(request.handle), self.descriptor(request.target)
        size = os.copy_file_range(source, target, request.length, request.offset, request.target_offset)
        return Copied(size, metadata_of(os.fstat(target)))

    def seek_data(self, request: SeekData, caller: Caller) -> Position:
        return Position(os.lseek(self.descriptor(request.handle), request.offset, request.whence))

    # -- locks

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        self._locks.lock(self.descriptor(request.handle), request)
        return Done()

    def test_lock(self, request: TestLock, caller: Caller) -> LockState:
        return self._locks.blocker(self.descriptor(request.handle), request)
