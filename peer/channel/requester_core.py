"""The client's side of the channel to one agent, sans-IO: which request goes out when, in which session, and what came.

The one rule: a request ends exactly once, by its answer, by a refusal that no repeat could change, or by its deadline.
Everything else (a lost session, a broker or agent that restarted, a full queue) only makes it go out again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.channel.packing import Padding, pack, unpack
from peer.channel.pending_requests import NEVER, PendingRequest, PendingRequests
from peer.channel.refusals import explained
from peer.errors import FrameRefused
from peer.session.initiator import Initiator
from peer.session.session import HANDSHAKE_RETRY, Session
from schema.codec import decode_reply
from schema.envelope import Header, Kind
from schema.identity import fingerprint
from schema.relay_messages import Error, RelayErrorCode
from schema.replies import Failure, Reply
from schema.requests import AnyRequest, Caller, Request
from schema.session_messages import (
    Hello,
    Refusal,
    RefusalCode,
    SessionMessageError,
    decode_refusal,
    encode_session_message,
)

HINT_PAUSE: Final = 1.0
"""Seconds between two handshakes that an unauthenticated hint can bring about."""
RETRY_PAUSE: Final = 0.3
"""Seconds until what found no agent, or no room, is tried again."""
HANDSHAKE_LANE: Final = 0
BULK_PATIENCE: Final = 4
"""How many times longer a request on a bulk lane waits before it is repeated: repeats cost the most there."""

_FINAL: Final = {
    RelayErrorCode.NOT_PAIRED: "EACCES",
    RelayErrorCode.TOO_LARGE: "EMSGSIZE",
}
"""Errors of the broker that a repeat would only meet again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An envelope to send to the agent."""

    lane: int
    header: Header
    body: bytes | bytearray


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is about to be sealed, and the session to do it in."""

    lane: int
    session: Session
    request: Request


