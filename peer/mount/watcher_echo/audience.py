"""Which directories of the mount somebody watches, or may watch any moment.

The one rule: looking costs no more than a small part of the time, and nothing at all while nothing changes. A directory
that appeared in a watched one counts as watched for a while: who watches a tree is about to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from peer.mount.watcher_echo.watched_inodes import watched_inodes
from schema.paths import RelativePath

LOOK_EVERY: Final = 0.25
"""Seconds between two looks at who watches, while something changes."""
_SHARE: Final = 50
"""How many times as long as a look takes, no other follows."""
NEW_SECONDS: Final = 5.0
"""Seconds for which a new directory counts as watched."""
_MOST_NEW: Final = 4096


class Audience:
    """The watchers of a file system with the number `device` (st_dev of stat(2)). `clock` gives monotonic seconds."""

    def __init__(
        self,
        device: int,
        clock: Callable[[], float],
        watched: Callable[[int], frozenset[int]] = watched_inodes,
    ) -> None:
        self._device: Final = device
        self._clock: Final = clock
        self._look: Final = watched
        self._inodes: frozenset[int] = frozenset()
        self._next_look = float("-inf")
        self._new: Final[OrderedDict[RelativePath, float]] = OrderedDict()

    @property
    def present(self) -> bool:
        """Whether anybody watches anything here."""
        now = self._clock()
        if now >= self._next_look:
            self._inodes = self._look(self._device)
            looked = self._clock()
            self._next_look = looked + max(LOOK_EVERY, _SHARE * (looked - now))
        return bool(self._inodes)

    def watches(self, inode: int) -> bool:
        """Whether somebody watches the file of that number (st_ino)."""
        return inode in self._inodes

    def appeared(self, directory: RelativePath) -> None:
        """`directory` is new, in one that is watched."""
        self._new.pop(directory, None)
        self._new[directory] = self._clock() + NEW_SECONDS
        if len(self._new) > _MOST_NEW:
            self._new.popitem(last=False)

    def is_new(self, directory: RelativePath) -> bool:
        """Whether `directory` appeared in a watched one a short while ago."""
        return self._new.get(directory, float("-inf")) >= self._clock()
