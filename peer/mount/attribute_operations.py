"""Callbacks on what a file is, rather than what is in it: attributes, extended attributes, permissions, space.

The one rule: as `operations` has it, translation only.
"""

from __future__ import annotations

import errno
import threading
from typing import Final

from peer.errors import OperationFailed
from peer.mount.adapter import Adapter, Mounted
from schema.attributes import FileMetadata, VolumeStatistics
from schema.paths import RelativePath
from schema.requests import (
    NAMELESS,
    TIME_NOW,
    CheckAccess,
    GetMetadata,
    GetXattr,
    ListXattrs,
    RemoveXattr,
    SetMetadata,
    SetXattr,
    StatVolume,
)

_PERMISSIONS: Final = 0o7777
_SET_ID: Final = 0o6000
_UTIME_NOW: Final = 0x3FFFFFFF
_UTIME_OMIT: Final = 0x3FFFFFFE
_CAPABILITY: Final = b"security.capability"


class AttributeOperations(Adapter):
    """getattr, chmod, chown, truncate, utimens, access, statfs and the four xattr callbacks."""

    def __init__(self, mounted: Mounted) -> None:
        super().__init__(mounted)
        self._setting: set[int] = set()

    def getattr(self, path: bytes | None, handle: int | None) -> FileMetadata:
        where, handle = self._target(path, handle)
        if self._replaced is not None and not handle:
            self._replaced.look_again(where, self._edge.context().thread)
        try:
            metadata = self._filesystem.get_metadata(GetMetadata(where, handle), self._caller()).metadata
        except OperationFailed as failure:
            if failure.code == "ENOENT" and not handle:
                self._kernel.missed(where)
            raise
        if handle:
            named = path is not None and not self._is_hidden(path, handle)
            self._kernel.observe_open(self._path(path) if named and path else self._open_files.path(handle), metadata)
        elif (still := self._still_open(where, metadata)) is not None:
            self._kernel.observe_open(where, metadata := still)
        else:
            self._kernel.observe(where, metadata)
        return self._view.shown(metadata, further_links=self._unseen_links(path, handle))

    def _still_open(self, path: RelativePath, metadata: FileMetadata) -> FileMetadata | None:
        """The attributes of the open file that the kernel still knows as `path`, where that is another one by now."""
        handle = 0 if self._replaced is None else self._replaced.seen(path, metadata)
        if not handle:
            return None
        try:
            return self._filesystem.get_metadata(GetMetadata(NAMELESS, handle), self._caller()).metadata
        except OperationFailed:
            return None  # it was closed meanwhile

    def _unseen_links(self, path: bytes | None, handle: int) -> int:
        """One where libfuse takes a link off, since it believes that the name it hid the file under exists.

        It does so in its answer to a getattr, but not in the attributes that it asks for after setting some, in the
        same request and on the same thread.
        """
        if not self._is_hidden(path, handle):
            return 0
        thread = threading.get_ident()
        if thread in self._setting:
            self._setting.discard(thread)
            return 0
        return 1

    def _is_hidden(self, path: bytes | None, handle: int) -> bool:
        if self._removed is None:
            return False
        return self._removed.is_hidden(handle) or (
            path is not None and self._removed.resolve(self._path(path)) is not None
        )

    def _set(self, path: bytes | None, handle: int | None, **fields: int | None) -> None:
        where, handle = self._target(path, handle)
        request = SetMetadata(where, handle, **fields)
        metadata = self._filesystem.set_metadata(request, self._caller()).metadata
        if self._is_hidden(path, handle):
            self._setting.add(threading.get_ident())
        self._changed(metadata, where, handle, data=request.size is not None)

    def chmod(self, path: bytes | None, mode: int, handle: int | None) -> None:
        try:
            self._set(path, handle, mode=mode & _PERMISSIONS)
        except OperationFailed as failure:
            if failure.code != "EPERM" or not self._only_drops_privileges(path, handle, mode & _PERMISSIONS):
                raise

    def _only_drops_privileges(self, path: bytes | None, handle: int | None, mode: int) -> bool:
        """Whether a refused chmod is the kernel's own, before somebody else's write or truncate to a set-id file.

        The agent's kernel takes the bits off itself with the write that follows. A program's chmod of a file that is
        not its own never gets here: default_permissions has the mounting kernel refuse it.
        """
        if not self._identity.groups_matter:
            return False
        where, handle = self._target(path, handle)
        now = self._filesystem.get_metadata(GetMetadata(where, handle), self._caller()).metadata.mode & _PERMISSIONS
        return mode != now and mode | (now & _SET_ID) == now

    def chown(self, path: bytes | None, uid: int | None, gid: int | None, handle: int | None) -> None:
        self._set(
            path,
            handle,
            uid=None if uid is None else self._identity.remote_uid(uid),
            gid=None if gid is None else self._identity.remote_gid(gid),
        )

    def truncate(self, path: bytes | None, size: int, handle: int | None) -> None:
        self._set(path, handle, size=size)

    def utimens(self, path: bytes | None, atime: tuple[int, int], mtime: tuple[int, int], handle: int | None) -> None:
        self._set(path, handle, atime_ns=_nanoseconds(atime), mtime_ns=_nanoseconds(mtime))

    def access(self, path: bytes, mode: int) -> None:
        where, handle = self._target(path)
        if handle:
            raise OSError(errno.ESTALE, "the file was removed or replaced: whoever names it is to look again")
        self._filesystem.check_access(CheckAccess(where, mode=mode), self._caller())

    def statfs(self, path: bytes) -> VolumeStatistics:
        where, handle = self._target(path)
        # A removed file is on the volume of the directory that libfuse believes it to be in.
        asked = self._path(path)[:-1] if handle else where
        return self._filesystem.stat_volume(StatVolume(asked), self._user()).statistics

    def getxattr(self, path: bytes, name: bytes) -> bytes:
        if name == _CAPABILITY and not self._identity.groups_matter:
            # The kernel asks before every write. Privileges of the far machine mean nothing on this one.
            raise OSError(errno.ENODATA, "file capabilities are not shown")
        where, handle = self._target(path)
        return self._filesystem.get_xattr(GetXattr(where, handle, name=name), self._caller()).value

    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int) -> None:
        where, handle = self._target(path)
        self._filesystem.set_xattr(SetXattr(where, handle, name=name, value=value, flags=flags), self._caller())

    def listxattr(self, path: bytes) -> tuple[bytes, ...]:
        where, handle = self._target(path)
        return self._filesystem.list_xattrs(ListXattrs(where, handle), self._caller()).names

    def removexattr(self, path: bytes, name: bytes) -> None:
        where, handle = self._target(path)
        self._filesystem.remove_xattr(RemoveXattr(where, handle, name=name), self._caller())


def _nanoseconds(time: tuple[int, int]) -> int | None:
    """A time of utimensat(2) as a request says it."""
    seconds, nanoseconds = time
    if nanoseconds == _UTIME_OMIT:
        return None
    return TIME_NOW if nanoseconds == _UTIME_NOW else seconds * 10**9 + nanoseconds
