"""Pages of a directory that come one by one, put together to the whole. Thread-safe.

The one rule: only pages of one reading, each beginning where the last one ended, make a whole; and the whole is as of
its first page, for names that came or went meanwhile may be missing from it or too many.
"""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from peer.mount.knowledge import Asked
from schema.attributes import FileMetadata
from schema.changes import Moment
from schema.replies import DirectoryEntry, DirectoryPage
from schema.requests import ListDir

Path = tuple[bytes, ...]
Entries = list[tuple[bytes, FileMetadata]]

_READINGS: Final = 32
_LONGEST: Final = 200_000
"""Entries of a directory that is kept."""


class Whole(NamedTuple):
    """A directory that was read to its end: when that was begun, and as of when."""

    entries: Entries
    as_of: Moment | None
    asked: Asked


class ListingPages:
    """Readings of directories that are under way."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._readings: Final[OrderedDict[tuple[Path, bytes], Whole]] = OrderedDict()

    def add(self, request: ListDir, page: DirectoryPage, asked: Asked) -> Whole | None:
        """The answer to `request`, which was asked when `asked` says; the whole directory, if this was its end."""
        with self._lock:
            if request.after:
                reading = self._readings.pop((request.path, request.after), None)
            else:
                reading = Whole([], page.as_of, asked)
            if reading is None:
                return None
            entries = [*reading.entries]
            for entry in page.entries:
                if entry.metadata is None:
                    return None
                entries.append((entry.name, entry.metadata))
            if page.complete:
                return reading._replace(entries=entries)
            if entries and len(entries) <= _LONGEST:
                self._readings[request.path, entries[-1][0]] = reading._replace(entries=entries)
                if len(self._readings) > _READINGS:
                    self._readings.popitem(last=False)
            return None


def page_of(known: Entries, request: ListDir) -> DirectoryPage:
    """The page that `request` asks for of a listing, of which `known` has one entry more than that, if there is one."""
    entries = tuple(
        DirectoryEntry(name, metadata.inode, stat.S_IFMT(metadata.mode), metadata if request.metadata else None)
        for name, metadata in known[: request.limit]
    )
    return DirectoryPage(entries, complete=len(known) <= request.limit)
