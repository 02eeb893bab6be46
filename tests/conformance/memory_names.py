"""The in-memory model's operations on names and attributes, over `MemoryVolume`.

The one rule: each method is one request and its reply, with the errno of the system call that the request names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from schema.attributes import VolumeStatistics
from schema.limits import MAX_NAME
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
from tests.conformance.feedless import Feedless
from tests.conformance.guarded import StaleHandle
from tests.conformance.memory_volume import Inode, MemoryVolume, Path, failure
from tests.conformance.sparse_bytes import BLOCK

XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2


@dataclass(slots=True)
class OpenedInode:
    """What a handle stands for."""

    inode: Inode
    flags: int

    @property
    def readable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class MemoryNames(Feedless):
    """The operations on names and attributes, raising `OSError`. `clock` gives nanoseconds since the epoch."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.volume: Final = MemoryVolume(clock)
        self.files: Final[dict[int, OpenedInode]] = {}

    def open(self, handle: int, *, reading: bool = False, writing: bool = False) -> OpenedInode:
        file = self.files.get(handle)
        if file is None:
            raise StaleHandle(handle)
        if (reading and not file.readable) or (writing and not file.writable):
            raise failure(errno.EBADF)
        return file

    def inode(self, path: Path, handle: int) -> Inode:
        return self.open(handle).inode if handle else self.volume.resolve(path)

    # -- attributes

    def attach(self, request: Attach, caller: Caller) -> Attached:
        metadata = self.volume.directory(request.path).metadata()
        return Attached(boot=1, uid=0, gid=0, preserves_identity=False, read_only=False, metadata=metadata)

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        return Metadata(self.inode(request.path, request.handle).metadata())

    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata:
        inode = self.inode(request.path, request.handle)
        if request.mode is not None:
            if stat.S_ISLNK(inode.mode):
                raise failure(errno.EOPNOTSUPP, request.path)
            inode.mode = stat.S_IFMT(inode.mode) | request.mode
        if request.uid is not None:
            inode.uid = request.uid
        if request.gid is not None:
            inode.gid = request.gid
        if request.size is not None:
            self.volume.truncate(inode, request.size)
        if request.atime_ns is not None:
            inode.atime_ns = self.volume.clock() if request.atime_ns == TIME_NOW else request.atime_ns
        if request.mtime_ns is not None:
            inode.mtime_ns = self.volume.clock() if request.mtime_ns == TIME_NOW else request.mtime_ns
        self.volume.changed(inode)
        return Metadata(inode.metadata())

    def check_access(self, request: CheckAccess, caller: Caller) -> Done:
        inode = self.volume.resolve(request.path)
        if request.mode & os.X_OK and not inode.is_dir and not inode.mode & 0o111:
            raise failure(errno.EACCES, request.path)
        return Done()

    def stat_volume(self, request: StatVolume, caller: Caller) -> Volume:
        self.volume.resolve(request.path)
        plenty = 2**30
        return Volume(VolumeStatistics(BLOCK, BLOCK, plenty, plenty, plenty, plenty, plenty, plenty, 0, MAX_NAME))

    # -- names

    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage:
        children = self.volume.directory(request.path).children
        names = sorted(name for name in children if name > request.after)
        entries = tuple(
            DirectoryEntry(
                name,
                children[name].number,
                stat.S_IFMT(children[name].mode),
                children[name].metadata() if request.metadata else None,
            )
            for name in names[: request.limit]
        )
        return DirectoryPage(entries, complete=len(names) <= request.limit)

    def create(self, path: Path, mode: int, caller: Caller, *, device: int = 0, target: bytes = b"") -> Inode:
        return self.volume.create(path, mode, (caller.uid, caller.gid), device=device, target=target)

    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata:
        mode = stat.S_IFDIR | (request.mode & 0o1777 & ~caller.umask)
        return Metadata(self.create(request.path, mode, caller).metadata())

    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata:
        mode = stat.S_IFLNK | 0o777
        return Metadata(self.create(request.path, mode, caller, target=request.target).metadata())

    def create_node(self, request: CreateNode, caller: Caller) -> Metadata:
        kind = stat.S_IFMT(request.mode) or stat.S_IFREG
        if kind in (stat.S_IFDIR, stat.S_IFLNK):
            raise failure(errno.EPERM if kind == stat.S_IFDIR else errno.EINVAL, request.path)
        device = request.device if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        mode = kind | (request.mode & 0o7777 & ~caller.umask)
        return Metadata(self.create(request.path, mode, caller, device=device).metadata())

    def create_link(self, request: CreateLink, caller: Caller) -> Metadata:
        return Metadata(self.volume.link(request.existing, request.path).metadata())

    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done:
        self.volume.rmdir(request.path)
        return Done()

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        self.volume.unlink(request.path)
        return Done()

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        self.volume.rename(request.source, request.destination, request.flags)
        return Done()

    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget:
        inode = self.volume.resolve(request.path)
        if not stat.S_ISLNK(inode.mode):
            raise failure(errno.EINVAL, request.path)
        return SymlinkTarget(inode.target)

    # -- extended attributes

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        value = self.inode(request.path, request.handle).xattrs.get(_attribute(request.name))
        if value is None:
            raise failure(errno.ENODATA, request.path)
        return XattrValue(value)

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        inode = self.inode(request.path, request.handle)
        name = _changeable(inode, request.name)
        if request.flags == XATTR_CREATE and name in inode.xattrs:
            raise failure(errno.EEXIST, request.path)
        if request.flags == XATTR_REPLACE and name not in inode.xattrs:
            raise failure(errno.ENODATA, request.path)
        inode.xattrs[name] = bytes(request.value)
        self.volume.changed(inode)
        return Done()

    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames:
        return XattrNames(tuple(sorted(self.inode(request.path, request.handle).xattrs)))

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        inode = self.inode(request.path, request.handle)
        if inode.xattrs.pop(_changeable(inode, request.name), None) is None:
            raise failure(errno.ENODATA, request.path)
        self.volume.changed(inode)
        return Done()


def _attribute(name: bytes) -> bytes:
    """`name` if its name space is one that Linux knows; EOPNOTSUPP otherwise."""
    if not name.startswith((b"user.", b"trusted.", b"security.", b"system.")):
        raise failure(errno.EOPNOTSUPP)
    return name


def _changeable(inode: Inode, name: bytes) -> bytes:
    """`name` if `inode` may have it; EPERM for a user attribute of anything but files and directories."""
    if _attribute(name).startswith(b"user.") and not (inode.is_file or inode.is_dir):
        raise failure(errno.EPERM)
    return name
