"""Open directories: what they held when they were read from the beginning, served from any offset.

The one rule: an offset means the same entry until the directory is rewound, whatever happens to it meanwhile; so no
entry that stays comes twice or not at all. Attributes are handed out while they are fresh and not kept: the kernel
takes them for those of now. It locks a directory that it reads, but not between opendir(3) and the first readdir(3).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final

from peer.mount.fuse_translation import ListedEntry
from peer.mount.local_view import LocalView
from peer.mount.path_table import PathTable
from schema.limits import MAX_PAGE_ENTRIES
from schema.paths import RelativePath
from schema.replies import DirectoryEntry, DirectoryPage

_FIRST_PAGE: Final = 512
"""Entries that opendir(3) asks for: enough for most directories, and little where it is opened to be fsynced only."""
_DOTS: Final = 2
_DIRECTORY: Final = 0o040000

ListPage = Callable[[RelativePath, bytes, int], DirectoryPage]
"""Path, name to begin after, entries at most."""
InodeOf = Callable[[RelativePath], int]
Touched = Callable[[RelativePath, float], bool]
"""Whether something was done to a directory, or in it, by us since a monotonic time."""

_FRESH_SECONDS: Final = 0.2
"""Seconds after which an answer that was not handed out is old."""


class _Directory:
    """One open directory. Entry n of `_entries` is served at offset n + 2: before it come ``.`` and ``..``."""

    def __init__(self, first: DirectoryPage, asked_at: float) -> None:
        self._begun = False
        self.restart(first, asked_at)

    def rewind(self) -> bool:
        """Begin at the first entry: whether it must be read again, since it has been served before."""
        again = self._begun
        self._begun = True
        return again

    def restart(self, first: DirectoryPage, asked_at: float) -> None:
        """The first page, which was asked for at that monotonic time."""
        self._entries: list[DirectoryEntry] = []
        self._given = 0
        self.began = asked_at
        self._append(first, asked_at)

    def entry(self, index: int) -> tuple[DirectoryEntry, bool] | None:
        """Entry `index` and whether its attributes are fresh; None when it is not read yet."""
        if index >= len(self._entries):
            return None
        return self._entries[index], index >= self._fresh_from

    def gave(self, index: int) -> None:
        if index == self._given:
            self._given += 1

    @property
    def gave_all(self) -> bool:
        return self._complete and self._given == len(self._entries)

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def last_name(self) -> bytes:
        return self._entries[-1].name if self._entries else b""

    def is_old(self, now: float) -> bool:
        """Whether the last page has waited for long."""
        return now - self._answered_at > _FRESH_SECONDS

    def extend(self, page: DirectoryPage, asked_at: float) -> None:
        # The attributes of what was served are not asked for again, and a large directory would keep them all.
        for index in range(self._fresh_from, len(self._entries)):
            old = self._entries[index]
            self._entries[index] = DirectoryEntry(old.name, old.inode, old.type)
        self._append(page, asked_at)

    def _append(self, page: DirectoryPage, asked_at: float) -> None:
        self.asked_at, self._answered_at = asked_at, time.monotonic()
        self._fresh_from = len(self._entries)
        self._entries.extend(page.entries)
        self._complete = page.complete or not page.entries


class DirectoryHandles:
    """The open directories of a mount; `paths` says where each is now."""

    def __init__(
        self,
        list_page: ListPage,
        inode_of: InodeOf,
        view: LocalView,
        paths: PathTable[int],
        touched: Touched = lambda _path, _moment: False,
    ) -> None:
        self._list_page = list_page
        self._inode_of = inode_of
        self._view = view
        self._numbers = itertools.count(1)
        self._directories: dict[int, _Directory] = {}
        self._paths = paths
        self._touched = touched

    def open(self, path: RelativePath) -> int:
        """A handle on the directory `path`, which may be listed."""
        directory = _Directory(*self._page(path, b"", _FIRST_PAGE))
        handle = next(self._numbers)
        self._directories[handle] = directory
        self._paths.add(handle, path)
        return handle

    def close(self, handle: int) -> None:
        """Give `handle` back."""
        self._directories.pop(handle, None)
        self._paths.discard(handle)

    def read(self, handle: int, offset: int) -> Iterator[tuple[ListedEntry, DirectoryEntry | None]]:
        """Entries from `offset` on, as shown and as the agent gave them (None for the dots); 0 reads them anew.

        None at the end of the directory, and there only: others come when it is read on. Not all at once, since no
        answer waits for the agent between two entries: what is said of the first would be old by the time it is sent,
        and news of it may have passed it by. One thread at a time reads a handle: libfuse sees to that.
        """
        directory = self._directories[handle]
        path = self._paths.path(handle)
        if offset == 0 and path is not None and (directory.rewind() or not self._is_current(directory, path)):
            directory.restart(*self._page(path, b"", MAX_PAGE_ENTRIES))
        if offset < 1:
            yield self._dot(b".", path, 1), None
        if offset < _DOTS:
            yield self._dot(b"..", None if path is None else path[:-1], 2), None
        first = max(offset - _DOTS, 0)
        for index in itertools.count(first):
            found = directory.entry(index)
            if found is None:
                if directory.complete or path is None or index > first:
                    return
                directory.extend(*self._page(path, directory.last_name, MAX_PAGE_ENTRIES))
                found = directory.entry(index)
                if found is None:
                    return
            entry, fresh = found
            fresh = fresh and path is not None and self._is_current(directory, path)
            yield self._shown(entry, index + _DOTS + 1, fresh=fresh), entry if fresh else None

    def gave(self, handle: int, next_offset: int) -> None:
        """The entry before `next_offset` was told with its attributes."""
        directory = self._directories.get(handle)
        if directory is not None:
            directory.gave(next_offset - _DOTS - 1)

    def given_since(self, handle: int) -> float | None:
        """The monotonic time since when all entries that there are were told with their attributes, one by one."""
        directory = self._directories.get(handle)
        return directory.began if directory is not None and directory.gave_all else None

    def _page(self, path: RelativePath, after: bytes, limit: int) -> tuple[DirectoryPage, float]:
        asked_at = time.monotonic()
        return self._list_page(path, after, limit), asked_at

    def _is_current(self, directory: _Directory, path: RelativePath) -> bool:
        """Whether the attributes of its last page may be taken for those of now."""
        return not directory.is_old(time.monotonic()) and not self._touched(path, directory.asked_at)

    def _dot(self, name: bytes, path: RelativePath | None, next_offset: int) -> ListedEntry:
        inode = 1 if path is None else self._inode_of(path)
        return ListedEntry(name, inode, _DIRECTORY, None, next_offset)

    def _shown(self, entry: DirectoryEntry, next_offset: int, *, fresh: bool) -> ListedEntry:
        if fresh and entry.metadata is not None:
            metadata = self._view.shown(entry.metadata)
            return ListedEntry(entry.name, metadata.inode, metadata.mode, metadata, next_offset)
        return ListedEntry(entry.name, self._view.inode(entry.inode), entry.type, None, next_offset)
