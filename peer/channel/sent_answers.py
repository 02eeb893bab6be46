"""Answers that went out lately, sans-IO: what the broker had no room for goes out again, as it is.

The one rule: an answer is kept for a short time and within bounds. Beyond that the client asks again, which is slow but
always right. The same sealed bytes may be sent twice, since the client's replay window takes them once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from peer.channel.responder_core import Answer
from schema.envelope import Kind
from schema.relay_messages import Error, RelayErrorCode

KEPT_BYTES: Final = 8 * 1024 * 1024
KEPT_ANSWERS: Final = 1024
KEPT_SECONDS: Final = 10.0
SHORTEST_PAUSE: Final = 0.1
"""Seconds until a refused answer goes out again, at the least."""

_PASSING: Final = frozenset(
    {
        RelayErrorCode.CONGESTED,
        RelayErrorCode.RATE_LIMITED,
        RelayErrorCode.UNREGISTERED,
        RelayErrorCode.BAD_TOKEN,
    }
)
"""Errors that are over soon. NO_ROUTE is not among them: the client has gone, and asks again when it is back."""

_Name = tuple[bytes, int, int]
"""Whose answer: the client's address, and the session and counter in the header."""


class SentAnswers:
    """Not thread-safe: whoever shares it holds a lock."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Name, tuple[Answer, float]] = OrderedDict()
        self._refused: dict[_Name, float] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, answer: Answer, now: float) -> None:
        """`answer` was given to the link."""
        header = answer.header
        if header.kind is not Kind.SEALED or len(answer.body) > KEPT_BYTES:
            return
        name = (answer.client.encode(), header.session, header.counter)
        self._forget(name)
        self._kept[name] = (answer, now)
        self._bytes += len(answer.body)
        while self._bytes > KEPT_BYTES or len(self._kept) > KEPT_ANSWERS:
            self._forget(next(iter(self._kept)))

    def refused(self, error: Error, now: float) -> None:
        """The broker did not forward an answer."""
        name = (error.address, error.session, error.counter)
        if error.code in _PASSING and name in self._kept:
            self._refused[name] = now + max(SHORTEST_PAUSE, error.retry_after)

    def due(self, now: float) -> list[Answer]:
        """The refused answers whose pause is over: send them. What is too old is forgotten."""
        while self._kept:
            name, (_, kept_at) = next(iter(self._kept.items()))
            if now - kept_at < KEPT_SECONDS:
                break
            self._forget(name)
        due = [name for name, at in self._refused.items() if at <= now]
        for name in due:
            del self._refused[name]
        return [self._kept[name][0] for name in due]

    def _forget(self, name: _Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._bytes -= len(kept[0].body)
            self._refused.pop(name, None)
