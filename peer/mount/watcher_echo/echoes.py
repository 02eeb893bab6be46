"""Which system calls tell a local watcher what a change of the feed did. Pure.

The one rule: an echo says what was so before and what is so now, and stands for one event of a directory; whether that
is still so is looked at when it is made.
"""

from __future__ import annotations

import enum
import stat
from typing import Final, NamedTuple

from peer.mount.knowledge import Applied
from peer.mount.metadata_node import unpack
from schema.attributes import FileMetadata
from schema.changes import Changed, Renamed
from schema.paths import RelativePath

PASSING: Final = b".remotefs-replacing-"
"""How a name begins that a file had which is told of only by the name that it was moved to, replacing another."""
_JUST_NOW_NS: Final = 50_000_000
"""A directory that changed no longer before a file did may have got the file then."""


class Call(enum.Enum):
    """What is done once more, and the events that come of it."""

    MAKE = "IN_CREATE, and of a file that has something in it IN_MODIFY and IN_CLOSE_WRITE"
    REMOVE = "IN_DELETE"
    WRITE = "IN_MODIFY and IN_CLOSE_WRITE"
    TOUCH = "IN_ATTRIB"
    RENAME = "IN_MOVED_FROM and IN_MOVED_TO"


class Echo(NamedTuple):
    """A call about `path`, which had the attributes `before` (None: none known); it came from `source`, if any."""

    call: Call
    path: RelativePath
    before: FileMetadata | None
    now: FileMetadata | None
    source: RelativePath | None = None

    @property
    def paths(self) -> tuple[RelativePath, ...]:
        """All names that it is about."""
        return (self.path,) if self.source is None else (self.source, self.path)


def echoes_of(applied: Applied, directory: FileMetadata | None) -> list[Echo]:
    """The calls for one change, in order; `directory` are the attributes of the directory that it is in, if known."""
    change = applied.change
    if isinstance(change, Renamed):
        return _renamed(change, *(known.metadata if known is not None else None for known in applied.before))
    if not isinstance(change, Changed) or not change.path:
        return []  # of what was swept nobody knows what it was
    (known,) = applied.before
    before, now = known.metadata if known is not None else None, change.metadata
    if now is None:
        gone = known is None or before is not None
        echoes = [Echo(Call.REMOVE, path, metadata, None) for path, metadata in applied.below]
        return [*echoes, Echo(Call.REMOVE, change.path, before or _some_file(), None)] if gone else echoes
    if before is not None and _same(before, now):
        return _changes(change.path, before, now)
    if known is None and not _new(now, directory):
        return [Echo(Call.WRITE, change.path, None, now)] if stat.S_ISREG(now.mode) else []
    if before is None:
        return [Echo(Call.MAKE, change.path, None, now)]
    if stat.S_ISDIR(before.mode) or stat.S_ISDIR(now.mode):
        return [Echo(Call.REMOVE, change.path, before, now), Echo(Call.MAKE, change.path, None, now)]
    passing = (*change.path[:-1], PASSING + b"%x" % now.inode)
    return [Echo(Call.RENAME, change.path, before, now, passing)]


def _renamed(change: Renamed, source: FileMetadata | None, replaced: FileMetadata | None) -> list[Echo]:
    if replaced is None or not _same(replaced, change.metadata):
        return [Echo(Call.RENAME, change.destination, replaced, change.metadata, change.source)]
    # It was told of by its new name already, or we renamed it ourselves.
    return [] if source is None else [Echo(Call.REMOVE, change.source, source, None)]


def is_passing(source: RelativePath) -> bool:
    """Whether `source` is a name that we gave, not the remote machine."""
    return source[-1].startswith(PASSING)


def contents_of(directory: RelativePath, entries: list[tuple[bytes, bytes]]) -> list[Echo]:
    """The calls for all that is in a new `directory`, whose `entries` (packed) nobody was told of one by one."""
    return [Echo(Call.MAKE, (*directory, name), None, unpack(packed)) for name, packed in entries]


def is_known(applied: Applied) -> bool:
    """Whether the change left a file as it was known already: an answer was faster than the feed, if it is not our own.

    Or it is a write(2) that is done, which had set the times before an answer told of them.
    """
    change, known = applied.change, applied.before[0]
    if not isinstance(change, Changed) or change.metadata is None or known is None or known.metadata is None:
        return False
    before, now = known.metadata, change.metadata
    return _same(before, now) and before.ctime_ns == now.ctime_ns


def _changes(path: RelativePath, before: FileMetadata, now: FileMetadata) -> list[Echo]:
    written = (before.size, before.mtime_ns) != (now.size, now.mtime_ns)
    if before.ctime_ns == now.ctime_ns:
        written |= now.mtime_ns == now.ctime_ns
    if stat.S_ISREG(now.mode) and written:
        return [Echo(Call.WRITE, path, before, now)]
    if stat.S_ISLNK(now.mode) or before.ctime_ns == now.ctime_ns:
        return []
    named = stat.S_ISDIR(now.mode) and before.mtime_ns != now.mtime_ns
    if named and (before.mode, before.uid, before.gid) == (now.mode, now.uid, now.gid):
        return []  # names in it came or went, of which there are events of their own
    return [Echo(Call.TOUCH, path, before, now)]


def _same(one: FileMetadata, other: FileMetadata) -> bool:
    return (one.volume, one.inode) == (other.volume, other.inode) and stat.S_IFMT(one.mode) == stat.S_IFMT(other.mode)


def _new(now: FileMetadata, directory: FileMetadata | None) -> bool:
    """Whether a name of which nothing was known was made just now: then its directory changed with it."""
    return directory is not None and directory.mtime_ns >= now.ctime_ns - _JUST_NOW_NS


def _some_file() -> FileMetadata:
    """In place of the attributes of a file that nothing was known of, and that is gone."""
    return FileMetadata(
        inode=1 << 62, mode=stat.S_IFREG | 0o600, links=1, uid=0, gid=0, size=0, blocks=0, block_size=4096,
        volume=0, device=0, atime_ns=0, mtime_ns=0, ctime_ns=0,
    )  # fmt: skip
