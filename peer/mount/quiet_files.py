"""Files that were opened while nobody was changing them: what may be opened here again while nobody does. Pure.

The one rule: only a version that the agent opened for us, and that was `QUIET_SECONDS` old by its clock then, is ever
opened here. So files that are being worked on are always asked for, and two programs that hand a file to and fro see
each other's last close, however late the feed is.
"""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from schema.attributes import FileMetadata, FileVersion
from schema.replies import OpenedFile

QUIET_SECONDS: Final = 2.0
ENTRIES: Final = 65_536
"""Files that are remembered, with about 300 bytes each."""
_NANOSECONDS: Final = 1_000_000_000


class QuietFile(msgspec.Struct, frozen=True, array_like=True):
    """A version of a file on a volume (st_dev), and the file's generation."""

    volume: int
    version: FileVersion
    generation: int


class QuietFiles:
    """Versions of up to `entries` files, and their generations. Thread-safe."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._most: Final = entries
        self._lock: Final = threading.Lock()
        self._known: Final[OrderedDict[tuple[int, int], tuple[FileVersion, int]]] = OrderedDict()

    def opened(self, opened: OpenedFile) -> None:
        """The agent opened a file for reading."""
        metadata = opened.metadata
        file = metadata.volume, metadata.inode
        with self._lock:
            self._known.pop(file, None)
            # Without a generation, a file that took over the inode number could not be told from this one.
            if was_quiet(opened) and opened.generation and _is_plain(metadata):
                self._known[file] = metadata.version, opened.generation
                if len(self._known) > self._most:
                    self._known.popitem(last=False)

    def records(self) -> list[QuietFile]:
        """All that are remembered, the one used longest ago first."""
        with self._lock:
            return [QuietFile(volume, *found) for (volume, _), found in self._known.items()]

    def restore(self, records: Iterable[QuietFile]) -> None:
        """Remember these too, as used longer ago than what is remembered by now."""
        with self._lock:
            known = dict(self._known)
            self._known.clear()
            for each in records:
                self._known[each.volume, each.version.inode] = each.version, each.generation
            for file, found in known.items():
                self._known.pop(file, None)
                self._known[file] = found
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def generation(self, metadata: FileMetadata) -> int | None:
        """The generation of a file that was opened when it was what it is now, and quiet; otherwise None."""
        file = metadata.volume, metadata.inode
        with self._lock:
            found = self._known.get(file)
            if found is None or found[0] != metadata.version or not _is_plain(metadata):
                return None
            self._known.move_to_end(file)
            return found[1]


def was_quiet(opened: OpenedFile) -> bool:
    """Whether the file that was opened had not changed for `QUIET_SECONDS`: what is read of this version is final."""
    return opened.now_ns - opened.metadata.ctime_ns >= QUIET_SECONDS * _NANOSECONDS


def _is_plain(metadata: FileMetadata) -> bool:
    """A regular file that can be changed by one name only."""
    return stat.S_ISREG(metadata.mode) and metadata.links == 1
