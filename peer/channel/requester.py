"""Asking an agent, from any thread: the one door from file operations to the wire.

The one rule: `call` returns an answer or raises by the deadline of its class of operation, and meanwhile looks at
whether its caller was killed.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.channel.pending_requests import PendingRequest
from peer.channel.requester_core import Outgoing, RequesterCore
from peer.errors import OperationFailed, SessionError
from peer.link.request_link import URGENT_LANE, RequestLink, clock
from schema.codec import CodecError
from schema.envelope import Address, Header, Kind
from schema.failure_codes import MALFORMED
from schema.relay_messages import Error
from schema.replies import AnyReply, Failure, OpenedFile, Reply
from schema.requests import (
    AllocateSpace,
    AnyRequest,
    Caller,
    Cancel,
    CloseFile,
    CopyRange,
    CreateFile,
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
BULK_FROM: Final = 16 * 1024
"""Bytes of data from which a request travels on the bulk lanes."""
_LOOK_UP: Final = 0.1
"""Seconds between two looks at whether the caller was killed."""
_RETRY_SEND: Final = 0.05
_REMEMBERED_ORPHANS: Final = 1024
_SLOW: Final = (ReadFile, WriteFile, CopyRange, SyncFile, FlushFile, AllocateSpace)
_NOBODY: Final = Caller(0, 0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until an operation fails with ETIMEDOUT: those on names and attributes, and those that move data."""

    metadata: float = 20.0
    data: float = 60.0

    def of(self, body: AnyRequest) -> float:
        """The patience for one request; a lock is waited for on top of it."""
        if isinstance(body, LockFile):
            return self.metadata + body.wait_ms / 1000
        return self.data if isinstance(body, _SLOW) else self.metadata


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
        self._last_request = 0.0
        self._orphans: OrderedDict[int, None] = OrderedDict()

    @property
    def trouble(self) -> str:
        """Why nothing is answered just now, in words; empty when nobody said."""
        refusal = self._link.refusal or self._core.refusal
        if isinstance(refusal, Error):
            return refusal.message
        if refusal is not None:
            return f"the agent {self._agent.peer} refuses us ({refusal.code.value}); its key is {refusal.fingerprint}"
        return ""

    def call(self, body: AnyRequest, caller: Caller) -> AnyReply:
        """Ask and wait for the answer.

        Raises `OperationFailed` with the agent's code, ETIMEDOUT when there was no answer in time, EINTR when the
        caller was killed meanwhile.
        """
        answered = threading.Lock()
        answered.acquire()
        now = clock()
        deadline = now + self._patience.of(body)
        with self._lock:
            pending = self._submit(body, caller, deadline, lambda _: answered.release())
        self._transmit(pending, now, wait=True)
        while not answered.acquire(timeout=max(0.0, min(_LOOK_UP, deadline - clock()))):
            if clock() >= deadline:
                self._give_up(pending)
                raise OperationFailed(
                    "ETIMEDOUT", f"no answer from {self._agent.peer} in time. {self.trouble}".rstrip()
                )
            if self._abandoned(body):
                self._give_up(pending)
                raise OperationFailed("EINTR", "the calling process was interrupted")
        answer = pending.answer
        if answer is None or isinstance(answer, Failure):
            failure = answer or Failure("EIO")
            raise OperationFailed(failure.code, failure.message)
        return answer

    def tell(self, body: AnyRequest) -> None:
        """Ask without waiting: nobody wants the answer."""
        now = clock()
        with self._lock:
            pending = self._submit(body, _NOBODY, now + self._patience.of(body), lambda _: None)
        self._transmit(pending, now, wait=False)

    # --- the link's Receiver -------------------------------------------------------------------------------------

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        """See `Receiver`."""
        if sender.peer != self._agent.peer:
            _log.warning("dropped an envelope from %s: this client talks to %s only", sender.peer, self._agent.peer)
            return
        try:
            if header.kind is Kind.SEALED:
                self._answered(self._core.open(header, body, now))
            else:
                with self._lock:
                    self._core.control(header, body, now)
                self._send_due(now)
        except SessionError as error:
            _log.warning("dropped an envelope on lane %d: %s", lane, error)
        except CodecError as error:
            _log.warning("%s answers what is no reply: %s", self._agent.peer, error)
            if error.id is not None:
                self._answered(Reply(error.id, Failure(MALFORMED, f"{self._agent.peer} answers what is no reply")))

    def registered(self, lane: int, now: float) -> None:
        """See `Receiver`."""
        with self._lock:
            self._core.registered(lane, now)
        self._send_due(now)

    def peer_gone(self, peer: Address, now: float) -> None:
        """See `Receiver`. Whether it is true shows when what is unanswered is sent again, which happens anyway."""
        _log.info("the broker says that %s is gone", peer.peer)

    def refused(self, error: Error, now: float) -> None:
        """See `Receiver`."""
        if not error.address:
            return
        with self._lock:
            self._core.refused(error, now)

    def tick(self, now: float) -> None:
        """See `Receiver`."""
        with self._lock:
            for pending in self._core.pending:
                if pending.deadline <= now:
                    self._core.pending.give_up(pending)
            self._core.expired(now)
        if now - self._last_request >= KEEP_ALIVE_AFTER and self._last_request:
            self.tell(KeepAlive())
        self._send_due(now)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _submit(
        self, body: AnyRequest, caller: Caller, deadline: float, on_answer: Callable[[PendingRequest], None]
    ) -> PendingRequest:
        self._last_request = clock()
        return self._core.submit(body, caller, lane=self._lane_for(body), deadline=deadline, on_answer=on_answer)

    def _lane_for(self, body: AnyRequest) -> int:
        bulk = (isinstance(body, ReadFile) and body.size >= BULK_FROM) or (
            isinstance(body, WriteFile) and len(body.data) >= BULK_FROM
        )
        return self._link.bulk_lane() if bulk else URGENT_LANE

    def _transmit(self, pending: PendingRequest, now: float, *, wait: bool) -> None:
        outgoing = self._core.seal(pending, now)
        if outgoing is None:
            self._shake_hands(now)
            return
        if self._send(outgoing, self._patience.metadata if wait else 0.0):
            with self._lock:
                self._core.sent(pending, outgoing, now)
        else:
            with self._lock:
                self._core.unsent(pending, now, _RETRY_SEND)

    def _shake_hands(self, now: float) -> None:
        with self._lock:
            outgoing = self._core.handshake(now)
        if outgoing is not None:
            self._send(outgoing, 0.0)

    def _send(self, outgoing: Outgoing, seconds: float) -> bool:
        return self._link.send_within(outgoing.lane, self._agent, outgoing.header, outgoing.body, seconds)

    def _send_due(self, now: float) -> None:
        with self._lock:
            waiting = len(self._core.pending) > 0
            due = self._core.due(now)
        if waiting:
            self._shake_hands(now)
        for pending in due:
            self._transmit(pending, now, wait=False)

    def _answered(self, reply: Reply) -> None:
        with self._lock:
            wanted = self._core.answered(reply) is not None
            orphan = not wanted and reply.id in self._orphans
            if orphan:
                del self._orphans[reply.id]
        if orphan and isinstance(reply.body, OpenedFile):
            self.tell(CloseFile(reply.body.handle))

    def _give_up(self, pending: PendingRequest) -> None:
        with self._lock:
            self._core.pending.give_up(pending)
            if isinstance(pending.body, OpenFile | CreateFile):
                self._orphans[pending.id] = None
                if len(self._orphans) > _REMEMBERED_ORPHANS:
                    self._orphans.popitem(last=False)
        if isinstance(pending.body, LockFile):
            self.tell(Cancel(pending.id))
