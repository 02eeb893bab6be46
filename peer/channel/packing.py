"""From a message to the plaintext that is sealed, and back: compressed when that helps, padded when that is wanted.

    plaintext = [how u8][length u32 big-endian][content, `length` bytes][zeros up to the size class]

The one rule: unpacking allocates no more than a body may have, whatever the sender claims.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

import lz4.block

from peer.errors import BodyTooLarge, FrameRefused
from schema.codec import encode_into
from schema.limits import MAX_BODY
from schema.replies import Reply
from schema.requests import Request

_HEAD: Final = struct.Struct(">BI")
_PLAIN, _LZ4 = 0, 1
COMPRESS_FROM: Final = 512
"""Bytes below which compressing is not tried."""
_SAMPLE: Final = 8 * 1024
_WORTH_IT: Final = 0.9
_SIZE_FIELD: Final = struct.Struct("<I")


class Padding(enum.Enum):
    """Whether lengths on the wire tell the relay more than a size class."""

    NONE = "none"
    POWERS = "powers"
    """Up to the next power of two, from 256 bytes on: at most twice the traffic, and some 13 lengths in all."""


def pack(message: Request | Reply, padding: Padding = Padding.NONE) -> bytearray:
    """The plaintext of `message`. Raises `BodyTooLarge` for one that no other end would take."""
    buffer = bytearray(_HEAD.size)
    encode_into(message, buffer, _HEAD.size)
    return _packed(buffer, padding)


def pack_encoded(content: bytes, padding: Padding = Padding.NONE) -> bytearray:
    """As `pack`, of what is encoded already."""
    return _packed(bytearray(_HEAD.size) + content, padding)


def _packed(buffer: bytearray, padding: Padding) -> bytearray:
    """`buffer` has room for the head in front of the content."""
    length = len(buffer) - _HEAD.size
    if length > MAX_BODY:
        raise BodyTooLarge(f"a body has at most {MAX_BODY} bytes, this one {length}")
    how = _PLAIN
    if length >= COMPRESS_FROM:
        smaller = _compressed(memoryview(buffer)[_HEAD.size :])
        if smaller is not None:
            how, length = _LZ4, len(smaller)
            buffer[_HEAD.size :] = smaller
    _HEAD.pack_into(buffer, 0, how, length)
    if padding is Padding.POWERS:
        buffer.extend(bytes(max(256, 1 << (len(buffer) - 1).bit_length()) - len(buffer)))
    return buffer


def unpack(plaintext: bytes | bytearray | memoryview) -> memoryview | bytes:
    """The encoded message in `plaintext`, without a copy where it is not compressed. Raises `FrameRefused`."""
    if len(plaintext) < _HEAD.size:
        raise FrameRefused("a sealed body is shorter than its own head")
    how, length = _HEAD.unpack_from(plaintext)
    content = memoryview(plaintext)[_HEAD.size : _HEAD.size + length]
    if len(content) != length:
        raise FrameRefused("a sealed body is shorter than it says")
    if how == _PLAIN:
        return content
    if how != _LZ4 or length < _SIZE_FIELD.size:
        raise FrameRefused(f"a sealed body is packed in a way that is not known here: {how}")
    (size,) = _SIZE_FIELD.unpack_from(content)
    if size > MAX_BODY:
        raise FrameRefused(f"a sealed body would unpack to {size} bytes, more than {MAX_BODY}")
    try:
        unpacked: bytes = lz4.block.decompress(content)
    except lz4.block.LZ4BlockError as error:
        raise FrameRefused("a sealed body does not decompress") from error
    return unpacked


def _compressed(content: memoryview) -> bytes | None:
    """`content` compressed, or None when that is not worth it: judged by a sample from the middle of what is long."""
    if len(content) > 2 * _SAMPLE:
        middle = len(content) // 2
        sample = content[middle : middle + _SAMPLE]
        if len(lz4.block.compress(sample, store_size=False)) > _WORTH_IT * _SAMPLE:
            return None
    smaller: bytes = lz4.block.compress(content)
    return smaller if len(smaller) < _WORTH_IT * len(content) else None
