"""Answering clients: from a sealed envelope to the handler's thread, and back as a sealed reply.

The link's thread only weighs and queues; opening, decoding, doing and sealing happen on a bounded pool.

The one rule: the handler sees a request only once it is authenticated, decoded within bounds, and new; and every
request that it sees is answered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from peer.channel.packing import Padding, pack, unpack
from peer.channel.reply_cache import ReplyCache, Verdict
from peer.errors import ClientKeyChanged, HandshakeRefused, SessionError, UnknownClient, UnknownSession
from peer.link.request_link import RequestLink
from peer.session.responder import Responder as Sessions
from peer.session.session import Session
from schema.codec import CodecError, decode_request
from schema.envelope import Address, Header, Kind
from schema.failure_codes import MALFORMED
from schema.identity import PeerId
from schema.relay_messages import Error
from schema.replies import AnyReply, Done, Failure, Reply
from schema.requests import AnyRequest, Caller, KeepAlive, Request
from schema.session_messages import (
    Refusal,
    RefusalCode,
    SessionMessageError,
    decode_hello,
    encode_session_message,
)

_log = logging.getLogger(__name__)

LEASE: Final = 90.0
"""Seconds after the last authenticated word of a client instance for which its open files and locks are kept."""
SEND_PATIENCE: Final = 10.0
"""Seconds that a reply waits for room in the link's queue; the client asks again when it is dropped."""
_UPKEEP: Final = 1.0


class ClientKey(NamedTuple):
    """One running instance of a client: the id whose key it proved, and the number it drew when it started."""

    peer: PeerId
    instance: int


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
        """Do `request` and call `answer` once, now or later, from any thread. Must not raise."""

    def client_gone(self, client: ClientKey) -> None:
        """The client instance is no more: close its files, drop its locks and its waits."""


class Rights(Protocol):
    """Which clients an agent serves, by their identity keys; they may change at any time."""

    def refresh(self, now: float) -> object:
        """Look whether they changed."""

    def identify(self, peer: str, static_key: bytes) -> None:
        """Raise `HandshakeRefused` unless `peer` owns that key and is served."""


@dataclass(slots=True)
class _Client:
    replies: ReplyCache = field(default_factory=ReplyCache)
    heard_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What is taken in at once: threads that do operations, envelopes and bytes that wait for one, client instances."""

    threads: int = 16
    envelopes: int = 1024
    bytes: int = 64 * 1024 * 1024
    instances_per_client: int = 64


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
        self._sessions = sessions
        self._handler = handler
        self._fingerprint = fingerprint
        self._rights = rights
        self._quotas = quotas
        self._padding = padding
        self._pool = ThreadPoolExecutor(quotas.threads, thread_name_prefix="operation")
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._clients: dict[ClientKey, _Client] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._unanswered = 0
        self._next_upkeep = 0.0
        self._draining = False

    def drain(self, seconds: float) -> bool:
        """Take nothing new and wait until all that was accepted is answered. False when it was not in time."""
        with self._idle:
            self._draining = True
            done = self._idle.wait_for(lambda: not self._waiting and not self._unanswered, seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return done

    # --- the link's Receiver -------------------------------------------------------------------------------------

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        """See `Receiver`. More than the quota is dropped here; the client asks again."""
        with self._lock:
            full = self._waiting >= self._quotas.envelopes or self._waiting_bytes + len(body) > self._quotas.bytes
            if full or self._draining:
                return
            self._waiting += 1
            self._waiting_bytes += len(body)
        self._pool.submit(self._take, lane, sender, header, body, now)

    def registered(self, lane: int, now: float) -> None:
        """See `Receiver`."""

    def peer_gone(self, peer: Address, now: float) -> None:
        """See `Receiver`. The relay is not believed: only silence ends a client's lease."""
        _log.info("the broker says that %s is gone", peer.peer)

    def refused(self, error: Error, now: float) -> None:
        """See `Receiver`. The client asks again for what did not reach it."""
        if error.address:
            _log.debug("a reply was not forwarded: %s", error.message)

    def tick(self, now: float) -> None:
        """See `Receiver`."""
        if now < self._next_upkeep:
            return
        self._next_upkeep = now + _UPKEEP
        self._rights.refresh(now)
        dropped = self._sessions.forget_unless(self._still_trusted)
        if dropped:
            _log.warning("ended %d sessions of clients that are no longer trusted", dropped)
        self._sessions.expire(now)
        with self._lock:
            gone = [key for key, client in self._clients.items() if now - client.heard_at > LEASE]
            for key in gone:
                del self._clients[key]
        for key in gone:
            _log.info("%s/%016x has been silent for %.0f s: closing its files", key.peer, key.instance, LEASE)
            self._pool.submit(self._handler.client_gone, key)

    def _still_trusted(self, session: Session) -> bool:
        try:
            self._rights.identify(session.peer_id, session.remote_static)
        except HandshakeRefused:
            return False
        return True

    # --- on the pool -----------------------------------------------------------------------------------------------

    def _take(self, lane: int, sender: Address, header: Header, body: memoryview, arrived: float) -> None:
        try:
            if header.kind is Kind.SEALED:
                self._request(lane, sender, header, body, arrived)
            elif header.kind is Kind.INITIATION:
                self._handshake(lane, sender, header, body, arrived)
            else:
                _log.warning("dropped an envelope: a client sends no %s envelopes to an agent", header.kind.name)
        except Exception:
            _log.exception("unexpected failure with an envelope from %s", sender.peer)
        finally:
            with self._idle:
                self._waiting -= 1
                self._waiting_bytes -= len(body)
                self._idle.notify_all()

    def _handshake(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        try:
            session, response = self._sessions.accept(sender.peer, header.counter, bytes(body), now)
        except HandshakeRefused as error:
            _log.warning("refused a handshake of %s: %s", sender.peer, error)
            refusal = encode_session_message(Refusal(_refusal_code(error), self._fingerprint))
            self._link.send(lane, sender, Header(Kind.REFUSED, header.counter & 0xFFFFFFFF), refusal)
            return
        answer = Header(Kind.RESPONSE, session.remote_index, session.local_index)
        self._link.send(lane, sender, answer, response)

    def _request(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        try:
            session, plaintext = self._sessions.open(header.session, header.counter, body, now)
            hello = decode_hello(session.remote_payload)
        except UnknownSession:
            self._link.send(lane, sender, Header(Kind.UNKNOWN_SESSION, header.session, header.counter), b"")
            return
        except (SessionError, SessionMessageError) as error:
            _log.warning("dropped an envelope of %s: %s", sender.peer, error)
            return
        key = ClientKey(PeerId(session.peer_id), hello.instance)
        client = Address(key.peer, key.instance)
        try:
            request = decode_request(unpack(plaintext))
        except SessionError as error:
            _log.warning("malformed body from %s: %s", key.peer, error)
            return
        except CodecError as error:
            _log.warning("malformed request of %s: %s", key.peer, error)
            if error.id is not None:
                self._reply(_ReplyTo(lane, client, session, error.id), Failure(MALFORMED, str(error)))
            return
        verdict = self._begin(key, request, now)
        reply_to = _ReplyTo(lane, client, session, request.id)
        if verdict is Verdict.TOO_MANY:
            self._reply(reply_to, Failure("EAGAIN", "too many requests of this client are unacknowledged"))
        elif not isinstance(verdict, Verdict):
            self._reply(reply_to, verdict)
        elif verdict is Verdict.BEGIN:
            self._perform(key, request, reply_to)

    def _begin(self, key: ClientKey, request: Request, now: float) -> Verdict | AnyReply:
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                if sum(known.peer == key.peer for known in self._clients) >= self._quotas.instances_per_client:
                    return Failure("EUSERS", "too many instances of this client are open")
                client = self._clients[key] = _Client()
            client.heard_at = max(client.heard_at, now)
            verdict = client.replies.begin(request.id, request.acknowledged)
            if verdict is Verdict.BEGIN:
                self._unanswered += 1
            return verdict

    def _perform(self, key: ClientKey, request: Request, reply_to: _ReplyTo) -> None:
        def answer(reply: AnyReply) -> None:
            with self._idle:
                client = self._clients.get(key)
                if client is not None:
                    client.replies.finish(request.id, request.body, reply)
            try:
                self._reply(reply_to, reply)
            finally:
                with self._idle:
                    self._unanswered -= 1
                    self._idle.notify_all()

        if isinstance(request.body, KeepAlive):
            answer(Done())
        else:
            self._handler.perform(key, request.id, request.body, request.caller, answer)

    def _reply(self, reply_to: _ReplyTo, body: AnyReply) -> None:
        session = reply_to.session
        try:
            counter, sealed = session.seal(pack(Reply(reply_to.request_id, body), self._padding))
        except SessionError as error:
            _log.warning("a reply to %s could not be sealed: %s", reply_to.client.peer, error)
            return
        header = Header(Kind.SEALED, session.remote_index, counter)
        if not self._link.send_within(reply_to.lane, reply_to.client, header, sealed, SEND_PATIENCE):
            _log.debug("a reply to %s was not sent: no way to the broker", reply_to.client.peer)


@dataclass(frozen=True, slots=True)
class _ReplyTo:
    lane: int
    client: Address
    session: Session
    request_id: int


def _refusal_code(error: HandshakeRefused) -> RefusalCode:
    if isinstance(error, UnknownClient):
        return RefusalCode.UNKNOWN_CLIENT
    if isinstance(error, ClientKeyChanged):
        return RefusalCode.KEY_CHANGED
    return RefusalCode.UNDECIPHERABLE
