"""Asking an agent, from any thread: the one door from file operations to the wire.

The one rule: `call` returns an answer or raises by the deadline of its class of operation, and meanwhile looks at
whether its caller was killed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.channel.pending_requests import PendingRequest
from peer.channel.refusals import explained
from peer.channel.requester_core import HANDSHAKE_LANE, RequesterCore
from peer.channel.responder_core import LEASE
from peer.channel.window import Window
from peer.errors import BodyTooLarge, OperationFailed, SessionError
from peer.link.request_link import URGENT_LANE, RequestLink, clock
from schema.codec import CodecError
from schema.envelope import Address, Header, Kind
from schema.failure_codes import MALFORMED
from schema.pace import Pace
from schema.relay_messages import Error
from schema.replies import AnyReply, Failure, Reply
from schema.requests import (
    AllocateSpace,
    AnyRequest,
    Caller,
    Cancel,
    CloseFile,
    CopyRange,
    FlushFile,
    KeepAlive,
    LockFile,
    OpenFile,
    ReadFile,
    SyncFile,
    WriteFile,
)

_log = logging.getLogger(__name__)

KEEP_ALIVE_AFTER: Final = 20.0
"""Seconds without a request after which the agent is told that we are still here."""
LONGEST_PATIENCE: Final = LEASE - 10.0
"""Seconds after which no request is repeated: an agent that has not heard us for its lease forgets what it has done."""
BULK_FROM: Final = 16 * 1024
"""Bytes of data from which a request travels on the bulk lanes."""
_LOOK_UP: Final = 0.1
"""Seconds between two looks at whether the caller was killed."""
_SEND_PATIENCE: Final = 1.0
"""Seconds that a caller waits for room in its lane's queue, before it leaves the sending to the link's thread."""
_LAST_RESORT: Final = 2.0
"""Seconds after its deadline when a caller gives up by itself, should the link's thread not have told it."""
_UNTIL_CLOSED: Final = 2 * LEASE
"""Seconds for which a file is being closed, whoever has stopped waiting: by then our lease has closed it."""
_COMPLAINTS_EVERY: Final = 1.0
_SLOW: Final = (ReadFile, WriteFile, CopyRange, SyncFile, FlushFile, AllocateSpace)
_NOBODY: Final = Caller(0, 0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until an operation fails with ETIMEDOUT: those on names and attributes, and those that move data."""

    metadata: float = 20.0
    data: float = 60.0

    def of(self, body: AnyRequest) -> float:
        """The patience for one request; a lock is waited for on top of it."""
        seconds = self.data if isinstance(body, _SLOW) else self.metadata
        waited = body.wait_ms / 1000 if isinstance(body, LockFile) else 0.0
        return min(seconds + waited, LONGEST_PATIENCE)


class Requester:
    """The client's end of the channel; it is its link's `Receiver`.

    `abandoned(request)` is asked now and then on the calling thread whether whoever waits there has given up.
    """

    def __init__(
        self,
        link: RequestLink,
        core: RequesterCore,
        agent: Address,
        *,
        patience: Patience,
        abandoned: Callable[[AnyRequest], bool] = lambda _: False,
    ) -> None:
        self._link = link
        self._core = core
        self._agent = agent
        self._patience = patience
        self._abandoned = abandoned
        self._lock = threading.Lock()
        self._window = Window()
        self._last_request = 0.0
        self._complaints = Pace(_COMPLAINTS_EVERY)

    @property
    def trouble(self) -> str:
        """Why nothing is answered just now, in words; empty when nobody said."""
        refusal = self._link.refusal or self._core.refusal
        if isinstance(refusal, Error):
            return refusal.message
        if refusal is not None:
            return explained(refusal, self._core.agent_fingerprint)
        return ""

    def call(self, body: AnyRequest, caller: Caller) -> AnyReply:
        """Ask and wait for the answer.

        Raises `OperationFailed` with the agent's code, ETIMEDOUT when there was no answer in time, EINTR when the
        caller was killed meanwhile. The time in which it had to wait for its turn among others is not counted.
        """
        size = _bulk_size(body)
        if not self._window.enter(size, self._patience.of(body), lambda: self._abandoned(body)):
            raise self._interrupted() if self._abandoned(body) else self._timed_out()
        try:
            answer = self._ask(body, caller, self._link.bulk_lane() if size else URGENT_LANE)
        finally:
            self._window.leave(size)
        if isinstance(answer, Failure):
            raise OperationFailed(answer.code, answer.message, answer.as_of)
        return answer

    def tell(self, body: AnyRequest) -> None:
        """Ask without waiting: nobody wants the answer."""
        now = clock()
        pending = self._submit(body, _NOBODY, URGENT_LANE, now + self._patience.of(body), lambda _: None)
        self._transmit(pending, now, 0.0)

    # --- the link's Receiver -------------------------------------------------------------------------------------

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        """See `Receiver`."""
        try:
            if sender.peer != self._agent.peer:
                self._complain(f"an envelope from {sender.peer}: this client talks to {self._agent.peer} only", now)
            elif header.kind is Kind.SEALED:
                self._answered(self._core.open(header, body, now))
            else:
                with self._lock:
                    self._core.control(header, body, now)
                self._send_due(now)
        except SessionError as error:
            self._complain(f"an envelope on lane {lane}: {error}", now)
        except CodecError as error:
            self._complain(f"what is no reply, from {self._agent.peer}: {error}", now)
            if error.id is not None:
                self._answered(Reply(error.id, Failure(MALFORMED, f"{self._agent.peer} answers what is no reply")))

    def registered(self, lane: int, now: float) -> None:
        """See `Receiver`."""
        with self._lock:
            self._core.registered(lane, now)
        self._send_due(now)

    def peer_gone(self, peer: Address, now: float) -> None:
        """See `Receiver`."""
        if peer.peer == self._agent.peer:
            _log.info("the broker says that %s is gone", peer.peer)
            with self._lock:
                self._core.agent_gone(now)

    def refused(self, error: Error, now: float) -> None:
        """See `Receiver`."""
        if error.address:
            with self._lock:
                self._core.refused(error, now)

    def tick(self, now: float) -> None:
        """See `Receiver`."""
        with self._lock:
            self._core.expire(now, self._silence())
        if now - self._last_request >= KEEP_ALIVE_AFTER and self._last_request:
            self.tell(KeepAlive())
        self._send_due(now)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _ask(self, body: AnyRequest, caller: Caller, lane: int) -> AnyReply:
        answered = threading.Lock()
        answered.acquire()
        now = clock()
        deadline = now + self._patience.of(body)
        ends = now + _UNTIL_CLOSED if isinstance(body, CloseFile) else deadline
        pending = self._submit(body, caller, lane, ends, lambda _: answered.release())
        self._transmit(pending, now, _SEND_PATIENCE)
        while not answered.acquire(timeout=_LOOK_UP):
            if clock() >= deadline + _LAST_RESORT:
                self._give_up(pending, self._timed_out())
            elif self._abandoned(body):
                self._give_up(pending, self._interrupted())
        return pending.answer or Failure("EIO")

    def _submit(
        self, body: AnyRequest, caller: Caller, lane: int, deadline: float, on_answer: Callable[[PendingRequest], None]
    ) -> PendingRequest:
        with self._lock:
            self._last_request = clock()
            return self._core.submit(body, caller, lane=lane, deadline=deadline, on_answer=on_answer)

    def _transmit(self, pending: PendingRequest, now: float, seconds: float) -> None:
        """Seal and send it, waiting up to `seconds` for room; or begin the handshake that must come first."""
        ready = self._link.registered(pending.lane)
        with self._lock:
            prepared = self._core.prepare(pending, now) if ready else None
        if prepared is None:
            self._shake_hands(now)
            return
        try:
            outgoing = self._core.seal(prepared)
        except BodyTooLarge as error:
            self._give_up(pending, OperationFailed("EMSGSIZE", str(error)))
            return
        sent = self._link.send_within(outgoing.lane, self._agent, outgoing.header, outgoing.body, seconds)
        with self._lock:
            if sent:
                self._core.sent(pending, outgoing, now)
            else:
                self._core.unsent(pending, now)

    def _shake_hands(self, now: float) -> None:
        if not self._link.registered(HANDSHAKE_LANE):
            return
        with self._lock:
            outgoing = self._core.handshake(now)
        if outgoing is None or self._link.send(outgoing.lane, self._agent, outgoing.header, outgoing.body):
            return
        with self._lock:
            self._core.handshake_unsent(now)

    def _send_due(self, now: float) -> None:
        with self._lock:
            waiting = len(self._core.pending) > 0
            due = self._core.due(now)
        if waiting:
            self._shake_hands(now)
        for pending in due:
            self._transmit(pending, now, 0.0)

    def _answered(self, reply: Reply) -> None:
        with self._lock:
            self._core.answered(reply)

    def _give_up(self, pending: PendingRequest, failure: OperationFailed) -> None:
        if isinstance(pending.body, CloseFile):
            raise failure
        with self._lock:
            given_up = self._core.pending.give_up(pending, Failure(failure.code, failure.message))
        if given_up and isinstance(pending.body, LockFile):
            self.tell(Cancel(pending.id))

    def _silence(self) -> str:
        return f"no answer from {self._agent.peer} in time. {self.trouble}".rstrip()

    def _timed_out(self) -> OperationFailed:
        return OperationFailed("ETIMEDOUT", self._silence())

    def _interrupted(self) -> OperationFailed:
        return OperationFailed("EINTR", "the calling process was interrupted")

    def _complain(self, message: str, now: float) -> None:
        if self._complaints.allows(None, now):
            _log.warning("dropped %s", message)


def _bulk_size(body: AnyRequest) -> int:
    """Bytes of file data that a request moves, where these are enough for the bulk lanes; else 0."""
    size = 0
    if isinstance(body, ReadFile):
        size = body.size
    elif isinstance(body, OpenFile):
        size = body.first_bytes
    elif isinstance(body, WriteFile):
        size = len(body.data)
    return size if size >= BULK_FROM else 0
