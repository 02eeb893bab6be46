"""What the coherent cache says of what it knows. Pure.

The one rule: these are values of one moment; who keeps one keeps what was.
"""

from __future__ import annotations

from typing import NamedTuple

from peer.mount.metadata_cache import Known
from schema.attributes import FileMetadata
from schema.changes import Change, Moment, Renamed
from schema.paths import RelativePath


class Asked(NamedTuple):
    """When a question was asked: after how many of our own changes, at what time, and after what the feed had told.

    Also the file's change time, if it was known, or the files that were known to have the names that are to be changed
    (each by its `file_key`). The time is by the monotonic clock, in seconds.
    """

    changes: int
    at: float
    heard: Moment
    change_time: bytes | None = None
    files: tuple[bytes, ...] = ()


class Applied(NamedTuple):
    """A change of the feed that is in the cache now, and what was known before of each of its `paths`.

    `below` is what was known to be in a directory that is gone, or some of it, each before what it was in.
    """

    change: Change
    before: tuple[Known | None, ...]
    below: tuple[tuple[RelativePath, FileMetadata], ...] = ()

    @property
    def paths(self) -> tuple[RelativePath, ...]:
        """What it is about: of a rename, the old name and the new one."""
        change = self.change
        return (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)


class Standing(NamedTuple):
    """How things are with one path: what is known of it, and on whose word.

    `sure`: it may be answered; `covered`: the feed tells of its changes; `listed`: all names in this directory are
    known. `heard_at` is when the feed was heard last, None for never.
    """

    metadata: FileMetadata | None
    sure: bool
    covered: bool
    listed: bool
    trusted: bool
    moment: Moment
    heard_at: float | None
