"""The agent's side of the channels to all clients, sans-IO: what an envelope asks for, and how the answer goes back.

The one rule: work is given out only for a request that is authenticated, decoded within bounds, and new; and every
piece of work that is finished becomes one answer, in the session and on the lane of the newest copy of its request.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

from peer.channel.packing import Padding, pack, unpack
from peer.channel.reply_cache import ReplyCache, Verdict
from peer.errors import (
    BodyTooLarge,
    ClientKeyChanged,
    FrameRefused,
    HandshakeRefused,
    SessionError,
    TryAgainLater,
    UnknownClient,
    UnknownSession,
)
from peer.session.responder import Responder as Sessions
from peer.session.session import LockFactory, Session
from schema.codec import CodecError, decode_request
from schema.envelope import Address, Header, Kind
from schema.failure_codes import MALFORMED
from schema.identity import PeerId
from schema.pace import Pace
from schema.replies import AnyReply, Failure, Reply
from schema.requests import AnyRequest, Caller, CloseFile
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
COMPLAINTS_EVERY: Final = 1.0
"""Seconds between two log lines about one client, which could cause any number of them."""
_NOBODY: Final = Caller(0, 0)


ClientKey = Address
"""One running instance of a client: the id whose key it proved, and the number it drew when it started."""


class Rights(Protocol):
    """Which clients an agent serves, by their identity keys; they may change at any time."""

    def refresh(self, now: float) -> object:
        """Look whether they changed."""

    def identify(self, peer: str, static_key: bytes) -> None:
        """Raise `HandshakeRefused` unless `peer` owns that key and is served."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An envelope to send to a client."""

    lane: int
    client: Address
    header: Header
    body: bytes | bytearray


@dataclass(frozen=True, slots=True)
class Work:
    """An operation to do, and then `finish`. `number` 0 is one that no client asked for and none is told about."""

    client: ClientKey
    number: int
    request: AnyRequest
    caller: Caller


@dataclass(frozen=True, slots=True)
class Steps:
    """What follows from something: answers to send, operations to do."""

    send: tuple[Answer, ...] = ()
    do: tuple[Work, ...] = ()


_NOTHING: Final = Steps()
_TOO_MANY_INSTANCES: Final = Failure("EUSERS", "too many instances of this client are open")
_TOO_MANY_REQUESTS: Final = Failure("EAGAIN", "too many requests of this client wait for an answer")


@dataclass(frozen=True, slots=True)
class _WayBack:
    lane: int
    client: Address
    session: Session


@dataclass(slots=True)
class _Client:
    identity_key: bytes
    heard_at: float = float("-inf")
    replies: ReplyCache[_WayBack] = field(default_factory=ReplyCache)


