"""What a peer and the broker say to each other about the connection itself. Never about contents.

The one rule: an answer a peer must act on is one of these, with a code; nothing is signalled by silence.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec

from schema.decoding import UNDECODABLE
from schema.limits import MAX_LANES, MAX_RELAY_MESSAGE, MAX_TOPIC, MIN_TOPIC

_Text = Annotated[str, msgspec.Meta(max_length=512)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
_Lane = Annotated[int, msgspec.Meta(ge=0, lt=MAX_LANES)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Token = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Topic = Annotated[bytes, msgspec.Meta(min_length=MIN_TOPIC, max_length=MAX_TOPIC)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    pass


class RelayInfo(msgspec.Struct, frozen=True, array_like=True):
    """The relay's identity as it states it: its id, software version, and a number that changes when it restarts."""

    id: _Text
    version: _Text
    epoch: _Count


class RelayLimits(msgspec.Struct, frozen=True, array_like=True):
    """What the relay allows this peer: bytes in one body, messages and bytes per second (sustained)."""

    max_message: int
    messages_per_second: int
    bytes_per_second: int


class AuthRequest(_Message, frozen=True, tag="auth"):
    """Register this connection as lane `lane` of instance `instance`; also asks for a fresh token."""

    instance: Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]
    lane: _Lane = 0
    software: _Text = ""


class AuthResponse(_Message, frozen=True, tag="auth-ok"):
    """The lane is registered. `token` goes into every header; renew it by Ping before `expires_in` seconds are over."""

    token: _Token
    expires_in: _Seconds
    heartbeat_interval: _Seconds
    limits: RelayLimits
    relay: RelayInfo


class Ping(_Message, frozen=True, tag="ping"):
    """Liveness, and a wish for a renewed token; `echo` comes back in the Pong."""

    echo: _Count = 0


class Pong(_Message, frozen=True, tag="pong"):
    """Answer to a Ping: the token to use from now on (the previous one stays good until it expires)."""

    echo: _Count
    token: _Token
    expires_in: _Seconds


class PeerGone(_Message, frozen=True, tag="gone"):
    """No live connection is left of an instance that this one exchanged messages with; `address` as in envelopes."""

    address: Annotated[bytes, msgspec.Meta(max_length=96)]


class Announce(_Message, frozen=True, tag="announce"):
    """An agent will publish its change feed under `topic`; from now on it is admitted there, and nobody else."""

    topic: _Topic


class Announced(_Message, frozen=True, tag="announced"):
    """The topic was taken; publications under it pass and paired peers may subscribe."""

    topic: _Topic


class Withdraw(_Message, frozen=True, tag="withdraw"):
    """An agent will publish under `topic` no more: it makes room for another. Not answered."""

    topic: _Topic


class RelayErrorCode(enum.Enum):
    """Why the broker did not do what a frame asked for."""

    MALFORMED = "malformed"
    UNREGISTERED = "unregistered"
    """This connection is not registered: it never was, or the broker restarted. Send AuthRequest, then resend."""
    BAD_TOKEN = "bad-token"  # noqa: S105 - an error code, not a password
    """The token expired or is not this peer's. Send AuthRequest, then resend."""
    NOT_PAIRED = "not-paired"
    """No `pairs` entry of the broker's configuration joins sender and destination."""
    NO_ROUTE = "no-route"
    """The destination is not connected now. Resend when it is."""
    CONGESTED = "congested"
    """The destination takes no more at the moment. Resend later."""
    TOO_LARGE = "too-large"
    RATE_LIMITED = "rate-limited"
    TOPIC_TAKEN = "topic-taken"
    TOO_MANY = "too-many"
    """Too many instances, lanes or topics for one peer."""


class Error(_Message, frozen=True, tag="error"):
    """A frame was refused. `address`, `session` and `counter` are the refused envelope's: the sender can tell which."""

    code: RelayErrorCode
    message: _Text
    address: Annotated[bytes, msgspec.Meta(max_length=96)] = b""
    session: _Count = 0
    counter: Annotated[int, msgspec.Meta(ge=0)] = 0
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


RelayMessage = AuthRequest | AuthResponse | Ping | Pong | PeerGone | Announce | Announced | Withdraw | Error


class RelayMessageError(ValueError):
    """A body that is no relay message; the message says why."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(RelayMessage)


def encode_relay_message(message: RelayMessage) -> bytes:
    """MessagePack, at most `MAX_RELAY_MESSAGE` bytes by the bounds of every field."""
    return _encoder.encode(message)


def decode_relay_message(body: bytes | memoryview) -> RelayMessage:
    """Strict and bounded inverse of `encode_relay_message`. Raises `RelayMessageError`."""
    if len(body) > MAX_RELAY_MESSAGE:
        raise RelayMessageError(f"a relay message has at most {MAX_RELAY_MESSAGE} bytes, this one {len(body)}")
    try:
        message: RelayMessage = _decoder.decode(body)
    except UNDECODABLE as error:
        raise RelayMessageError(f"not a relay message: {error}") from error
    return message
