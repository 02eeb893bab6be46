"""How long it takes to ask the agent: the quickest of the last questions.

The one rule: what counts is what the way and the agent take at least. A slow answer says that something else was being
done as well; so one quick answer is believed, and a way that has become slow is noticed after `REMEMBERED` of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from peer.filesystem import Decorator, FileSystem
from schema.requests import AnyRequest, Caller

R = TypeVar("R")

QUICK_SECONDS: Final = 0.005
"""About what the change feed is late by, beside the time one way: events gather for 3 ms at the agent."""
REMEMBERED: Final = 64
"""Questions that count: so many that on a busy machine one of them was answered as quickly as can be."""


class QuestionTimes(Decorator):
    """A `FileSystem` that notes how long the one inside takes. `clock` gives monotonic seconds. Thread-safe."""

    def __init__(self, inner: FileSystem, clock: Callable[[], float]) -> None:
        super().__init__(inner)
        self._clock: Final = clock
        self._last: Final[deque[float]] = deque(maxlen=REMEMBERED)

    @property
    def are_quick(self) -> bool:
        """Whether to ask takes no longer than to wait for the feed, as far as is known: at first, we ask."""
        return min(self._last.copy(), default=0.0) < QUICK_SECONDS

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        began = self._clock()
        answer = super()._perform(request, caller, reply)
        self._last.append(self._clock() - began)
        return answer
