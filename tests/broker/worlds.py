"""A relay without a wire: peers are names, routes are numbers, time is a number the test sets."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from broker.admission import Admission, user_id_of
from broker.config import Limits
from broker.counters import Counters
from broker.feed_admission import FeedAdmission
from broker.outgoing import Send
from broker.relay import Relay
from broker.tokens import MemoryTokenStore
from schema.envelope import NO_TOKEN, Header, Kind, decode_header
from schema.identity import Certificate, PeerId, PublicKey
from schema.relay_messages import (
    Announce,
    AuthRequest,
    AuthResponse,
    Error,
    RelayErrorCode,
    RelayInfo,
    RelayMessage,
    decode_relay_message,
    encode_relay_message,
)

CLIENTS = (PeerId("laptop"), PeerId("phone"))
AGENTS = (PeerId("nas"), PeerId("server"))
PAIRS = ((PeerId("laptop"), PeerId("server")), (PeerId("laptop"), PeerId("nas")), (PeerId("phone"), PeerId("nas")))


def certificate(name: str, generation: int = 0) -> Certificate:
    """The certificate of a peer, with keys made of its name."""
    return Certificate(PeerId(name), PublicKey(hashlib.sha256(f"{name}{generation}".encode()).digest()))


def user(name: str, generation: int = 0) -> str:
    """The user id that ZAP gives connections of that peer."""
    return user_id_of(certificate(name, generation))


def route(number: int) -> bytes:
    """A connection's id as libzmq makes them."""
    return b"\0" + number.to_bytes(4, "big")


def message_of(send: Send) -> RelayMessage:
    """What the broker itself says in `send`."""
    address, header, body = send.frames
    assert address == b""
    assert decode_header(header).kind is Kind.RELAY
    assert isinstance(body, bytes)
    return decode_relay_message(body)


def only(sends: list[Send]) -> Send:
    """The one message there is."""
    assert len(sends) == 1, sends
    return sends[0]


def refusal(sends: list[Send]) -> Error:
    """The one answer, which is an error."""
    message = message_of(only(sends))
    assert isinstance(message, Error)
    return message


def code(sends: list[Send]) -> RelayErrorCode:
    """The code of the one answer, which is an error."""
    return refusal(sends).code


@dataclass
class World:
    """A relay with `CLIENTS` and `AGENTS` admitted and `PAIRS` joined, and the tokens it has given."""

    limits: Limits = Limits()
    counters: Counters = field(default_factory=Counters)
    now: float = 1000.0
    tokens_of: dict[bytes, bytes] = field(default_factory=dict)
    """Route -> the token it was given last."""

    def __post_init__(self) -> None:
        numbers = itertools.count(1)
        self.admission = Admission(PAIRS)
        self.admission.admit_only(certificate(name) for name in CLIENTS + AGENTS)
        self.tokens = MemoryTokenStore(self.limits.token_seconds, lambda size: next(numbers).to_bytes(size, "big"))
        self.feed = FeedAdmission(self.admission.paired, self.limits.max_topics, self.limits.max_message_bytes)
        info = RelayInfo("relay", "1", 7)
        self.relay = Relay(self.admission, self.limits, self.tokens, self.feed, counters=self.counters, info=info)

    def say(self, name: str, at: bytes, message: RelayMessage, token: bytes | None = None) -> list[Send]:
        """`name` says something to the relay itself over the connection `at`."""
        header = Header(Kind.RELAY, token=self.tokens_of.get(at, NO_TOKEN) if token is None else token)
        return self.relay.receive(user(name), at, [b"", header.encode(), encode_relay_message(message)], self.now)

    def register(self, name: str, instance: int, at: bytes, lane: int = 0) -> AuthResponse:
        """Register the connection `at` and remember its token."""
        sends = self.say(name, at, AuthRequest(instance, lane))
        response = message_of(sends[0])
        assert isinstance(response, AuthResponse), response
        assert sends[0].route == at
        self.tokens_of[at] = response.token
        return response

    def announce(self, name: str, at: bytes, topic: bytes) -> list[Send]:
        """Announce a topic over the connection `at`."""
        return self.say(name, at, Announce(topic))

    def send(
        self, name: str, at: bytes, to: bytes, body: bytes = b"sealed", *, token: bytes | None = None, counter: int = 5
    ) -> list[Send]:
        """`name` sends a sealed body to the address `to` over the connection `at`."""
        held = self.tokens_of.get(at, NO_TOKEN) if token is None else token
        header = Header(Kind.SEALED, session=9, counter=counter, token=held).encode()
        return self.relay.receive(user(name), at, [to, header, body], self.now)

    def limited(self, **changes: object) -> World:
        """Another world, with other limits."""
        return World(msgspec.structs.replace(self.limits, **changes))

    def revoke(self, names: Iterable[str]) -> list[Send]:
        """Take the certificates of `names` away."""
        gone = set(names)
        sends: list[Send] = []
        for peer in sorted(self.admission.admit_only(certificate(n) for n in CLIENTS + AGENTS if n not in gone)):
            sends += self.relay.revoke(peer)
        return sends