class ResponderCore:
    """The client instances that an agent knows, and what each has asked.

    Thread-safe where `lock` makes real locks; decrypting, decoding, encoding and encrypting happen outside of it.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        fingerprint: str,
        rights: Rights,
        instances_per_client: int,
        padding: Padding = Padding.NONE,
        lock: LockFactory,
    ) -> None:
        self._sessions = sessions
        self._fingerprint = fingerprint
        self._rights = rights
        self._instances_per_client = instances_per_client
        self._padding = padding
        self._lock = lock()
        self._clients: dict[ClientKey, _Client] = {}
        self._ended = 0
        self._complaints = Pace(COMPLAINTS_EVERY)

    def __len__(self) -> int:
        """Client instances that hold a lease."""
        return len(self._clients)

    def receive(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> Steps:
        """Take an envelope that came on `lane`, from `sender` as the relay says."""
        try:
            if header.kind is Kind.SEALED:
                return self._request(lane, sender, header, body, now)
            if header.kind is Kind.INITIATION:
                return self._handshake(lane, sender, header, body, now)
            raise FrameRefused(f"a client sends no {header.kind.name} envelopes to an agent")
        except SessionError as error:
            self._complain(sender.peer, f"dropped an envelope of {sender.peer}: {error}", now)
            return _NOTHING

    def finish(self, work: Work, reply: AnyReply) -> Steps:
        """`work` was done and `reply` is its outcome."""
        if not work.number:
            return _NOTHING
        with self._lock:
            client = self._clients.get(work.client)
            # What finishes for an instance that is no more was opened for nobody.
            replies = ReplyCache[_WayBack]() if client is None else client.replies
            way_back = replies.finish(work.number, work.request, reply)
            do = _closing(work.client, replies.take_orphans())
        return Steps(self._sealed(way_back, work.number, reply) if way_back else (), do)

    def upkeep(self, now: float) -> list[ClientKey]:
        """To be called about once a second: the instances that are no more, since they were silent or lost their right.

        Their sessions end with them. So nothing that the relay held back can be done a second time when the replies
        that would tell it for a repeat are forgotten.
        """
        self._rights.refresh(now)
        with self._lock:
            gone = [
                key
                for key, client in self._clients.items()
                if now - client.heard_at > LEASE or not self._trusts(key.peer, client.identity_key)
            ]
        dropped = self._sessions.forget_unless(lambda session: self._stays(session, gone))
        with self._lock:
            self._ended += len(gone)
            for key in gone:
                del self._clients[key]
        if dropped:
            _log.info("ended %d sessions of clients that are silent or not trusted any more", dropped)
        self._sessions.expire(now)
        return gone

    def _stays(self, session: Session, gone: list[ClientKey]) -> bool:
        if not self._trusts(session.peer_id, session.remote_static):
            return False
        try:
            return not gone or _key(session) not in gone
        except FrameRefused:
            return False

    def _trusts(self, peer: str, identity_key: bytes) -> bool:
        try:
            self._rights.identify(peer, identity_key)
        except HandshakeRefused:
            return False
        return True

    def _handshake(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> Steps:
        try:
            session, response = self._sessions.accept(sender.peer, header.counter, bytes(body), now)
        except HandshakeRefused as error:
            self._complain(sender.peer, f"refused a handshake of {sender.peer}: {error}", now)
            refusal = encode_session_message(Refusal(_refusal_code(error), self._fingerprint))
            return Steps((Answer(lane, sender, Header(Kind.REFUSED, header.counter & 0xFFFFFFFF), refusal),))
        answer = Header(Kind.RESPONSE, session.remote_index, session.local_index)
        return Steps((Answer(lane, sender, answer, response),))

    def _request(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> Steps:
        ended = self._ended
        try:
            session, plaintext = self._sessions.open(header.session, header.counter, body, now)
        except UnknownSession:
            return Steps((Answer(lane, sender, Header(Kind.UNKNOWN_SESSION, header.session, header.counter), b""),))
        key = _key(session)
        way_back = _WayBack(lane, key, session)
        try:
            request = decode_request(unpack(plaintext))
        except CodecError as error:
            self._complain(key.peer, f"malformed request of {key.peer}: {error}", now)
            if error.id is None:
                return _NOTHING
            return Steps(self._sealed(way_back, error.id, Failure(MALFORMED, str(error)[:1000])))
        with self._lock:
            client = self._clients.get(key)
            if client is None and self._ended != ended:
                # Its session may just have ended with its lease. If it lives, it asks again.
                return _NOTHING
            client = client or self._welcome(key, session)
            if client is None:
                return Steps(self._sealed(way_back, request.id, _TOO_MANY_INSTANCES))
            client.heard_at = max(client.heard_at, now)
            verdict = client.replies.begin(request, way_back)
            do = _closing(key, client.replies.take_orphans())
        if verdict is Verdict.BEGIN:
            return Steps((), (*do, Work(key, request.id, request.body, request.caller)))
        if verdict is Verdict.TOO_MANY:
            verdict = _TOO_MANY_REQUESTS
        if isinstance(verdict, Verdict):
            return Steps((), do)
        return Steps(self._sealed(way_back, request.id, verdict), do)

    def _welcome(self, key: ClientKey, session: Session) -> _Client | None:
        if sum(known.peer == key.peer for known in self._clients) >= self._instances_per_client:
            return None
        client = self._clients[key] = _Client(session.remote_static)
        return client

    def _sealed(self, way_back: _WayBack, number: int, reply: AnyReply) -> tuple[Answer, ...]:
        session = way_back.session
        try:
            packed = pack(Reply(number, reply), self._padding)
        except BodyTooLarge as error:
            packed = pack(Reply(number, Failure("EMSGSIZE", str(error))), self._padding)
        try:
            counter, body = session.seal(packed)
        except SessionError as error:
            _log.warning("a reply to %s could not be sealed: %s", way_back.client.peer, error)
            return ()
        return (Answer(way_back.lane, way_back.client, Header(Kind.SEALED, session.remote_index, counter), body),)

    def _complain(self, peer: str, message: str, now: float) -> None:
        if self._complaints.allows(peer, now):
            _log.warning("%s", message)


def _closing(key: ClientKey, orphans: list[int]) -> tuple[Work, ...]:
    return tuple(Work(key, 0, CloseFile(handle), _NOBODY) for handle in orphans)


def _key(session: Session) -> ClientKey:
    """Who shook hands for `session`. Raises `FrameRefused` for one that did not say so."""
    try:
        return ClientKey(PeerId(session.peer_id), decode_hello(session.remote_payload).instance)
    except SessionMessageError as error:
        raise FrameRefused(f"a handshake without a Hello: {error}") from error


def _refusal_code(error: HandshakeRefused) -> RefusalCode:
    if isinstance(error, UnknownClient):
        return RefusalCode.UNKNOWN_CLIENT
    if isinstance(error, ClientKeyChanged):
        return RefusalCode.KEY_CHANGED
    if isinstance(error, TryAgainLater):
        return RefusalCode.BUSY
    return RefusalCode.UNDECIPHERABLE
