"""What clients were told in answers while an event about it may have been on its way. Pure.

The one rule: what a client may have been told is forgotten only after it cannot matter any more, or is said to be
forgotten. An answer shows what is there before the feed has told of it; when it is gone again before the feed looks,
the feed sees nothing new, and the client would be left with the answer.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Final

from schema.attributes import FileMetadata

Path = tuple[bytes, ...]

KEPT: Final = 8192
"""Paths: far more than are told of while an event is on its way."""
SOMETHING: Final = FileMetadata(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Attributes that no file has: an answer told something else of it."""


class RecentAnswers:
    """The latest answers by path. Stamps are those of the feed's looks. Not thread-safe."""

    def __init__(self) -> None:
        self._told: Final[OrderedDict[Path, tuple[int, FileMetadata | None]]] = OrderedDict()
        self._listed: Final[OrderedDict[Path, tuple[int, None]]] = OrderedDict()

    def tell(self, stamp: int, path: Path, metadata: FileMetadata | None, after: int) -> None:
        """A client is told that `path` has these attributes, None: that it is not there.

        Answers overtake each other: where another was given after the stamp `after`, it is not known which is believed.
        """
        before, said = self._told.pop(path, (0, None))
        if before > after and said != metadata:
            metadata = SOMETHING
        self._told[path] = (stamp, metadata)
        if len(self._told) > KEPT:
            self._told.popitem(last=False)

    def tell_names(self, stamp: int, path: Path) -> None:
        """A client is told names in the directory `path`, and what they are."""
        self._listed.pop(path, None)
        self._listed[path] = (stamp, None)
        if len(self._listed) > KEPT:
            self._listed.popitem(last=False)

    def told_of(self, path: Path, after: int) -> FileMetadata | None:
        """What was told last of `path` after the stamp `after`: `SOMETHING` for what is not known or in a listing.

        Raises KeyError when nothing was.
        """
        if self._listed.get(path[:-1], (0, None))[0] > after:
            return SOMETHING
        stamp, metadata = self._told[path]
        if stamp <= after:
            raise KeyError(path)
        return metadata

    def below(self, path: Path, after: int) -> list[Path]:
        """What was told of at and below `path` after the stamp `after`; `path` itself when that is not known."""
        found: list[Path] = []
        for told in (self._told, self._listed):
            recent = itertools.takewhile(lambda item: item[1][0] > after, reversed(told.items()))
            found += [answered for answered, _ in recent if answered[: len(path)] == path]
            if len(told) == KEPT and next(iter(told.values()))[0] > after:
                return [path]
        return found

    def clear(self) -> None:
        """Nothing that was told is believed any more."""
        self._told.clear()
        self._listed.clear()
