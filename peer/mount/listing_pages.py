"""Pages of a directory that come one by one, put together to the whole. Thread-safe.

The one rule: only pages of one reading, each beginning where the last one ended, make a whole; and the whole is as of
its first page, for names that came or went meanwhile may be missing from it or too many.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from peer.mount.knowledge import Asked
from peer.mount.metadata_node import inode_and_type, unpack
from schema.attributes import FileMetadata
from schema.changes import Moment
from schema.replies import DirectoryEntry, DirectoryPage
from schema.requests import ListDir

Path = tuple[bytes, ...]
Entries = list[tuple[bytes, FileMetadata]]

_READINGS: Final = 32
_LONGEST: Final = 200_000
"""Entries of a directory that is kept."""


class Reading(NamedTuple):
    """Names of a directory, all of them if it is `whole`: when they were asked for, and as of when they are."""

    entries: Entries
    as_of: Moment | None
    asked: Asked
    whole: bool = False


class ListingPages:
    """Readings of directories that are under way."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._readings: Final[OrderedDict[tuple[Path, bytes], Reading]] = OrderedDict()

    def add(self, request: ListDir, page: DirectoryPage, asked: Asked) -> Reading:
        """The answer to `request`, which was asked when `asked` says: the whole directory, if this was its end."""
        here = Reading(entries_of(page), page.as_of, asked)
        with self._lock:
            begun = Reading([], page.as_of, asked)
            if request.after:
                begun = self._readings.pop((request.path, request.after), here)
            if begun is here or len(here.entries) < len(page.entries):
                return here
            begun.entries.extend(here.entries)
            if page.complete:
                return begun._replace(whole=True)
            if begun.entries and len(begun.entries) <= _LONGEST:
                self._readings[request.path, begun.entries[-1][0]] = begun
                if len(self._readings) > _READINGS:
                    self._readings.popitem(last=False)
            return here


def entries_of(page: DirectoryPage) -> Entries:
    """The names in a page whose attributes it has."""
    return [(entry.name, entry.metadata) for entry in page.entries if entry.metadata is not None]


def with_attributes(request: ListDir) -> ListDir:
    """`request` as the agent is to be asked: so that what it answers comes to be known, whatever is needed now."""
    return msgspec.structs.replace(request, metadata=True)


def as_asked(page: DirectoryPage, request: ListDir) -> DirectoryPage:
    """The answer to `request`, of what was answered to that `with_attributes`."""
    if request.metadata:
        return page
    entries = tuple(DirectoryEntry(entry.name, entry.inode, entry.type) for entry in page.entries)
    return msgspec.structs.replace(page, entries=entries)


def page_of(known: list[tuple[bytes, bytes]], request: ListDir) -> DirectoryPage:
    """The page that `request` asks for of a listing, of which `known` has one entry more than that, if there is one.

    `known` has packed attributes, see `metadata_node`.
    """
    entries = tuple(
        DirectoryEntry(name, *inode_and_type(packed), unpack(packed) if request.metadata else None)
        for name, packed in known[: request.limit]
    )
    return DirectoryPage(entries, complete=len(known) <= request.limit)
