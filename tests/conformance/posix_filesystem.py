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
from schema.attributes import FileMetadata, VolumeStatistics
from schema.replies import (
    Attached,
    Copied,
    DirectoryEntry,
    DirectoryPage,
    Done,
    FileData,
    LockState,
    Metadata,
    OpenedFile,
    Position,
    SymlinkTarget,
    Volume,
    Written,
    XattrNames,
    XattrValue,
)
from schema.requests import (
    TIME_NOW,
    AllocateSpace,
    Attach,
    Caller,
    CheckAccess,
    CloseFile,
    CopyRange,
    CreateDir,
    CreateFile,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    FlushFile,
    GetMetadata,
    GetXattr,
    ListDir,
    ListXattrs,
    LockFile,
    OpenFile,
    ReadFile,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SeekData,
    SetMetadata,
    SetXattr,
    StatVolume,
    SyncFile,
    TestLock,
    WriteFile,
)
from tests.conformance import libc
from tests.conformance.feedless import Feedless
from tests.conformance.guarded import Guarded, StaleHandle
from tests.conformance.posix_locks import PosixLocks

Path = tuple[bytes, ...]

_WALK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def posix_filesystem(directory: str) -> Iterator[FileSystem]:
    """The files below `directory`, which becomes the root of every path; its descriptors are closed at the end."""
    operations = _PosixOperations(os.fsencode(directory))
    try:
        yield Guarded(operations)
    finally:
        operations.close()


