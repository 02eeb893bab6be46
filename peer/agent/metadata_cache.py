"""What is known of directories: their names, and the attributes of these. Pure, thread-safe.

The one rule: what is kept was looked at after the last telling of it. So whoever knows that everything that was
complete at some moment had been told by then (`Watcher.shows`), and asks here afterwards, gets what was true at that
moment or later. Names that were looked at without that knowledge are kept too, for the pages that go on with a listing
(`directory_snapshots`); no attributes are.

Not told by inotify, and right for `BELIEVED` only, therefore: writes through mmap(2) and native AIO, through a
descriptor that was opened by a name that is gone (or never was: O_TMPFILE), another name that a file gets where nobody
watches and what is written through that, what is mounted over a directory, blocks that the file system allots later.
Access times are as old as the look. What a system call does is shown when it has returned; it may be shown before.

Files with several names, and what is on another file system than its directory, are never kept.
"""

from __future__ import annotations

import stat
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from schema.replies import DirectoryEntry

Path = tuple[bytes, ...]
Identity = tuple[int, int]
"""Device and inode number."""

BELIEVED: Final = 5.0
"""Seconds for which attributes are kept although nothing was told: the backstop for what inotify does not tell."""
MAX_BYTES: Final = 128 * 1024 * 1024
"""Memory of all that is kept, about: attributes of a quarter of a million names."""
_NAME_BYTES: Final = 64
_ENTRY_BYTES: Final = 512
"""Of a name, and of its attributes: measured with tracemalloc, names of 20 bytes."""


class Scan(NamedTuple):
    """One look at the names of a directory: sorted, with inode numbers and type bits (0: not said) beside them.

    `stamp` are the times of the directory; `settled`: they were so old that no later change can have the same ones.
    """

    names: Sequence[bytes]
    inodes: Sequence[int]
    types: Sequence[int]
    stamp: tuple[int, int]
    settled: bool
    taken_at: float


class Listing:
    """What is known of one directory. Changed by its cache, under its lock."""

    __slots__ = ("attributes", "attributes_from", "identity", "path", "proven", "scan", "told")

    def __init__(self, identity: Identity, path: Path | None) -> None:
        self.identity: Final = identity
        self.path: Final = path
        """None: nobody would tell of it."""
        self.scan: Scan | None = None
        self.proven = False
        """Whether nothing was told of the directory since `scan`."""
        self.attributes: dict[bytes, DirectoryEntry] = {}
        self.attributes_from = 0.0
        self.told = 0
        """Counts what is told of the directory."""

    @property
    def names(self) -> int:
        """Names that are kept."""
        return len(self.scan.names) if self.scan is not None else 0

    @property
    def bytes(self) -> int:
        """Memory, about."""
        return _ENTRY_BYTES + _NAME_BYTES * self.names + _ENTRY_BYTES * len(self.attributes)


class Known(NamedTuple):
    """A look into the cache: what may be used, and the mark by which what is seen after it may be kept."""

    listing: Listing | None
    scan: Scan | None
    attributes: dict[bytes, DirectoryEntry]
    proven: bool = False
    """Whether `scan` has the names of now."""
    mark: tuple[int, int] | None = None


class Counts(NamedTuple):
    """How it stands: pages answered while all that had happened was told or not, and the names in them by source."""

    proven: int
    unproven: int
    hits: int
    misses: int
    names: int
    bytes: int


