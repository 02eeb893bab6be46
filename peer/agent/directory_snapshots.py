"""Directories in byte order of their names, a page at a time, looked at as seldom as is right.

The one rule: a page that begins a listing shows the directory as it is now; a page that goes on with one may come from
a scan up to `_CONTINUATION` seconds old, which is what readdir(3) promises of entries that come and go meanwhile.

"As it is now" has two proofs. Under watch, `Proof` says that all that had happened was told: then names and attributes
come from what is known of them (`metadata_cache`), and only what was told of is looked at. Elsewhere, and while
something happens, attributes are asked afresh for every page, an entry that is gone by then is left out, and a kept
scan counts while the times of its directory have not changed and were old enough when it was made, so that a change
within the same tick of a coarse clock cannot hide (git calls such an index entry racy).

The directory was opened under the asker's ids, so the kernel has settled the right to read it; the right to search it,
without which there are no attributes, is settled here.
"""

from __future__ import annotations

import array
import bisect
import contextlib
import os
import stat
import time
from collections.abc import Callable
from typing import Final

from peer.agent.file_attributes import metadata_of
from peer.agent.metadata_cache import Identity, Known, MetadataCache, Path, Scan
from schema.replies import DirectoryEntry, DirectoryPage

_RACY_NS: Final = 3_000_000_000
"""Coarser than the clock of any file system that is likely to be exported (FAT counts in 2 s)."""

_CONTINUATION: Final = 30.0

Proof = Callable[[Path, Identity], bool]
"""Whether a path leads to the directory of this identity, and all that had happened to it and in it was told."""


class DirectorySnapshots:
    """Pages of directories."""

    def __init__(
        self,
        cache: MetadataCache,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._cache: Final = cache
        self._clock: Final = clock
        self._wall_clock_ns: Final = wall_clock_ns
        self._proof: Proof | None = None

    def prove_by(self, proof: Proof) -> None:
        """From now on the cache is told what happens, and `proof` says whether it was told all. To be called once."""
        self._proof = proof

    def page(self, directory: int, path: Path, *, after: bytes, limit: int, metadata: bool) -> DirectoryPage:
        """Up to `limit` entries of `directory`, opened by `path` for reading, with names after `after`.

        A page may be empty although others follow it only when it is `complete`. Raises `OSError`.
        """
        status = os.fstat(directory)
        identity = (status.st_dev, status.st_ino)
        proven = self._proof is not None and self._proof(path, identity) and (not metadata or _may_search(directory))
        now = self._clock()
        known = self._cache.known(identity, path if proven else None, now)
        scan, scanned = known.scan, None
        if scan is None or not self._counts(known, status, now, begins=not after):
            scan = scanned = _scan(directory, status, self._wall_clock_ns(), now)
        page, looked = _page(directory, scan, known, after=after, limit=limit, metadata=metadata)
        if proven:
            if scanned is not None or looked:
                self._cache.keep(known, scanned, looked, now)
        elif scanned is not None and (len(scan.names) > limit or after):
            self._cache.keep_names(identity, scanned)
        if metadata:
            self._cache.answered(len(page.entries) - len(looked), len(looked))
        return page

    def _counts(self, known: Known, status: os.stat_result, now: float, *, begins: bool) -> bool:
        """Whether the scan that is known will do."""
        scan = known.scan
        if known.proven:
            return True
        if scan is None or now - scan.taken_at >= _CONTINUATION:
            return False
        return not begins or (scan.settled and scan.stamp == (status.st_mtime_ns, status.st_ctime_ns))


def _scan(descriptor: int, status: os.stat_result, now_ns: int, now: float) -> Scan:
    with os.scandir(descriptor) as entries:
        found = sorted((os.fsencode(entry.name), entry.inode(), _type(entry)) for entry in entries)
    stamp = (status.st_mtime_ns, status.st_ctime_ns)
    return Scan(
        [name for name, _, _ in found],
        array.array("Q", (inode for _, inode, _ in found)),
        array.array("H", (kind for _, _, kind in found)),
        stamp,
        now_ns - max(stamp) > _RACY_NS,
        now,
    )


def _type(entry: os.DirEntry[str]) -> int:
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return stat.S_IFLNK if entry.is_symlink() else 0


def _may_search(directory: int) -> bool:
    """Whether the ids in force may look names up in `directory`: as the kernel settles it for each of them."""
    try:
        os.stat(b".", dir_fd=directory)
    except PermissionError:
        return False
    return True


def _page(
    directory: int, scan: Scan, known: Known, *, after: bytes, limit: int, metadata: bool
) -> tuple[DirectoryPage, list[DirectoryEntry]]:
    """The page, and those of its entries that were looked at for it."""
    entries: list[DirectoryEntry] = []
    looked: list[DirectoryEntry] = []
    index, total = bisect.bisect_right(scan.names, after), len(scan.names)
    attributes = known.attributes if metadata else {}
    if attributes:  # as a rule all of them are known
        with contextlib.suppress(KeyError):
            found = tuple(map(attributes.__getitem__, scan.names[index : index + limit]))
            return DirectoryPage(found, index + limit >= total), looked
    while index < total and len(entries) < limit:
        entry = attributes.get(scan.names[index])
        if entry is None:
            entry = _entry(directory, scan, index, metadata=metadata)
            if entry is not None and metadata:
                looked.append(entry)
        if entry is not None:
            entries.append(entry)
        index += 1
    return DirectoryPage(tuple(entries), index >= total), looked


def _entry(directory: int, scan: Scan, index: int, *, metadata: bool) -> DirectoryEntry | None:
    name, kind = scan.names[index], scan.types[index]
    if kind and not metadata:
        return DirectoryEntry(name, scan.inodes[index], kind)
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except PermissionError:  # a directory that may be read but not searched shows names and nothing else
        return DirectoryEntry(name, scan.inodes[index], kind)
    return DirectoryEntry(name, status.st_ino, stat.S_IFMT(status.st_mode), metadata_of(status) if metadata else None)
