"""Our own changes, and which answers they have overtaken. Pure.

The one rule: an answer to a question that was asked before one of our changes was done says how things were, of each
path that the change was about, and of each file that it reached, by whatever name that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from peer.mount.effects import Effects
from peer.mount.recent_changes import Path, RecentChanges
from schema.changes import Moment

_EPOCHS: Final = 4
"""Epochs that are remembered; one that is followed is most often the last that was heard of."""


class OwnChanges:
    """What has been done so far, `count` changes. Files are told apart by their `file_key`."""

    def __init__(self) -> None:
        self.count = 0
        self._paths: Final = RecentChanges()
        self._files: Final = RecentChanges()
        self._unfollowed: Final[dict[int, int]] = {}

    def add(self, effects: Effects, files: Iterable[bytes]) -> None:
        """A change is done that reached `files`."""
        self.count += 1
        self._paths.add(self.count, effects.touched)
        self._files.add(self.count, tuple(((file,), False) for file in files))

    def unfollowed(self, before: Moment) -> None:
        """A change is done while no feed of that epoch was followed, and `before` is as for `Settlement`."""
        number = max(before.number, self._unfollowed.pop(before.epoch, 0))
        self._unfollowed[before.epoch] = number
        if len(self._unfollowed) > _EPOCHS:
            del self._unfollowed[next(iter(self._unfollowed))]

    def followed(self, epoch: int) -> int | None:
        """That epoch is followed: up to this number, its feed may tell how things were before changes of ours."""
        return self._unfollowed.pop(epoch, None)

    def overtook(self, path: Path, count: int) -> bool:
        """Whether a change after the first `count` was about `path`."""
        return self._paths.touched(path, count)

    def overtook_listing(self, path: Path, count: int) -> bool:
        """The same of the directory `path` and the names in it."""
        return self._paths.touched_within(path, count)

    def overtook_file(self, file: bytes, count: int) -> bool:
        """Whether a change after the first `count` reached `file`; of no file (no bytes) it did not."""
        return bool(file) and self._files.touched((file,), count)
