"""Directories in byte order of their names, a page at a time, scanned once for many pages.

The one rule: a page that begins a listing shows the directory as it is now; a page that goes on with one may come from
a scan up to `_CONTINUATION` seconds old, which is what readdir(3) promises of entries that come and go meanwhile.
Attributes are asked afresh for every page, and an entry that is gone by then is left out.

A kept scan counts as "now" while the times of its directory have not changed and were old enough when it was made, so
that a change within the same tick of a coarse clock cannot hide (git calls such an index entry racy).
"""

from __future__ import annotations

import array
import bisect
import os
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from peer.agent.file_attributes import metadata_of
from schema.replies import DirectoryEntry, DirectoryPage

_RACY_NS: Final = 3_000_000_000
"""Coarser than the clock of any file system that is likely to be exported (FAT counts in 2 s)."""

_CONTINUATION: Final = 30.0


class _Snapshot:
    """One scan: sorted names, with inode numbers and type bits (0 where the scan did not tell) beside them."""

    __slots__ = ("inodes", "key", "names", "settled", "stamp", "taken_at", "types")

    def __init__(self, descriptor: int, status: os.stat_result, now_ns: int, taken_at: float) -> None:
        with os.scandir(descriptor) as entries:
            found = sorted((os.fsencode(entry.name), entry.inode(), _type(entry)) for entry in entries)
        self.key = (status.st_dev, status.st_ino)
        self.stamp = (status.st_mtime_ns, status.st_ctime_ns)
        self.settled = now_ns - max(self.stamp) > _RACY_NS
        self.taken_at = taken_at
        self.names = [name for name, _, _ in found]
        self.inodes = array.array("Q", (inode for _, inode, _ in found))
        self.types = array.array("H", (kind for _, _, kind in found))


def _type(entry: os.DirEntry[str]) -> int:
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFLNK if entry.is_symlink() else 0


class DirectorySnapshots:
    """Pages of directories. `max_entries` bounds all scans that are kept, the least recently used going first."""

    def __init__(
        self,
        max_entries: int = 1_000_000,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._max_entries: Final = max_entries
        self._clock: Final = clock
        self._wall_clock_ns: Final = wall_clock_ns
        self._lock: Final = threading.Lock()
        self._kept: Final[OrderedDict[tuple[int, int], _Snapshot]] = OrderedDict()
        self._entries = 0

    def page(self, directory: int, *, after: bytes, limit: int, metadata: bool) -> DirectoryPage:
        """Up to `limit` entries of `directory` (a descriptor open for reading) with names after `after`.

        A page may be empty although others follow it only when it is `complete`. Raises `OSError`.
        """
        snapshot = self._snapshot(directory, begins=not after, limit=limit)
        entries: list[DirectoryEntry] = []
        index, total = bisect.bisect_right(snapshot.names, after), len(snapshot.names)
        while index < total and len(entries) < limit:
            entry = _entry(directory, snapshot, index, metadata=metadata)
            if entry is not None:
                entries.append(entry)
            index += 1
        return DirectoryPage(tuple(entries), index >= total)

    def _snapshot(self, directory: int, *, begins: bool, limit: int) -> _Snapshot:
        status = os.fstat(directory)
        now = self._clock()
        with self._lock:
            kept = self._kept.get((status.st_dev, status.st_ino))
            if kept is not None and now - kept.taken_at < _CONTINUATION:
                unchanged = kept.settled and kept.stamp == (status.st_mtime_ns, status.st_ctime_ns)
                if unchanged or not begins:
                    self._kept.move_to_end(kept.key)
                    return kept
        snapshot = _Snapshot(directory, status, self._wall_clock_ns(), now)
        if len(snapshot.names) > limit or not begins:
            self._keep(snapshot)
        return snapshot

    def _keep(self, snapshot: _Snapshot) -> None:
        if len(snapshot.names) > self._max_entries:
            return
        with self._lock:
            before = self._kept.pop(snapshot.key, None)
            self._entries += len(snapshot.names) - (len(before.names) if before is not None else 0)
            self._kept[snapshot.key] = snapshot
            while self._entries > self._max_entries:
                _, oldest = self._kept.popitem(last=False)
                self._entries -= len(oldest.names)


def _entry(directory: int, snapshot: _Snapshot, index: int, *, metadata: bool) -> DirectoryEntry | None:
    name, kind = snapshot.names[index], snapshot.types[index]
    if kind and not metadata:
        return DirectoryEntry(name, snapshot.inodes[index], kind)
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:  # a directory that may be read but not searched shows names and nothing else
        return DirectoryEntry(name, snapshot.inodes[index], kind)
    return DirectoryEntry(name, status.st_ino, stat.S_IFMT(status.st_mode), metadata_of(status) if metadata else None)
