"""What travels in and around the end-to-end handshake, beside the Noise messages themselves.

The one rule: a `Hello` is believed, since it is sealed to the agent's key by the client's; a `Refusal` is not, since
there is no session that could authenticate it: it may end a wait and be shown to a person, nothing more.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, TypeVar

import msgspec

from schema.decoding import UNDECODABLE

MAX_SESSION_MESSAGE: Final = 1024
"""Bytes of either message."""

T = TypeVar("T")


class SessionMessageError(ValueError):
    """A body that is no such message."""


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Payload of the first handshake message: which running instance of the client this is."""

    instance: Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]


class RefusalCode(enum.Enum):
    """Why an agent takes no handshake."""

    UNKNOWN_CLIENT = "unknown-client"
    """The agent trusts no client of that id."""
    KEY_CHANGED = "key-changed"
    """The agent has another key pinned for that client."""
    UNDECIPHERABLE = "undecipherable"
    """The message was not sealed to this agent's key, or was damaged."""
    BUSY = "busy"
    """Too many sessions at the moment."""


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """Why, and the fingerprint of the agent's own identity key, so that a person can compare it with the pinned one."""

    code: RefusalCode
    fingerprint: Annotated[str, msgspec.Meta(max_length=64)]


_encoder: Final = msgspec.msgpack.Encoder()


def encode_session_message(message: Hello | Refusal) -> bytes:
    """`message` as MessagePack."""
    return _encoder.encode(message)


def decode_hello(body: bytes | memoryview) -> Hello:
    """Strict inverse of `encode_session_message`. Raises `SessionMessageError`."""
    return _decode(body, Hello)


def decode_refusal(body: bytes | memoryview) -> Refusal:
    """Strict inverse of `encode_session_message`. Raises `SessionMessageError`."""
    return _decode(body, Refusal)


def _decode(body: bytes | memoryview, shape: type[T]) -> T:
    if len(body) > MAX_SESSION_MESSAGE:
        raise SessionMessageError(f"longer than {MAX_SESSION_MESSAGE} bytes")
    try:
        return msgspec.msgpack.decode(body, type=shape)
    except UNDECODABLE as error:
        raise SessionMessageError(f"not a {shape.__name__}: {error}") from error