class MetadataCache:
    """Directories by identity and path, the least recently used going first.

    `max_entries` bounds the names of all directories, `max_bytes` about the memory.
    """

    def __init__(self, max_entries: int = 1_000_000, max_bytes: int = MAX_BYTES, *, believed: float = BELIEVED) -> None:
        self._max_entries: Final = max_entries
        self._max_bytes: Final = max_bytes
        self._believed: Final = believed
        self._lock: Final = threading.Lock()
        self._listings: Final[OrderedDict[Identity, Listing]] = OrderedDict()
        self._by_path: Final[dict[Path, Listing]] = {}
        self._at_or_below: Final[Counter[Path]] = Counter()
        """How many listings there are at and below a path, so that a file's renaming searches nothing."""
        self._entries = self._bytes = 0
        self._telling = 0
        self._linked = 0
        self._proven = self._unproven = self._hits = self._misses = 0

    # --- for pages

    def known(self, identity: Identity, path: Path | None, now: float) -> Known:
        """What is known of a directory. With `path`, what is told of that was just proven to be told.

        To be asked after that proof, and before anything is looked at.
        """
        with self._lock:
            listing = self._listings.get(identity)
            if listing is not None:
                self._listings.move_to_end(identity)
            if path is None:
                self._unproven += 1
                return Known(None, listing.scan if listing is not None else None, {})
            self._proven += 1
            if listing is None or listing.path != path:
                listing = self._enter(identity, path, listing)
            elif listing.attributes and now - listing.attributes_from >= self._believed:
                self._forget_attributes(listing)
            mark = None if self._telling else (listing.told, self._linked)
            return Known(listing, listing.scan, listing.attributes, listing.proven, mark)

    def keep(self, known: Known, scan: Scan | None, entries: Iterable[DirectoryEntry], now: float) -> None:
        """Keep what was seen since `known`, which was at `now`: a scan, attributes. Not if any of it was told since."""
        listing = known.listing
        with self._lock:
            if listing is None or known.mark != (listing.told, self._linked) or self._telling:
                return
            if self._listings.get(listing.identity) is not listing:
                return
            self._account(listing, -1)
            if scan is not None:
                listing.scan, listing.proven = scan, True
            listing.attributes_from = min(listing.attributes_from, now) if listing.attributes else now
            listing.attributes.update((entry.name, entry) for entry in entries if _is_kept(entry, listing.identity))
            self._account(listing, 1)
            self._make_room(listing)

    def keep_names(self, identity: Identity, scan: Scan) -> None:
        """Keep a scan of a directory that nobody tells of, or that was told of meanwhile."""
        with self._lock:
            listing = self._listings.get(identity)
            if listing is None:
                listing = self._listings[identity] = Listing(identity, None)
                self._account(listing, 1)
            self._account(listing, -1)
            listing.scan, listing.proven = scan, False
            self._account(listing, 1)
            self._make_room(listing)

    def answered(self, hits: int, misses: int) -> None:
        """Count names in a page whose attributes were known, and those that were looked at."""
        with self._lock:
            self._hits += hits
            self._misses += misses

    def counts(self) -> Counts:
        """How it stands."""
        with self._lock:
            return Counts(self._proven, self._unproven, self._hits, self._misses, self._entries, self._bytes)

    # --- what is told, each followed by `told` once the feeds know of it too

    def changed(self, paths: Iterable[Path], left: Collection[Path] = ()) -> None:
        """Something may have happened to each of `paths`; from those in `left` a directory went away."""
        with self._lock:
            self._telling += 1
            for path in paths:
                if path in left:
                    self._drop_below(path)
                self._name_told(path)

    def swept(self, *paths: Path) -> None:
        """Anything may have happened to each of `paths` and what is below."""
        with self._lock:
            self._telling += 1
            for path in paths:
                self._drop_below(path)
                self._name_told(path)

    def linked(self) -> None:
        """Files may have got other names: the attributes of any may be others."""
        with self._lock:
            self._telling += 1
            self._linked += 1
            for listing in self._listings.values():
                self._forget_attributes(listing)

    def forget(self) -> None:
        """Anything may have happened anywhere."""
        with self._lock:
            self._telling += 1
            for listing in list(self._listings.values()):
                self._drop(listing)

    def told(self) -> None:
        """The feeds have looked at what was told last; what is looked at from now on is no older than their looks."""
        with self._lock:
            self._telling -= 1

    # --- with the lock held

    def _enter(self, identity: Identity, path: Path, other: Listing | None) -> Listing:
        for listing in (other, self._by_path.get(path)):
            if listing is not None and self._listings.get(listing.identity) is listing:
                self._drop(listing)
        listing = self._listings[identity] = self._by_path[path] = Listing(identity, path)
        listing.scan = other.scan if other is not None else None
        self._at_or_below.update(_with_above(path))
        self._account(listing, 1)
        self._make_room(listing)
        return listing

    def _name_told(self, path: Path) -> None:
        """Of a name, and so of the directory that it is in."""
        if not path:
            return
        listing = self._by_path.get(path[:-1])
        if listing is None:
            return
        listing.told += 1
        listing.proven = False
        if path[-1] in listing.attributes:
            self._account(listing, -1)
            del listing.attributes[path[-1]]
            self._account(listing, 1)

    def _drop_below(self, path: Path) -> None:
        if self._at_or_below[path]:
            for listing in [each for known, each in self._by_path.items() if known[: len(path)] == path]:
                self._drop(listing)

    def _drop(self, listing: Listing) -> None:
        self._account(listing, -1)
        del self._listings[listing.identity]
        path = listing.path
        if path is not None:
            del self._by_path[path]
            for above in _with_above(path):
                self._at_or_below[above] -= 1
                if not self._at_or_below[above]:
                    del self._at_or_below[above]

    def _forget_attributes(self, listing: Listing) -> None:
        self._account(listing, -1)
        listing.attributes = {}
        self._account(listing, 1)

    def _account(self, listing: Listing, sign: int) -> None:
        self._entries += sign * listing.names
        self._bytes += sign * listing.bytes

    def _make_room(self, newest: Listing) -> None:
        if newest.names > self._max_entries or newest.bytes > self._max_bytes:
            self._drop(newest)  # rather than all others for its sake
        while self._entries > self._max_entries or self._bytes > self._max_bytes:
            self._drop(next(iter(self._listings.values())))


def _with_above(path: Path) -> list[Path]:
    return [path[:depth] for depth in range(len(path) + 1)]


def _is_kept(entry: DirectoryEntry, directory: Identity) -> bool:
    metadata = entry.metadata
    if metadata is None or metadata.volume != directory[0]:
        return False
    return metadata.links == 1 or stat.S_ISDIR(metadata.mode)