class _PosixOperations(Feedless):
    """One method an operation, raising `OSError`. The umask is the process's: one thread at a time may create."""

    def __init__(self, directory: bytes) -> None:
        self._directory: Final = directory
        self._descriptors: Final[dict[int, int]] = {}
        self._handles: Final = itertools.count(1)
        self._locks: Final = PosixLocks()

    def close(self) -> None:
        """Close what is still open."""
        self._locks.close()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    # -- from a path or a handle to a descriptor

    @contextmanager
    def _node(self, path: Path, last: int = 0) -> Iterator[int]:
        """An O_PATH descriptor of what `path` names, opened with the further flags `last`.

        A walk by components has no longest path.
        """
        here = os.open(self._directory, _WALK | os.O_DIRECTORY)
        try:
            for depth, name in enumerate(path, start=1):
                flags = _WALK | (os.O_DIRECTORY if depth < len(path) else last)
                below = os.open(name, flags, dir_fd=here)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    @contextmanager
    def _slot(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """The descriptor of the directory, and the last name."""
        if not path:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        with self._node(path[:-1], os.O_DIRECTORY) as parent:
            yield parent, path[-1]

    def _descriptor(self, handle: int) -> int:
        if handle not in self._descriptors:
            raise StaleHandle(handle)
        return self._descriptors[handle]

    @contextmanager
    def _name_of(self, path: Path, handle: int) -> Iterator[str]:
        """A path that the kernel takes for the very file, symbolic link or not."""
        if handle:
            yield f"/proc/self/fd/{self._descriptor(handle)}"
        else:
            with self._node(path) as node:
                yield f"/proc/self/fd/{node}"

    def _metadata(self, path: Path) -> Metadata:
        with self._node(path) as node:
            return Metadata(_metadata(os.fstat(node)))

    # -- attributes

    def attach(self, request: Attach, caller: Caller) -> Attached:
        with self._node(request.path, os.O_DIRECTORY) as node:
            status = os.fstat(node)
        return Attached(
            boot=1,
            uid=os.getuid(),
            gid=os.getgid(),
            preserves_identity=False,
            read_only=False,
            metadata=_metadata(status),
        )

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        if request.handle:
            return Metadata(_metadata(os.fstat(self._descriptor(request.handle))))
        return self._metadata(request.path)

    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata:
        with self._name_of(request.path, request.handle) as name:
            if request.mode is not None:
                os.chmod(name, request.mode)
            if request.uid is not None or request.gid is not None:
                uid, gid = (-1 if number is None else number for number in (request.uid, request.gid))
                os.chown(name, uid, gid)
            if request.size is not None:
                os.truncate(name if not request.handle else self._descriptor(request.handle), request.size)
        if request.atime_ns is not None or request.mtime_ns is not None:
            times = (_timespec(request.atime_ns), _timespec(request.mtime_ns))
            if request.handle or not request.path:
                with self._name_of(request.path, request.handle) as name:
                    libc.utimensat(-1, os.fsencode(name), times, follow=True)
            else:
                with self._slot(request.path) as (parent, last):
                    libc.utimensat(parent, last, times)
        return self.get_metadata(GetMetadata(request.path, request.handle), caller)

    def check_access(self, request: CheckAccess, caller: Caller) -> Done:
        with self._name_of(request.path, 0) as name:
            if not os.access(name, request.mode):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return Done()

    def stat_volume(self, request: StatVolume, caller: Caller) -> Volume:
        with self._node(request.path) as node:
            found = os.fstatvfs(node)
        return Volume(
            VolumeStatistics(
                found.f_bsize,
                found.f_frsize,
                found.f_blocks,
                found.f_bfree,
                found.f_bavail,
                found.f_files,
                found.f_ffree,
                found.f_favail,
                found.f_flag,
                found.f_namemax,
            )
        )

    # -- names

    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage:
        entries = []
        with self._node(request.path) as node:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=node)
            try:
                names = sorted(name for name in map(os.fsencode, os.listdir(directory)) if name > request.after)
                for name in names[: request.limit]:
                    try:
                        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # it went away since
                    metadata = _metadata(status) if request.metadata else None
                    entries.append(DirectoryEntry(name, status.st_ino, stat.S_IFMT(status.st_mode), metadata))
            finally:
                os.close(directory)
        return DirectoryPage(tuple(entries), complete=len(names) <= request.limit)

    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata:
        with self._slot(request.path) as (parent, name), _umask(caller):
            os.mkdir(name, request.mode, dir_fd=parent)
        return self._metadata(request.path)

    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata:
        with self._slot(request.path) as (parent, name):
            os.symlink(request.target, name, dir_fd=parent)
        return self._metadata(request.path)

    def create_node(self, request: CreateNode, caller: Caller) -> Metadata:
        with self._slot(request.path) as (parent, name), _umask(caller):
            os.mknod(name, request.mode, request.device, dir_fd=parent)
        return self._metadata(request.path)

    def create_link(self, request: CreateLink, caller: Caller) -> Metadata:
        with self._slot(request.existing) as (old_parent, old), self._slot(request.path) as (parent, name):
            os.link(old, name, src_dir_fd=old_parent, dst_dir_fd=parent, follow_symlinks=False)
        return self._metadata(request.path)

    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done:
        with self._slot(request.path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
        return Done()

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        with self._slot(request.path) as (parent, name):
            os.unlink(name, dir_fd=parent)
        return Done()

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        with self._slot(request.source) as (old_parent, old), self._slot(request.destination) as (parent, name):
            libc.renameat2(old_parent, old, parent, name, request.flags)
        return Done()

    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget:
        with self._slot(request.path) as (parent, name):
            return SymlinkTarget(os.readlink(name, dir_fd=parent))

    # -- extended attributes

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        with self._name_of(request.path, request.handle) as name:
            return XattrValue(os.getxattr(name, request.name))

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        with self._name_of(request.path, request.handle) as name:
            os.setxattr(name, request.name, request.value, request.flags)
        return Done()

    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames:
        with self._name_of(request.path, request.handle) as name:
            return XattrNames(tuple(map(os.fsencode, os.listxattr(name))))

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        with self._name_of(request.path, request.handle) as name:
            os.removexattr(name, request.name)
        return Done()

    # -- open files

    def _opened(self, descriptor: int, first_bytes: int = 0) -> OpenedFile:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.ESTALE
            raise OSError(number, os.strerror(number))
        handle = next(self._handles)
        self._descriptors[handle] = descriptor
        data = os.pread(descriptor, first_bytes, 0) if first_bytes else b""
        return OpenedFile(handle, _metadata(status), data=memoryview(data))

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        flags = request.flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self._slot(request.path) as (parent, name):
            readable = request.flags & os.O_ACCMODE != os.O_WRONLY
            return self._opened(os.open(name, flags, dir_fd=parent), request.first_bytes if readable else 0)

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        flags = request.flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with self._slot(request.path) as (parent, name), _umask(caller):
            return self._opened(os.open(name, flags, request.mode, dir_fd=parent))

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        return FileData(memoryview(os.pread(self._descriptor(request.handle), request.size, request.offset)))

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        descriptor = self._descriptor(request.handle)
        size = os.pwrite(descriptor, request.data, request.offset)
        return Written(size, _metadata(os.fstat(descriptor)))

    def flush_file(self, request: FlushFile, caller: Caller) -> Done:
        os.close(os.dup(self._descriptor(request.handle)))
        return Done()

    def sync_file(self, request: SyncFile, caller: Caller) -> Done:
        synchronise = os.fdatasync if request.data_only else os.fsync
        if request.handle:
            synchronise(self._descriptor(request.handle))
            return Done()
        with self._name_of(request.path, 0) as name:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                synchronise(descriptor)
            finally:
                os.close(descriptor)
        return Done()

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        descriptor = self._descriptor(request.handle)
        self._locks.handle_closed(descriptor, request.handle)
        del self._descriptors[request.handle]
        os.close(descriptor)
        return Done()

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        descriptor = self._descriptor(request.handle)
        libc.fallocate(descriptor, request.mode, request.offset, request.length)
        return Metadata(_metadata(os.fstat(descriptor)))

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        source, target = self._descriptor(request.handle), self._descriptor(request.target)
        size = os.copy_file_range(source, target, request.length, request.offset, request.target_offset)
        return Copied(size, _metadata(os.fstat(target)))

    def seek_data(self, request: SeekData, caller: Caller) -> Position:
        return Position(os.lseek(self._descriptor(request.handle), request.offset, request.whence))

    # -- locks

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        self._locks.lock(self._descriptor(request.handle), request)
        return Done()

    def test_lock(self, request: TestLock, caller: Caller) -> LockState:
        return self._locks.blocker(self._descriptor(request.handle), request)


@contextmanager
def _umask(caller: Caller) -> Iterator[None]:
    before = os.umask(caller.umask)
    try:
        yield
    finally:
        os.umask(before)


def _timespec(time_ns: int | None) -> tuple[int, int]:
    if time_ns is None:
        return 0, libc.UTIME_OMIT
    return (0, libc.UTIME_NOW) if time_ns == TIME_NOW else divmod(time_ns, 1_000_000_000)


def _metadata(status: os.stat_result) -> FileMetadata:
    return FileMetadata(
        inode=status.st_ino,
        mode=status.st_mode,
        links=status.st_nlink,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        blocks=status.st_blocks,
        block_size=status.st_blksize,
        volume=status.st_dev,
        device=status.st_rdev,
        atime_ns=status.st_atime_ns,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )
