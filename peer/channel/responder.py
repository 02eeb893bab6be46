"""Answering clients: from a sealed envelope to the handler's thread, and back as a sealed reply.

The link's thread only weighs and queues; opening, decoding, doing and sealing happen on a bounded pool, which serves
the clients in turn. What a request means is decided in `responder_core`.

The one rule: every request that the handler sees is answered, also when the handler breaks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from peer.channel.fair_queue import FairQueue, Shares
from peer.channel.packing import Padding
from peer.channel.responder_core import Answer, ClientKey, ResponderCore, Rights, Steps, Work
from peer.channel.sent_answers import SentAnswers
from peer.link.request_link import RequestLink, clock
from peer.session.responder import Responder as Sessions
from schema.envelope import Address, Header
from schema.identity import PeerId
from schema.relay_messages import Error
from schema.replies import AnyReply, Done, Failure
from schema.requests import AnyRequest, Caller, KeepAlive, LockFile

__all__ = ["ClientKey", "Handler", "Quotas", "Responder", "Rights"]

_log = logging.getLogger(__name__)

SEND_PATIENCE: Final = 2.0
"""Seconds that a reply waits for room in the link's queue; the client asks again when it is dropped."""
_UPKEEP: Final = 1.0


class Handler(Protocol):
    """Who does the operations."""

    def perform(
        self,
        client: ClientKey,
        request_id: int,
        request: AnyRequest,
        caller: Caller,
        answer: Callable[[AnyReply], None],
    ) -> None:
        """Do `request` and call `answer` once, now or later, from any thread. Must not raise.

        `request_id` 0 is a `CloseFile` of the channel itself, for a file that was opened for a request given up since.
        """

    def client_gone(self, client: ClientKey) -> None:
        """The client instance is no more: close its files, drop its locks and its waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What is taken in at once: threads that do operations, envelopes and bytes that wait for one, client instances.

    One client has at most half of the envelopes and bytes, and three quarters of the threads.
    """

    threads: int = 16
    envelopes: int = 1024
    bytes: int = 64 * 1024 * 1024
    instances_per_client: int = 64

    @property
    def shares(self) -> Shares:
        """The same as bounds of the queue."""
        return Shares(
            items=self.envelopes,
            bytes=self.bytes,
            items_of_one=max(1, self.envelopes // 2),
            bytes_of_one=max(1, self.bytes // 2),
            running_of_one=max(1, 3 * self.threads // 4),
        )


class _Envelope(NamedTuple):
    lane: int
    sender: Address
    header: Header
    body: memoryview
    arrived: float


class Responder:
    """The agent's end of the channel; it is its link's `Receiver`.

    `rights` is asked every second whether each client's right still holds, so that one that is withdrawn ends live
    sessions too.
    """

    def __init__(
        self,
        link: RequestLink,
        sessions: Sessions,
        handler: Handler,
        *,
        fingerprint: str,
        rights: Rights,
        quotas: Quotas,
        padding: Padding = Padding.NONE,
    ) -> None:
        self._link = link
        self._handler = handler
        self._core = ResponderCore(
            sessions,
            fingerprint=fingerprint,
            rights=rights,
            instances_per_client=quotas.instances_per_client,
            padding=padding,
            lock=threading.Lock,
        )
        self._pool = ThreadPoolExecutor(quotas.threads, thread_name_prefix="operation")
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._queue: FairQueue[PeerId, _Envelope] = FairQueue(quotas.shares)
        self._sent = SentAnswers()
        self._unanswered = 0
        self._next_upkeep = 0.0
        self._draining = False

    def drain(self, seconds: float) -> bool:
        """Take nothing new and wait until all that was accepted is answered. False when it was not in time.

        Waits for locks are not waited for: they end with this program, and their clients ask again.
        """
        with self._idle:
            self._draining = True
            done = self._idle.wait_for(lambda: not self._queue.items and not self._unanswered, seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return done

    # --- the link's Receiver -------------------------------------------------------------------------------------

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        """See `Receiver`. More than the client's share is dropped here; it asks again."""
        with self._lock:
            taken = _Envelope(lane, sender, header, body, now)
            if not self._draining and self._queue.offer(sender.peer, len(body), taken):
                self._pool.submit(self._serve)

    def registered(self, lane: int, now: float) -> None:
        """See `Receiver`."""

    def peer_gone(self, peer: Address, now: float) -> None:  # noqa: ARG002 - the shape is the Receiver's
        """See `Receiver`. The relay is not believed: only silence ends a client's lease."""
        _log.info("the broker says that %s is gone", peer.peer)

    def refused(self, error: Error, now: float) -> None:
        """See `Receiver`. What the broker had no room for goes out again; for the rest the client asks again."""
        with self._lock:
            self._sent.refused(error, now)

    def tick(self, now: float) -> None:
        """See `Receiver`."""
        with self._lock:
            again = self._sent.due(now)
        for answer in again:
            self._link.send(answer.lane, answer.client, answer.header, answer.body)
        if now < self._next_upkeep:
            return
        self._next_upkeep = now + _UPKEEP
        for key in self._core.upkeep(now):
            _log.info("%s/%016x is no more: closing its files", key.peer, key.instance)
            with self._lock:
                if not self._draining:
                    self._pool.submit(self._guarded, self._handler.client_gone, key)

    # --- on the pool -----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Work until no client has anything that may run; each envelope brings one thread here."""
        while True:
            with self._lock:
                taken = self._queue.take()
            if taken is None:
                return
            client, size, envelope = taken
            try:
                self._guarded(self._take, envelope)
            finally:
                with self._idle:
                    self._queue.done(client, size)
                    self._idle.notify_all()

    def _take(self, envelope: _Envelope) -> None:
        lane, sender, header, body, arrived = envelope
        self._carry_out(self._core.receive(lane, sender, header, body, arrived))

    def _carry_out(self, steps: Steps) -> None:
        for answer in steps.send:
            self._send(answer)
        for work in steps.do:
            self._do(work)

    def _do(self, work: Work) -> None:
        counted = not (isinstance(work.request, LockFile) and work.request.wait_ms)
        outcome: list[AnyReply] = []
        with self._lock:
            self._unanswered += counted

        def answer(reply: AnyReply) -> None:
            outcome.append(reply)
            try:
                self._carry_out(self._core.finish(work, reply))
            finally:
                with self._idle:
                    self._unanswered -= counted
                    self._idle.notify_all()

        if isinstance(work.request, KeepAlive):
            answer(Done())
            return
        try:
            self._handler.perform(work.client, work.number, work.request, work.caller, answer)
        except Exception:  # noqa: BLE001 - whatever it was, the client is told and the thread lives
            _log.exception("unexpected failure in %s of %s", type(work.request).__name__, work.client.peer)
            if not outcome:
                answer(Failure("EIO", "the agent failed unexpectedly; its log says more"))

    def _send(self, answer: Answer) -> None:
        if self._link.send_within(answer.lane, answer.client, answer.header, answer.body, SEND_PATIENCE):
            with self._lock:
                self._sent.keep(answer, clock())
        else:
            _log.debug("a reply to %s was not sent: no way to the broker", answer.client.peer)

    def _guarded(self, call: Callable[..., object], *arguments: object) -> None:
        """What nobody waits for must say itself that it failed: the pool would swallow it."""
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and the thread lives
            _log.exception("unexpected failure while answering")
