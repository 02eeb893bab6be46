"""A tree of files as pure data: inodes, names, links. Half of the model that real file systems are compared with.

The one rule: it does what Linux does on a local file system, errno and the order of the checks included. Permissions
are not modelled (every caller may do everything), nor are access times of reads. Errors are `OSError`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from schema.attributes import FileMetadata
from tests.conformance.lock_table import LockTable, LockUse
from tests.conformance.sparse_bytes import BLOCK, SparseBytes

NOREPLACE: Final = 1
EXCHANGE: Final = 2
_VOLUME: Final = 1

Path = tuple[bytes, ...]


def failure(number: int, path: Path = ()) -> OSError:
    """The `OSError` of an errno for a path."""
    return OSError(number, os.strerror(number), b"/".join(path))


@dataclass(slots=True, eq=False)
class Inode:
    """One file of any type; two names of one file share it. Times are in nanoseconds."""

    number: int
    mode: int
    uid: int
    gid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    links: int = 0
    device: int = 0
    target: bytes = b""
    content: SparseBytes = field(default_factory=SparseBytes)
    children: dict[bytes, Inode] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    record_locks: LockTable = field(default_factory=LockTable)
    record_lock_use: LockUse = field(init=False)
    file_locks: LockTable = field(default_factory=LockTable)

    def __post_init__(self) -> None:
        self.record_lock_use = LockUse(self.record_locks)

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    def metadata(self) -> FileMetadata:
        """As stat(2) says it; a directory has a link from its name, its own dot and each subdirectory's dot-dot."""
        links, size = self.links, self.content.size
        if self.is_dir:
            links, size = 2 + sum(child.is_dir for child in self.children.values()), BLOCK
        elif stat.S_ISLNK(self.mode):
            size = len(self.target)
        return FileMetadata(
            inode=self.number,
            mode=self.mode,
            links=links,
            uid=self.uid,
            gid=self.gid,
            size=size,
            blocks=self.content.allocated,
            block_size=BLOCK,
            volume=_VOLUME,
            device=self.device,
            atime_ns=self.atime_ns,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
        )


class MemoryVolume:
    """The tree. `clock` gives nanoseconds since the epoch and is asked once for each change."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock: Final = clock
        self._numbers = 1
        self.root: Final = self._inode(stat.S_IFDIR | 0o755, 0, 0)
        self.root.links = 1

    def _inode(self, mode: int, uid: int, gid: int) -> Inode:
        now = self.clock()
        self._numbers += 1
        return Inode(self._numbers, mode, uid, gid, now, now, now)

    def changed(self, inode: Inode, *, content: bool = False) -> None:
        """Note the time of a change of the inode, and of its content too where that changed."""
        inode.ctime_ns = self.clock()
        if content:
            inode.mtime_ns = inode.ctime_ns

    def resolve(self, path: Path) -> Inode:
        """The inode that `path` names; no symbolic link is followed. ENOENT, ENOTDIR."""
        here = self.root
        for name in path:
            if not here.is_dir:
                raise failure(errno.ENOTDIR, path)
            found = here.children.get(name)
            if found is None:
                raise failure(errno.ENOENT, path)
            here = found
        return here

    def directory(self, path: Path) -> Inode:
        """As `resolve`, ENOTDIR for anything but a directory."""
        inode = self.resolve(path)
        if not inode.is_dir:
            raise failure(errno.ENOTDIR, path)
        return inode

    def _slot(self, path: Path) -> tuple[Inode, bytes]:
        """The directory and the last name. EBUSY for the root, which has no name."""
        if not path:
            raise failure(errno.EBUSY)
        return self.directory(path[:-1]), path[-1]

    def _enter(self, parent: Inode, name: bytes, inode: Inode) -> None:
        parent.children[name] = inode
        inode.links += 1
        self.changed(parent, content=True)

    def _leave(self, parent: Inode, name: bytes) -> None:
        inode = parent.children.pop(name)
        inode.links -= 1
        self.changed(inode)
        self.changed(parent, content=True)

    def lookup(self, path: Path) -> Inode | None:
        """The inode at `path`, or None when only the last name is missing."""
        parent, name = self._slot(path)
        return parent.children.get(name)

    def create(self, path: Path, mode: int, owner: tuple[int, int], *, device: int = 0, target: bytes = b"") -> Inode:
        """A new file of the type that `mode` says. EEXIST."""
        parent, name = self._slot(path)
        if name in parent.children:
            raise failure(errno.EEXIST, path)
        inode = self._inode(mode, *owner)
        inode.device, inode.target = device, target
        self._enter(parent, name, inode)
        return inode

    def link(self, existing: Path, path: Path) -> Inode:
        """Another name for a file. EPERM for a directory, EEXIST."""
        inode = self.resolve(existing)
        parent, name = self._slot(path)
        if name in parent.children:
            raise failure(errno.EEXIST, path)
        if inode.is_dir:
            raise failure(errno.EPERM, existing)
        self._enter(parent, name, inode)
        self.changed(inode)
        return inode

    def unlink(self, path: Path) -> None:
        """Take a name away. EISDIR for a directory."""
        parent, name = self._slot(path)
        if self.resolve(path).is_dir:
            raise failure(errno.EISDIR, path)
        self._leave(parent, name)

    def rmdir(self, path: Path) -> None:
        """Take an empty directory away. ENOTDIR, ENOTEMPTY."""
        parent, name = self._slot(path)
        inode = self.directory(path)
        if inode.children:
            raise failure(errno.ENOTEMPTY, path)
        self._leave(parent, name)

    def rename(self, source: Path, destination: Path, flags: int) -> None:
        """renameat2(2); the checks stand in the order of the kernel's do_renameat2 and vfs_rename."""
        if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
            raise failure(errno.EINVAL, source)
        old_parent, old_name = self._slot(source)
        new_parent, new_name = self._slot(destination)
        moved, replaced = old_parent.children.get(old_name), new_parent.children.get(new_name)
        if moved is None:
            raise failure(errno.ENOENT, source)
        if flags == NOREPLACE and replaced is not None:
            raise failure(errno.EEXIST, destination)
        if flags == EXCHANGE and replaced is None:
            raise failure(errno.ENOENT, destination)
        if _is_above(source, destination):
            raise failure(errno.EINVAL, source)
        if _is_above(destination, source):
            raise failure(errno.EINVAL if flags == EXCHANGE else errno.ENOTEMPTY, destination)
        if moved is replaced:
            return
        if replaced is not None and flags != EXCHANGE:
            if moved.is_dir != replaced.is_dir:
                raise failure(errno.ENOTDIR if moved.is_dir else errno.EISDIR, destination)
            if replaced.children:
                raise failure(errno.ENOTEMPTY, destination)
        self._leave(old_parent, old_name)
        if replaced is not None:
            self._leave(new_parent, new_name)
            if flags == EXCHANGE:
                self._enter(old_parent, old_name, replaced)
        self._enter(new_parent, new_name, moved)

    def truncate(self, inode: Inode, size: int) -> None:
        """Set the size; the same size again is no change. EISDIR for a directory, EINVAL for what is no plain file."""
        if not inode.is_file:
            raise failure(errno.EISDIR if inode.is_dir else errno.EINVAL)
        if size != inode.content.size:
            inode.content.truncate(size)
            self.changed(inode, content=True)


def _is_above(ancestor: Path, path: Path) -> bool:
    """Whether `path` lies below `ancestor`: directories have one name each, so paths tell."""
    return len(ancestor) < len(path) and path[: len(ancestor)] == ancestor
