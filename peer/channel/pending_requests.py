"""The requests of one client instance that wait for an answer, sans-IO.

The one rule: an id is used once. Whatever happens to a request (sent twice, answered late, given up) its id means the
same operation, so the agent can tell a repeat from a new wish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from schema.replies import AnyReply
from schema.requests import AnyRequest, Caller


class PendingRequest:
    """One question and, in the end, its answer, which `on_answer` is told of once.

    `send_at` is when it is to be sent (again) at the latest. `sent_as` is the session and counter of its last
    envelope, by which the broker's errors name it.
    """

    __slots__ = (
        "answer",
        "body",
        "caller",
        "deadline",
        "id",
        "lane",
        "on_answer",
        "resend_after",
        "send_at",
        "sent_as",
    )

    def __init__(
        self,
        request_id: int,
        body: AnyRequest,
        caller: Caller,
        *,
        lane: int,
        deadline: float,
        on_answer: Callable[[PendingRequest], None],
    ) -> None:
        self.id: Final = request_id
        self.body: Final = body
        self.caller: Final = caller
        self.lane: Final = lane
        self.deadline: Final = deadline
        self.on_answer: Final = on_answer
        self.resend_after = 0.0
        self.send_at = 0.0
        self.sent_as: tuple[int, int] | None = None
        self.answer: AnyReply | None = None


class PendingRequests:
    """All of them, by id. Not thread-safe: whoever shares it holds a lock."""

    def __init__(self) -> None:
        self._next_id = 1
        self._by_id: dict[int, PendingRequest] = {}
        self._by_envelope: dict[tuple[int, int], PendingRequest] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(list(self._by_id.values()))

    @property
    def acknowledged(self) -> int:
        """Every id up to this one has been answered or given up. (Ids are added in order, so the first is the least.)"""
        return next(iter(self._by_id), self._next_id) - 1

    def add(
        self,
        body: AnyRequest,
        caller: Caller,
        *,
        lane: int,
        deadline: float,
        on_answer: Callable[[PendingRequest], None],
    ) -> PendingRequest:
        """A new request with the next id."""
        pending = PendingRequest(self._next_id, body, caller, lane=lane, deadline=deadline, on_answer=on_answer)
        self._next_id += 1
        self._by_id[pending.id] = pending
        return pending

    def sent(self, pending: PendingRequest, envelope: tuple[int, int], now: float, resend_after: float) -> None:
        """It went out as `envelope` (session, counter); without an answer it goes again after `resend_after` seconds.

        The pause doubles from one repeat to the next, so that a slow link is not filled with repeats.
        """
        self._forget_envelope(pending)
        pending.sent_as = envelope
        pending.resend_after = max(resend_after, 2 * pending.resend_after)
        pending.send_at = now + pending.resend_after
        if pending.id in self._by_id:
            self._by_envelope[envelope] = pending

    def answered(self, request_id: int, answer: AnyReply) -> PendingRequest | None:
        """The request that this answers, or None when it waits no longer."""
        pending = self._by_id.pop(request_id, None)
        if pending is not None:
            pending.answer = answer
            self._forget_envelope(pending)
            pending.on_answer(pending)
        return pending

    def give_up(self, pending: PendingRequest) -> None:
        """Nobody waits for it any more; the agent will refuse it should it still arrive."""
        self._by_id.pop(pending.id, None)
        self._forget_envelope(pending)

    def sent_as(self, session: int, counter: int) -> PendingRequest | None:
        """The request whose last envelope this was."""
        return self._by_envelope.get((session, counter))

    def due(self, now: float) -> list[PendingRequest]:
        """Those to be sent now."""
        return [pending for pending in self._by_id.values() if pending.send_at <= now]

    def _forget_envelope(self, pending: PendingRequest) -> None:
        if pending.sent_as is not None:
            self._by_envelope.pop(pending.sent_as, None)
