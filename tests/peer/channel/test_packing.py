"""Plaintexts: smaller when that helps, as long as wanted, and never more memory than a body may have."""

from __future__ import annotations

import random
import struct

import hypothesis
import hypothesis.strategies as st
import lz4.block
import pytest

from peer.channel.packing import COMPRESS_FROM, Padding, pack, unpack
from peer.errors import BodyTooLarge, FrameRefused
from schema.codec import decode_reply, decode_request
from schema.limits import MAX_BODY, MAX_DATA, MAX_MESSAGE, SEAL_OVERHEAD
from schema.replies import FileData, Reply
from schema.requests import Caller, Request, WriteFile

NOISE = random.Random(1).randbytes(MAX_DATA)


def written(data: bytes) -> Request:
    return Request(1, 1, Caller(1, 1), WriteFile(1, 0, memoryview(data)))


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("size", [0, 1, COMPRESS_FROM, 20_000, MAX_DATA])
@pytest.mark.parametrize("content", [b"\0" * MAX_DATA, NOISE], ids=["zeros", "noise"])
def test_what_is_packed_unpacks(padding: Padding, size: int, content: bytes) -> None:
    packed = pack(written(content[:size]), padding)
    request = decode_request(unpack(packed))
    assert isinstance(request.body, WriteFile)
    assert bytes(request.body.data) == content[:size]
    assert len(packed) + SEAL_OVERHEAD <= MAX_MESSAGE


def test_what_compresses_is_compressed_and_what_does_not_is_not() -> None:
    assert len(pack(written(b"\0" * 100_000))) < 1000
    assert 100_000 < len(pack(written(NOISE[:100_000]))) < 100_100


def test_noise_with_a_compressible_middle_never_grows() -> None:
    content = NOISE[:40_000] + b"\0" * 20_000 + NOISE[:40_000]
    assert len(pack(written(content))) <= 100_100


@pytest.mark.parametrize("size", [0, 200, 300, 5000, 70_000])
def test_padded_lengths_are_powers_of_two(size: int) -> None:
    length = len(pack(written(NOISE[:size]), Padding.POWERS))
    assert length.bit_count() == 1
    assert length >= 256


HEAD = struct.Struct(">BI")


@pytest.mark.parametrize(
    ("plaintext", "why"),
    [
        (b"", "shorter than its own head"),
        (b"\0\0\0\0", "shorter than its own head"),
        (HEAD.pack(0, 5) + b"1234", "shorter than it says"),
        (HEAD.pack(0, 2**32 - 1), "shorter than it says"),
        (HEAD.pack(2, 4) + b"1234", "not known here"),
        (HEAD.pack(255, 8) + bytes(8), "not known here"),
        (HEAD.pack(1, 3) + b"123", "not known here"),
        (HEAD.pack(1, 4) + struct.pack("<I", MAX_BODY + 1), "would unpack to"),
        (HEAD.pack(1, 4) + struct.pack("<I", 2**32 - 1), "would unpack to"),
        (HEAD.pack(1, 8) + struct.pack("<I", 100) + b"junk", "does not decompress"),
        (HEAD.pack(1, 4) + struct.pack("<I", 100), "does not decompress"),
    ],
)
def test_what_is_not_packed_is_refused(plaintext: bytes, why: str) -> None:
    with pytest.raises(FrameRefused, match=why):
        unpack(plaintext)


def test_a_bomb_does_not_go_off() -> None:
    bomb = bytearray(lz4.block.compress(b"\0" * MAX_BODY * 4))
    bomb[:4] = struct.pack("<I", 1000)
    with pytest.raises(FrameRefused):
        unpack(HEAD.pack(1, len(bomb)) + bomb)


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_content_or_refused(plaintext: bytes) -> None:
    try:
        content = unpack(plaintext)
    except FrameRefused:
        return
    assert len(content) <= MAX_BODY


def test_what_nobody_would_take_is_not_packed() -> None:
    with pytest.raises(BodyTooLarge):
        pack(written(b"\0" * (MAX_BODY + 1)))


def test_a_reply_packs_as_a_request_does() -> None:
    reply = Reply(3, FileData(memoryview(b"abc" * 1000)))
    answer = decode_reply(unpack(pack(reply)))
    assert isinstance(answer.body, FileData)
    assert bytes(answer.body.data) == b"abc" * 1000
