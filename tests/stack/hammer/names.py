"""The twenty names that are hammered, and when each is left alone.

The one rule: which name may be changed when follows from the clock that all processes share, so they agree on it.
"""

from __future__ import annotations

from typing import Final

ORDERED: Final = tuple(f"ordered-{number}" for number in range(8))
"""Files whose changes are made one after another, in every way there is."""
FREE: Final = tuple(f"free-{number}" for number in range(8))
"""Files that all processes change at once, each time at one stroke."""
DIRECTORIES: Final = tuple(f"directory-{number}" for number in range(4))
NAMES: Final = (*ORDERED, *FREE, *DIRECTORIES)

_PHASE: Final = 3 * 10**9
"""Nanoseconds; a third of the names is left alone in each phase, long enough to count as quiet."""
_TURNS: Final = 3


def rests(name: str, now: int) -> bool:
    """Whether nobody may begin to change `name` at the moment `now` (CLOCK_MONOTONIC, nanoseconds)."""
    return (NAMES.index(name) + now // _PHASE) % _TURNS == 0
