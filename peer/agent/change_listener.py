"""Who is told of what happens below the exports.

The one rule: telling never fails and never waits; what is told first is published first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

Path = tuple[bytes, ...]
Marks = Mapping[object, int]
"""How far each feed had looked at some moment."""


class ChangeListener(Protocol):
    """What the watcher reports to; see `Feeds`."""

    def marks(self) -> Marks:
        """Taken before events are read."""

    def changed(self, *paths: Path, left: Collection[Path] = (), written: Collection[Path] = ()) -> None:
        """Something may have happened to each of them.

        From those in `left` a directory went away, and the content of those in `written` may be another.
        """

    def appeared(self, path: Path) -> None:
        """A directory is new there."""

    def renamed(self, source: Path, destination: Path, marks: Marks) -> None:
        """A name moved, with all below it."""

    def swept(self, path: Path) -> None:
        """Anything may have happened at and below it."""

    def linked(self) -> None:
        """Files may have got other names, whose own names are not told of: the attributes of any may be others."""

    def begin_epoch(self, reason: str) -> None:
        """Anything may have happened anywhere."""

    def heartbeat(self) -> None:
        """All that was read has been told."""
