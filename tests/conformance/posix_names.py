"""The operations on names and attributes by system calls on a real directory.

The one rule: as `posix_filesystem` has it. A path is walked by descriptors, following no symbolic link, so that none is
too long for the walk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from schema.attributes import FileMetadata, VolumeStatistics
from schema.replies import (
    Attached,
    DirectoryEntry,
    DirectoryPage,
    Done,
    Metadata,
    SymlinkTarget,
    Volume,
    XattrNames,
    XattrValue,
)
from schema.requests import (
    TIME_NOW,
    Attach,
    Caller,
    CheckAccess,
    CreateDir,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    GetMetadata,
    GetXattr,
    ListDir,
    ListXattrs,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SetMetadata,
    SetXattr,
    StatVolume,
)
from tests.conformance import libc
from tests.conformance.feedless import Feedless
from tests.conformance.guarded import StaleHandle

Path = tuple[bytes, ...]

_WALK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class PosixNames(Feedless):
    """One method an operation, raising `OSError`, on the files below `directory` and those of `descriptors`, by handle.

    The umask is the process's: one thread at a time may create.
    """

    def __init__(self, directory: bytes) -> None:
        self._directory: Final = directory
        self.descriptors: Final[dict[int, int]] = {}

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
    def slot(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """The descriptor of the directory, and the last name."""
        if not path:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        with self._node(path[:-1], os.O_DIRECTORY) as parent:
            yield parent, path[-1]

    def descriptor(self, handle: int) -> int:
        if handle not in self.descriptors:
            raise StaleHandle(handle)
        return self.descriptors[handle]

    @contextmanager
    def name_of(self, path: Path, handle: int) -> Iterator[str]:
        """A path that the kernel takes for the very file, symbolic link or not."""
        if handle:
            yield f"/proc/self/fd/{self.descriptor(handle)}"
        else:
            with self._node(path) as node:
                yield f"/proc/self/fd/{node}"

    def _found(self, path: Path) -> Metadata:
        with self._node(path) as node:
            return Metadata(metadata_of(os.fstat(node)))

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
            metadata=metadata_of(status),
        )

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        if request.handle:
            return Metadata(metadata_of(os.fstat(self.descriptor(request.handle))))
        return self._found(request.path)

    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata:
        with self.name_of(request.path, request.handle) as name:
            if request.mode is not None:
                os.chmod(name, request.mode)
            if request.uid is not None or request.gid is not None:
                uid, gid = (-1 if number is None else number for number in (request.uid, request.gid))
                os.chown(name, uid, gid)
            if request.size is not None:
                os.truncate(name if not request.handle else self.descriptor(request.handle), request.size)
        if request.atime_ns is not None or request.mtime_ns is not None:
            times = (_timespec(request.atime_ns), _timespec(request.mtime_ns))
            if request.handle or not request.path:
                with self.name_of(request.path, request.handle) as name:
                    libc.utimensat(-1, os.fsencode(name), times, follow=True)
            else:
                with self.slot(request.path) as (parent, last):
                    libc.utimensat(parent, last, times)
        return self.get_metadata(GetMetadata(request.path, request.handle), caller)

    def check_access(self, request: CheckAccess, caller: Caller) -> Done:
        with self.name_of(request.path, 0) as name:
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
                    metadata = metadata_of(status) if request.metadata else None
                    entries.append(DirectoryEntry(name, status.st_ino, stat.S_IFMT(status.st_mode), metadata))
            finally:
                os.close(directory)
        return DirectoryPage(tuple(entries), complete=len(names) <= request.limit)

    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata:
        with self.slot(request.path) as (parent, name), umask_of(caller):
            os.mkdir(name, request.mode, dir_fd=parent)
        return self._found(request.path)

    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata:
        with self.slot(request.path) as (parent, name):
            os.symlink(request.target, name, dir_fd=parent)
        return self._found(request.path)

    def create_node(self, request: CreateNode, caller: Caller) -> Metadata:
        with self.slot(request.path) as (parent, name), umask_of(caller):
            os.mknod(name, request.mode, request.device, dir_fd=parent)
        return self._found(request.path)

    def create_link(self, request: CreateLink, caller: Caller) -> Metadata:
        with self.slot(request.existing) as (old_parent, old), self.slot(request.path) as (parent, name):
            os.link(old, name, src_dir_fd=old_parent, dst_dir_fd=parent, follow_symlinks=False)
        return self._found(request.path)

    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done:
        with self.slot(request.path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
        return Done()

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        with self.slot(request.path) as (parent, name):
            os.unlink(name, dir_fd=parent)
        return Done()

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        with self.slot(request.source) as (old_parent, old), self.slot(request.destination) as (parent, name):
            libc.renameat2(old_parent, old, parent, name, request.flags)
        return Done()

    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget:
        with self.slot(request.path) as (parent, name):
            return SymlinkTarget(os.readlink(name, dir_fd=parent))

    # -- extended attributes

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        with self.name_of(request.path, request.handle) as name:
            return XattrValue(os.getxattr(name, request.name))

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        with self.name_of(request.path, request.handle) as name:
            os.setxattr(name, request.name, request.value, request.flags)
        return Done()

    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames:
        with self.name_of(request.path, request.handle) as name:
            return XattrNames(tuple(map(os.fsencode, os.listxattr(name))))

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        with self.name_of(request.path, request.handle) as name:
            os.removexattr(name, request.name)
        return Done()


@contextmanager
def umask_of(caller: Caller) -> Iterator[None]:
    """Create as the caller would."""
    before = os.umask(caller.umask)
    try:
        yield
    finally:
        os.umask(before)


def _timespec(time_ns: int | None) -> tuple[int, int]:
    if time_ns is None:
        return 0, libc.UTIME_OMIT
    return (0, libc.UTIME_NOW) if time_ns == TIME_NOW else divmod(time_ns, 1_000_000_000)


def metadata_of(status: os.stat_result) -> FileMetadata:
    """What stat(2) said, in our words."""
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
