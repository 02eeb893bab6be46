"""How far those who are told had looked when everything had been read: for renames that are told of late. Pure.

The one rule: of two marks the older one counts, since an event is told a moment after what it is about is to be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.agent.change_listener import Marks

_EVERY: Final = 0.02
"""Seconds at least between two marks."""


class LookMarks:
    """The last two marks; `take` gives one."""

    def __init__(self, take: Callable[[], Marks]) -> None:
        self._take: Final = take
        self._marks: tuple[Marks, Marks] = ({}, {})
        self._taken_at = 0.0

    def read_up_to(self, now: float) -> None:
        """All that happened up to about `now` has been read: what is looked at before the next time is up to date."""
        if now - self._taken_at >= _EVERY:
            self._taken_at = now
            self._marks = (self._marks[1], self._take())

    @property
    def older(self) -> Marks:
        """The mark that counts."""
        return self._marks[0]
