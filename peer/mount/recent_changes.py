"""The last changes by path: whether an answer that was looked up a while ago has been overtaken. Pure.

The one rule: it never forgets silently. `floor` says from which number on it remembers everything; what was looked up
before that cannot be judged, and is not to be kept.
"""

from __future__ import annotations

from collections import deque
from typing import Final

Path = tuple[bytes, ...]
Touched = tuple[tuple[Path, bool], ...]
"""Paths that a change is about, each with whether all that is below it is meant too."""

CAPACITY: Final = 8192
"""Changes that are remembered."""


class RecentChanges:
    """The last numbers under which each path, each subtree and the names and attributes in each directory changed."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.floor = 0
        self._capacity = capacity
        self._order: deque[tuple[int, Touched]] = deque()
        self._at: dict[Path, int] = {}
        self._below: dict[Path, int] = {}
        self._within: dict[Path, int] = {}

    def clear(self, *, floor: int) -> None:
        """Forget all; answers from before `floor` cannot be judged."""
        self.floor = floor
        self._order.clear()
        for table in (self._at, self._below, self._within):
            table.clear()

    def add(self, number: int, touched: Touched) -> None:
        """Remember a change; numbers only grow."""
        self._order.append((number, touched))
        for path, subtree in touched:
            self._at[path] = number
            if subtree:
                self._below[path] = number
            if path:
                self._within[path[:-1]] = number
        while len(self._order) > self._capacity:
            self._forget_oldest()

    def touched(self, path: Path, after: int) -> bool:
        """Whether `path`, or a directory above it as a whole, changed under a number greater than `after`."""
        if after < self.floor or self._at.get(path, 0) > after:
            return True
        return bool(self._below) and any(self._below.get(path[:n], 0) > after for n in range(len(path) + 1))

    def touched_within(self, path: Path, after: int) -> bool:
        """As `touched`, or whether anything in the directory `path` itself, names or attributes, changed so."""
        return self.touched(path, after) or self._within.get(path, 0) > after

    def _forget_oldest(self) -> None:
        number, touched = self._order.popleft()
        self.floor = number
        for path, _ in touched:
            for table, key in ((self._at, path), (self._below, path), (self._within, path[:-1])):
                if table.get(key) == number:
                    del table[key]
