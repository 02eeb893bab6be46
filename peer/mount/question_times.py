"""How long it takes to ask the agent: the quickest of the last few questions. Pure.

The one rule: what counts is what the way and the agent take at least. A slow answer says that something else was being
done as well; so one quick answer is believed, and a way that has become slow is noticed after `REMEMBERED` of them.
"""

from __future__ import annotations

from collections import deque
from typing import Final

REMEMBERED: Final = 8
"""Questions that count."""


class QuestionTimes:
    """Thread-safe, since a deque's ends are."""

    def __init__(self) -> None:
        self._last: Final[deque[float]] = deque(maxlen=REMEMBERED)

    def took(self, seconds: float) -> None:
        """A question was answered after `seconds`."""
        self._last.append(seconds)

    def are_below(self, seconds: float) -> bool:
        """Whether a question takes less than `seconds`, as far as is known: one that was never asked takes no time."""
        return min(self._last.copy(), default=0.0) < seconds
