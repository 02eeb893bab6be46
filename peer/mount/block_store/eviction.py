"""Who goes first when the store is full, and when that is: pure.

The one rule: least recently used first, and no more than is asked for, in memory that grows with what goes and not
with what stays.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Watermarks:
    """When a store acts, in bytes on disk."""

    full: int
    """Nothing is written that would go beyond."""
    high: int
    """Above this it evicts,"""
    low: int
    """down to this."""
    batch: int
    """What one process may write before it tells the others."""

    @classmethod
    def of(cls, full: int) -> Watermarks:
        """The room between `high` and `full` is for what is written while the eviction runs."""
        return cls(full, full * 15 // 16, full * 7 // 8, full // 256)


class Oldest:
    """Picks, out of all containers that are offered, the least recently used that together free `wanted` bytes."""

    def __init__(self, wanted: int) -> None:
        self._wanted: Final = wanted
        self._held = 0
        self._newest_first: list[tuple[int, str, int]] = []

    def offer(self, name: str, size: int, used: int) -> None:
        """A container of `size` bytes on disk that was last used at `used`, in nanoseconds of any one clock."""
        if self._wanted <= 0 or (self._held >= self._wanted and -used <= self._newest_first[0][0]):
            return
        heapq.heappush(self._newest_first, (-used, name, size))
        self._held += size
        while self._held - self._newest_first[0][2] >= self._wanted:
            self._held -= heapq.heappop(self._newest_first)[2]

    def chosen(self) -> list[tuple[str, int, int]]:
        """Name, size and last use of each that is to go, the oldest first."""
        return [(name, size, -negated) for negated, name, size in sorted(self._newest_first, reverse=True)]
