"""The requests of one client instance that wait for an answer, sans-IO.

The one rule: an id is used once, and once nobody waits for it every later request says so to the agent, which then
never begins it. So a write that was given up cannot come after a newer one, however long the relay held it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from schema.limits import MAX_IN_FLIGHT
from schema.replies import AnyReply
from schema.requests import AnyRequest, Caller, CreateFile, OpenFile, Request

NEVER: Final = float("inf")
LONGEST_RESEND: Final = 20.0
"""Seconds to which the pause between two repeats of one request grows."""
_LEAVES_SOMETHING: Final = (OpenFile, CreateFile)
"""Operations whose outcome the agent must undo when nobody took it: the file they opened would stay open."""


class PendingRequest:
    """One question and, in the end, its answer, which `on_answer` is told of once.

    `send_at` is when it is to be sent (again) at the latest, `NEVER` while somebody is sending it. `sent_as` is the
    session and counter of its last envelope, by which the broker's errors name it.
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
        "told",
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
        self.told: frozenset[int] | None = None
        """Abandoned ids that every copy of this request named; None before the first copy."""
        self.answer: AnyReply | None = None


class PendingRequests:
    """All of them, by id. Not thread-safe: whoever shares it holds a lock."""

    def __init__(self) -> None:
        self._next_id = 1
        self._by_id: dict[int, PendingRequest] = {}
        self._by_envelope: dict[tuple[int, int], PendingRequest] = {}
        self._abandoned: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(list(self._by_id.values()))

    def __contains__(self, pending: PendingRequest) -> bool:
        return pending.id in self._by_id

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

    def sending(self, pending: PendingRequest) -> Request | None:
        """What to send for it now, and from now on nobody else sends it, until `sent` or `again`.

        None when it does not wait any more. Says of every id issued so far whether its answer is wanted; beyond
        `MAX_IN_FLIGHT` waiting ones, only of those before.
        """
        if pending.id not in self._by_id:
            return None
        pending.send_at = NEVER
        waiting = tuple(islice(self._by_id, MAX_IN_FLIGHT + 1))
        acknowledged = self._next_id - 1
        if len(waiting) > MAX_IN_FLIGHT:
            acknowledged = waiting[-1] - 1
            waiting = waiting[:-1]
        abandoned = tuple(self._abandoned)
        told = frozenset(abandoned)
        pending.told = told if pending.told is None else pending.told & told
        others = tuple(number for number in waiting if number != pending.id)
        return Request(pending.id, acknowledged, pending.caller, pending.body, others, abandoned)

    def sent(self, pending: PendingRequest, envelope: tuple[int, int], now: float, resend_after: float) -> None:
        """It went out as `envelope` (session, counter); without an answer it goes again after `resend_after` seconds.

        The pause doubles from one repeat to the next, so that a slow link is not filled with repeats.
        """
        self._forget_envelope(pending)
        pending.sent_as = envelope
        pending.resend_after = min(max(resend_after, 2 * pending.resend_after), max(resend_after, LONGEST_RESEND))
        pending.send_at = now + pending.resend_after
        if pending.id in self._by_id:
            self._by_envelope[envelope] = pending

    def again(self, pending: PendingRequest, at: float) -> None:
        """It did not get through: send it at `at`, and begin anew with the pauses between repeats."""
        pending.send_at = at
        pending.resend_after = 0.0

    def unsent(self, pending: PendingRequest) -> None:
        """Its last envelope is known to be lost: no error can be about that one any more."""
        self._forget_envelope(pending)
        pending.sent_as = None

    def answered(self, request_id: int, answer: AnyReply) -> PendingRequest | None:
        """The request that this answers, or None when it waits no longer."""
        pending = self._by_id.pop(request_id, None)
        if pending is not None:
            for number in pending.told or ():
                self._abandoned.pop(number, None)
            self._end(pending, answer)
        return pending

    def give_up(self, pending: PendingRequest, answer: AnyReply) -> bool:
        """Nobody waits for it any more, `answer` says why. False when it ended before: then look at its answer."""
        if self._by_id.pop(pending.id, None) is None:
            return False
        if pending.told is not None and isinstance(pending.body, _LEAVES_SOMETHING):
            self._abandoned[pending.id] = None
            while len(self._abandoned) > MAX_IN_FLIGHT:
                # Hundreds of files opened for nobody and no word from the agent: the end of our lease closes them.
                del self._abandoned[next(iter(self._abandoned))]
        self._end(pending, answer)
        return True

    def sent_as(self, session: int, counter: int) -> PendingRequest | None:
        """The request whose last envelope this was."""
        return self._by_envelope.get((session, counter))

    def due(self, now: float) -> list[PendingRequest]:
        """Those to be sent now."""
        return [pending for pending in self._by_id.values() if pending.send_at <= now < pending.deadline]

    def overdue(self, now: float) -> list[PendingRequest]:
        """Those whose deadline has passed."""
        return [pending for pending in self._by_id.values() if pending.deadline <= now]

    def _end(self, pending: PendingRequest, answer: AnyReply) -> None:
        pending.answer = answer
        self._forget_envelope(pending)
        pending.on_answer(pending)

    def _forget_envelope(self, pending: PendingRequest) -> None:
        if pending.sent_as is not None:
            self._by_envelope.pop(pending.sent_as, None)
