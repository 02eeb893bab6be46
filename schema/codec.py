"""Requests and replies to bytes and back: MessagePack, tagged unions, strict and bounded.

The one rule: what `decode_request` and `decode_reply` give back is within the bounds of every field; anything else is
one `CodecError`. Bulk data is a `memoryview` of the decoded buffer, which therefore lives as long as the message.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from schema.decoding import UNDECODABLE
from schema.limits import MAX_BODY
from schema.replies import Reply
from schema.requests import U64, Request

T = TypeVar("T", Request, Reply)


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What every message begins with; the rest is skipped over."""

    id: U64


class CodecError(ValueError):
    """A body that is not one of ours; the message says where it goes wrong, not what it held.

    `id` is the number of the request or reply where at least that could be read, else None: whoever waits for it can
    be told.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.id = number


_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final = msgspec.msgpack.Decoder(Request)
_replies: Final = msgspec.msgpack.Decoder(Reply)
_heads: Final = msgspec.msgpack.Decoder(_Head)


def encode_into(message: Request | Reply, buffer: bytearray, offset: int) -> None:
    """Write `message` to `buffer` from `offset` on; the buffer grows or shrinks to end with it."""
    _encoder.encode_into(message, buffer, offset)


def encode(message: Request | Reply) -> bytes:
    """`message` as MessagePack."""
    return _encoder.encode(message)


def decode_request(body: bytes | bytearray | memoryview) -> Request:
    """Inverse of `encode` for a request. Raises `CodecError`."""
    return _decode(_requests, body)


def decode_reply(body: bytes | bytearray | memoryview) -> Reply:
    """Inverse of `encode` for a reply. Raises `CodecError`."""
    return _decode(_replies, body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes | bytearray | memoryview) -> T:
    if len(body) > MAX_BODY:
        raise CodecError(f"a body has at most {MAX_BODY} bytes, this one {len(body)}")
    try:
        return decoder.decode(body)
    except UNDECODABLE as error:
        raise CodecError(f"malformed body: {error}", _number(body)) from error


def _number(body: bytes | bytearray | memoryview) -> int | None:
    try:
        return _heads.decode(body).id
    except UNDECODABLE:
        return None
