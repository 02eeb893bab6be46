"""Callbacks that make, remove, rename and link names.

The one rule: as `operations` has it, translation only. That a name which is open somewhere is removed takes more than
one callback: see `removed_files`.
"""

from __future__ import annotations

import contextlib
import errno
from typing import Final

from peer.mount.adapter import Adapter
from peer.mount.removed_files import Hide
from peer.mount.symlink_policy import stays_inside
from schema.paths import RelativePath
from schema.requests import (
    CreateDir,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    ReadSymlink,
    RemoveDir,
    RenamePath,
)

_PERMISSIONS: Final = 0o7777
_RENAME_EXCHANGE: Final = 2


class NameOperations(Adapter):
    """mkdir, rmdir, mknod, symlink, readlink, link, unlink and rename."""

    def mkdir(self, path: bytes, mode: int) -> None:
        self._filesystem.create_dir(CreateDir(self._path(path), mode=mode & _PERMISSIONS), self._caller())

    def rmdir(self, path: bytes) -> None:
        where = self._path(path)
        self._filesystem.remove_dir(RemoveDir(where), self._caller())
        self._open_directories.forget(where)

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        self._filesystem.create_node(CreateNode(self._path(path), mode=mode, device=device), self._caller())

    def symlink(self, target: bytes, path: bytes) -> None:
        self._filesystem.create_symlink(CreateSymlink(self._path(path), target=target), self._caller())

    def readlink(self, path: bytes) -> bytes:
        where = self._path(path)
        target = self._filesystem.read_symlink(ReadSymlink(where), self._caller()).target
        if self._symlinks == "contain" and not stays_inside(target, len(where) - len(self._root) - 1):
            raise OSError(errno.EPERM, f"the symbolic link {path!r} leads out of the mount")
        return target

    def link(self, existing: bytes, path: bytes) -> None:
        (source, _), destination = self._target(existing), self._path(path)
        metadata = self._filesystem.create_link(CreateLink(source, destination), self._caller()).metadata
        self._kernel.observe(source, metadata)
        self._kernel.observe(destination, metadata)
        self._kernel.changed(metadata, destination)

    def unlink(self, path: bytes) -> None:
        where = self._path(path)
        if self._removed is not None:
            if self._removed.unhide(where):
                self._kernel.removed(where)
                return
            if self._is_own():
                self._removed.settled(where, self._edge.context().thread)
                self._open_files.forget(where)
                return
            self._ask_again(where)
        self._filesystem.delete_file(DeleteFile(where), self._caller())
        self._gone(where)
        self._kernel.removed(where)

    def _is_own(self) -> bool:
        """Whether it is a thread of ours that calls (see `replaced_files`)."""
        return self._replaced is not None and self._replaced.is_own(self._edge.context().thread)

    def _gone(self, where: RelativePath, *, replaced: bool = False) -> None:
        """`where` names another file or none: open handles on the one that it named have no name any more."""
        self._open_files.forget(where)
        if self._removed is not None:
            self._removed.removed(where, replaced=replaced)

    def _ask_again(self, where: RelativePath, *, replaced: bool = False) -> None:
        """Have the kernel make its call again (see `removed_files`), unless the plain way is to be taken."""
        if self._removed is None:
            return
        thread = self._edge.context().thread
        if self._open_files.at(where) and self._removed.ask_again(where, thread, replaced=replaced):
            raise OSError(errno.ESTALE, "asked to be asked again")
        self._removed.settled(where, thread)

    def rename(self, source: bytes, destination: bytes, flags: int) -> None:
        old, new = self._path(source), self._path(destination)
        if self._removed is not None and self._hide(old, new, replaces=not flags):
            return
        with contextlib.nullcontext() if self._replaced is None else self._replaced.replacing(new):
            self._filesystem.rename_path(RenamePath(old, new, flags), self._caller())
            self._renamed(old, new, flags)

    def _renamed(self, old: RelativePath, new: RelativePath, flags: int) -> None:
        if flags & _RENAME_EXCHANGE:
            self._open_files.exchange(old, new)
            self._open_directories.exchange(old, new)
            self._kernel.exchanged(old, new)
        elif old != new:
            self._gone(new, replaced=True)
            self._open_files.move(old, new)
            self._open_directories.move(old, new)
            self._kernel.moved(old, new)

    def _hide(self, old: RelativePath, new: RelativePath, *, replaces: bool) -> bool:
        """Whether a rename was libfuse's way of removing or replacing an open file (see `removed_files`)."""
        removed, thread = self._removed, self._edge.context().thread
        if removed is None:
            return False
        match removed.hide(old, new, thread, self._open_files.at(old)):
            case Hide.UNLINK:
                try:
                    self._filesystem.delete_file(DeleteFile(old), self._caller())
                except BaseException:
                    removed.unhide(new)
                    raise
                self._gone(old)
                # The kernel's inode lives on under the hidden name, and its link count may go on changing.
                self._kernel.moved(old, new)
                return True
            case Hide.REPLACE:
                self._kernel.moved(old, new)
                return True
            case Hide.UNNAME:
                self._open_files.forget(old)
                return True
            case Hide.UNASKED:
                raise OSError(errno.ESTALE, "asked to be asked again")
        if self._is_own():
            raise OSError(errno.EIO, "nothing but what was asked for is done for our own thread")
        if replaces and old != new:
            self._ask_again(new, replaced=True)
        return False
