"""The FUSE adapter: each callback of libfuse as a request to a `FileSystem`. Here are those on open files.

The one rule: it translates and nothing else. No answer is kept, nothing is tried again, nothing is decided about
caching; what it remembers is what the kernel and libfuse do not pass on: which path an open handle has now.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import Final

from peer.errors import OperationFailed
from peer.mount.adapter import Mounted
from peer.mount.attribute_operations import AttributeOperations
from peer.mount.directory_handles import DirectoryHandles
from peer.mount.fuse_translation import ListedEntry, Opened, RecordLock
from peer.mount.kept_pages import KeptPages
from peer.mount.lock_translation import Locks
from peer.mount.name_operations import NameOperations
from peer.mount.replaced_files import Opening
from peer.mount.watcher_echo.pretence import is_pretended
from schema.paths import RelativePath
from schema.replies import DirectoryPage, OpenedFile
from schema.requests import (
    NAMELESS,
    AllocateSpace,
    CloseFile,
    CopyRange,
    CreateFile,
    FlushFile,
    GetMetadata,
    ListDir,
    OpenFile,
    ReadFile,
    SeekData,
    SyncFile,
    WriteFile,
)

log = logging.getLogger(__name__)

_PERMISSIONS: Final = 0o7777
_OPEN_FLAGS: Final = os.O_ACCMODE | os.O_APPEND | os.O_TRUNC | os.O_DIRECT | os.O_SYNC | os.O_DSYNC | os.O_EXCL
_COPY_LIMIT: Final = 1 << 30
"""Bytes a copy_file_range(2) answers for at most; libfuse 3 counts them in 32 bits."""


class Operations(AttributeOperations, NameOperations):
    """All `Callbacks` of `fuse_translation`. `closing` is called when the mount is gone."""

    # What the binding looks for beside the callbacks themselves.
    use_ns = True
    init = ()
    flag_nullpath_ok = 1
    flag_utime_omit_ok = 1

    def __init__(self, mounted: Mounted, ended: Callable[[], None], closing: Callable[[], None]) -> None:
        super().__init__(mounted)
        self._ended, self._closing = ended, closing
        self._writable: set[int] = set()
        self._pages = KeptPages()
        self._directories = DirectoryHandles(
            self._list_page,
            self._inode_of,
            self._view,
            self._open_directories,
            self._kernel.touched_since,
        )
        self._locks = Locks(self._filesystem, self._edge.interrupted, self._revalidate)

    # Open files.

    def open(self, path: bytes, flags: int) -> Opened:
        where = self._path(path)
        try:
            opened = self._filesystem.open_file(OpenFile(where, flags & _OPEN_FLAGS), self._caller())
        except OperationFailed as failure:
            if failure.code == "ENOENT":
                # The kernel believed in the name; on ESTALE it looks again and does what the caller asked for.
                raise OSError(errno.ESTALE, "the file went away before it was opened") from failure
            raise
        if flags & os.O_TRUNC:
            self._changed(opened.metadata, where, data=True)
        if self._shares(opened, where):
            flags |= os.O_DIRECT
        self._kernel.opened(where, opened.metadata)
        return self._opened(opened, where, flags)

    def _shares(self, opened: OpenedFile, path: RelativePath) -> bool:
        """Whether the kernel takes the file for another one that is open and had its name (see `replaced_files`).

        Raises `OSError` ESTALE for the kernel to look the name up anew.
        """
        if self._replaced is None:
            return False
        opening = self._replaced.open(path, opened.metadata, self._edge.context().thread)
        if opening is Opening.ASK_AGAIN:
            self._close(opened.handle)
            raise OSError(errno.ESTALE, "another file has the name now")
        return opening is Opening.TOGETHER

    def create(self, path: bytes, mode: int, flags: int) -> Opened:
        where = self._path(path)
        request = CreateFile(where, flags & _OPEN_FLAGS | os.O_CREAT, mode & _PERMISSIONS)
        return self._opened(self._filesystem.create_file(request, self._caller()), where, flags | os.O_CREAT)

    def _opened(self, opened: OpenedFile, path: RelativePath, flags: int) -> Opened:
        handle = opened.handle
        self._locks.opened(handle, (opened.metadata.volume, opened.metadata.inode))
        if is_pretended(handle):
            return Opened(handle, direct_io=False, keep_pages=False)
        others = self._open_files.at(path)
        self._open_files.add(handle, path)
        if self._replaced is not None:
            self._replaced.opened(handle, opened.metadata)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if writable:
            self._writable.add(handle)
        keep_pages = self._pages.opened(path, opened, others, changed=bool(flags & (os.O_TRUNC | os.O_CREAT)))
        # Pages would put appended data where the kernel believes the end to be, not where it is.
        direct_io = bool(flags & os.O_DIRECT or (writable and flags & os.O_APPEND))
        return Opened(handle, direct_io=direct_io, keep_pages=keep_pages and not direct_io)

    def read(self, handle: int, size: int, offset: int) -> memoryview:
        return self._filesystem.read_file(ReadFile(handle, offset, size), self._user()).data

    def write(self, handle: int, data: bytes, offset: int) -> int:
        written = self._filesystem.write_file(WriteFile(handle, offset, memoryview(data)), self._user())
        self._changed(written.metadata, NAMELESS, handle, data=True)
        return written.size

    def flush(self, handle: int, owner: int) -> None:
        # close(2) can only report what a write through this handle left behind. libfuse unlocks by `lock` afterwards.
        if handle in self._writable:
            self._filesystem.flush_file(FlushFile(handle), self._user())

    def release(self, handle: int) -> None:
        self._open_files.discard(handle)
        self._writable.discard(handle)
        self._pages.closed(handle)
        self._locks.closed(handle)
        if self._removed is not None:
            self._removed.closed(handle)
        if self._replaced is not None:
            self._replaced.closed(handle)
        self._close(handle)

    def _close(self, handle: int) -> None:
        try:
            self._filesystem.close_file(CloseFile(handle), self._user())
        except OperationFailed as failure:  # Nobody listens: release has no answer.
            log.warning("handle %d could not be given back: %s", handle, failure)

    def fsync(self, handle: int, data_only: bool) -> None:
        self._filesystem.sync_file(SyncFile(NAMELESS, handle, data_only), self._user())

    def fallocate(self, handle: int, mode: int, offset: int, length: int) -> None:
        request = AllocateSpace(handle, mode=mode, offset=offset, length=length)
        self._changed(self._filesystem.allocate_space(request, self._user()).metadata, NAMELESS, handle, data=True)

    def copy_file_range(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int:
        request = CopyRange(
            source, offset=offset, target=target, target_offset=target_offset, length=min(length, _COPY_LIMIT)
        )
        copied = self._filesystem.copy_range(request, self._user())
        self._changed(copied.metadata, NAMELESS, target, data=True)
        return copied.size

    def lseek(self, handle: int, offset: int, whence: int) -> int:
        return self._filesystem.seek_data(SeekData(handle, offset=offset, whence=whence), self._user()).offset

    def lock(self, handle: int, command: int, lock: RecordLock, owner: int) -> None:
        self._locks.record_lock(handle, command, lock, owner, self._user())

    def flock(self, handle: int, operation: int, owner: int) -> None:
        self._locks.whole_file(handle, operation, owner, self._user())

    def _revalidate(self, handle: int) -> None:
        path = self._open_files.path(handle)
        if path is not None:
            self._kernel.revalidate(path)

    # Directories.

    def opendir(self, path: bytes) -> int:
        return self._directories.open(self._path(path))

    def readdir(self, handle: int, offset: int, *, plus: bool) -> Iterator[ListedEntry]:
        path = self._open_directories.path(handle)
        for shown, entry in self._directories.read(handle, offset):
            if plus and entry is not None and entry.metadata is not None and path is not None:
                where = (*path, entry.name)
                if self._replaced is not None and self._replaced.seen(where, entry.metadata):
                    yield shown._replace(metadata=None)
                    continue
                self._kernel.observe_listed(where, entry.metadata)
                yield shown
                self._directories.gave(handle, shown.next_offset)
            else:
                yield shown
        began = self._directories.given_since(handle)
        if path is not None and began is not None:
            self._kernel.gave_listing(path, began)

    def releasedir(self, handle: int) -> None:
        self._directories.close(handle)

    def fsyncdir(self, handle: int, data_only: bool) -> None:
        path = self._open_directories.path(handle)
        if path is not None:  # Of a directory that was removed nothing can be lost.
            self._filesystem.sync_file(SyncFile(path, 0, data_only), self._user())

    def _list_page(self, path: RelativePath, after: bytes, limit: int) -> DirectoryPage:
        # What the kernel holds already is not told again: most of the work in a listing is its attributes.
        request = ListDir(path, after=after, limit=limit, metadata=not self._kernel.holds_listing(path))
        page = self._filesystem.list_dir(request, self._caller())
        self._kernel.listed()
        return page

    def _inode_of(self, path: RelativePath) -> int:
        path = path if len(path) >= len(self._root) else self._root
        return self._view.shown(self._filesystem.get_metadata(GetMetadata(path), self._user()).metadata).inode

    def destroy(self) -> None:
        self._ended()  # before anything is waited for: nothing is answered any more
        if self._replaced is not None:
            self._replaced.end()
        self._kernel.end()
        self._closing()