class RequesterCore:
    """The state of one client instance towards one agent.

    Not thread-safe but for `seal` and `open`, which cost the most and may run beside everything else. `resend_after`
    is the pause in seconds before the first repeat of a small request.
    """

    def __init__(
        self, initiator: Initiator, *, instance: int, resend_after: float, padding: Padding = Padding.NONE
    ) -> None:
        self._initiator = initiator
        self._hello = encode_session_message(Hello(instance))
        self._padding = padding
        self._resend_after = resend_after
        self._next_handshake = 0.0
        self._last_handshake = -HINT_PAUSE
        self.pending: Final = PendingRequests()
        self.refusal: Refusal | Error | None = None
        """Why there is no session, as far as anybody said; for people."""

    @property
    def agent_fingerprint(self) -> str:
        """Of the agent's identity key, as it is pinned."""
        return fingerprint(self._initiator.remote_static)

    def submit(
        self,
        body: AnyRequest,
        caller: Caller,
        *,
        lane: int,
        deadline: float,
        on_answer: Callable[[PendingRequest], None],
    ) -> PendingRequest:
        """A new request, to be sent at once: by `prepare`, or else when it is next `due`."""
        return self.pending.add(body, caller, lane=lane, deadline=deadline, on_answer=on_answer)

    def prepare(self, pending: PendingRequest, now: float) -> Prepared | None:
        """Take a request to be sealed and sent, then `sent` or `unsent`.

        None when there must be a handshake first, and when it does not wait any more.
        """
        session = self._initiator.sending(now)
        request = None if session is None else self.pending.sending(pending)
        return None if session is None or request is None else Prepared(pending.lane, session, request)

    def seal(self, prepared: Prepared) -> Outgoing:
        """The envelope of a request."""
        counter, body = prepared.session.seal(pack(prepared.request, self._padding))
        return Outgoing(prepared.lane, Header(Kind.SEALED, prepared.session.remote_index, counter), body)

    def sent(self, pending: PendingRequest, outgoing: Outgoing, now: float) -> None:
        """`outgoing` was given to the link."""
        envelope = (outgoing.header.session, outgoing.header.counter)
        patience = self._resend_after * (1 if pending.lane == HANDSHAKE_LANE else BULK_PATIENCE)
        self.pending.sent(pending, envelope, now, patience)

    def unsent(self, pending: PendingRequest, now: float) -> None:
        """It could not be given to the link."""
        self.pending.again(pending, now + RETRY_PAUSE)

    def handshake(self, now: float) -> Outgoing | None:
        """The first message of a handshake, when there must be one now."""
        wanted = self._initiator.sending(now) is None or self._initiator.handshake_due(now)
        if now < self._next_handshake or not wanted:
            return None
        self._last_handshake = now
        self._next_handshake = now + HANDSHAKE_RETRY
        index, message = self._initiator.start(now, self._hello)
        return Outgoing(HANDSHAKE_LANE, Header(Kind.INITIATION, 0, index), message)

    def handshake_unsent(self, now: float) -> None:
        """The handshake could not be given to the link."""
        self._next_handshake = now + RETRY_PAUSE

    def due(self, now: float) -> list[PendingRequest]:
        """Requests to be sent now; none while there is no session to send them in."""
        return self.pending.due(now) if self._initiator.sending(now) is not None else []

    def open(self, header: Header, body: memoryview, now: float) -> Reply:
        """The reply in a SEALED envelope. Raises `SessionError` or `CodecError` for anything else."""
        return decode_reply(unpack(self._initiator.open(header.session, header.counter, body, now)))

    def answered(self, reply: Reply) -> PendingRequest | None:
        """The request that `reply` ends, or None for one that waits no longer."""
        return self.pending.answered(reply.id, reply.body)

    def control(self, header: Header, body: memoryview, now: float) -> None:
        """Take an envelope that is not SEALED. Raises `SessionError` for one that is not true."""
        if header.kind is Kind.RESPONSE:
            self._initiator.finish(header.session, header.counter, bytes(body), now)
            self.refusal = None
            for pending in self.pending:
                if pending.sent_as is None:
                    self._hurry(pending, now)
        elif header.kind is Kind.UNKNOWN_SESSION:
            self._lost_session(header.session, now)
        elif header.kind is Kind.REFUSED:
            self._refused_handshake(body, now)
        else:
            raise FrameRefused(f"an agent sends no {header.kind.name} envelopes to a client")

    def refused(self, error: Error, now: float) -> None:
        """The broker refused an envelope."""
        pause = max(RETRY_PAUSE, error.retry_after)
        if error.session == 0:
            self.refusal = error
            self._next_handshake = now + pause
            if error.code in _FINAL and self._initiator.sending(now) is None:
                self._fail_all(Failure(_FINAL[error.code], error.message))
            return
        pending = self.pending.sent_as(error.session, error.counter)
        if pending is None:
            return
        if error.code in _FINAL:
            self.pending.give_up(pending, Failure(_FINAL[error.code], error.message))
        else:
            self._hurry(pending, now + pause)

    def registered(self, lane: int, now: float) -> None:
        """The lane is registered anew: what was sent on it before may be lost with the old connection."""
        if lane == HANDSHAKE_LANE:
            self._next_handshake = now
        for pending in self.pending:
            if pending.lane == lane:
                self._hurry(pending, now)

    def agent_gone(self, now: float) -> None:
        """The broker says that the agent's connections ended: what it had taken is likely lost. Not authenticated."""
        for pending in self.pending:
            self._hurry(pending, min(pending.send_at, now + RETRY_PAUSE))

    def expire(self, now: float, why: str = "") -> None:
        """End the requests whose deadline has passed, with ETIMEDOUT and `why`; forget keys whose time has."""
        for pending in self.pending.overdue(now):
            self.pending.give_up(pending, Failure("ETIMEDOUT", why))
        self._initiator.expire(now)

    def _lost_session(self, remote_index: int, now: float) -> None:
        self._initiator.abandon(remote_index)
        self._next_handshake = min(self._next_handshake, self._last_handshake + HINT_PAUSE)
        for pending in self.pending:
            if pending.sent_as is not None and pending.sent_as[0] == remote_index:
                self.pending.unsent(pending)
                self._hurry(pending, now)

    def _refused_handshake(self, body: memoryview, now: float) -> None:
        try:
            self.refusal = decode_refusal(body)
        except SessionMessageError as error:
            raise FrameRefused(str(error)) from error
        self._next_handshake = now + (RETRY_PAUSE if self.refusal.code is RefusalCode.BUSY else HANDSHAKE_RETRY)
        if self.refusal.code is not RefusalCode.BUSY and self._initiator.sending(now) is None:
            self._fail_all(Failure("EACCES", explained(self.refusal, self.agent_fingerprint)))

    def _hurry(self, pending: PendingRequest, at: float) -> None:
        """Send it again at `at`, unless it is being sent this very moment."""
        if pending.send_at != NEVER:
            self.pending.again(pending, at)

    def _fail_all(self, failure: Failure) -> None:
        for pending in self.pending:
            self.pending.give_up(pending, failure)
