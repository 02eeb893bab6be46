"""Headers and addresses, byte by byte."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from schema.envelope import HEADER_SIZE, Address, EnvelopeError, Header, Kind, decode_address, decode_header
from schema.identity import PeerId
from schema.limits import MAX_PEER_ID

TOKEN = bytes(range(16))
HEADER = Header(Kind.SEALED, 0x01020304, 0x05060708090A0B0C, TOKEN)
LAPTOP = PeerId("laptop")


def test_a_header_is_these_bytes() -> None:
    encoded = HEADER.encode()
    assert encoded == b"\x01\x03\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c" + TOKEN
    assert len(encoded) == HEADER_SIZE == 32
    assert decode_header(encoded) == HEADER
    assert decode_header(memoryview(encoded)) == HEADER


@hypothesis.given(
    st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16)
)
def test_every_header_comes_back_as_it_was(kind: Kind, session: int, counter: int, token: bytes) -> None:
    header = Header(kind, session, counter, token)
    assert decode_header(header.encode()) == header


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "32 bytes"),
        (HEADER.encode()[:-1], "32 bytes"),
        (HEADER.encode() + b"\0", "32 bytes"),
        (b"\x00" + HEADER.encode()[1:], "version 0"),
        (b"\x02" + HEADER.encode()[1:], "version 2"),
        (b"\x01\x06" + HEADER.encode()[2:], "kind of message: 6"),
        (b"\x01\xff" + HEADER.encode()[2:], "kind of message: 255"),
        (b"\x01\x03\x00\x01" + HEADER.encode()[4:], "reserved"),
        (b"\x01\x03\x80\x00" + HEADER.encode()[4:], "reserved"),
    ],
)
def test_what_is_no_header_is_refused(frame: bytes, why: str) -> None:
    with pytest.raises(EnvelopeError, match=why):
        decode_header(frame)


@pytest.mark.parametrize(
    ("address", "frame"),
    [
        (Address(LAPTOP), b"laptop"),
        (Address(LAPTOP, 1), b"laptop/0000000000000001"),
        (Address(LAPTOP, 2**63 - 1), b"laptop/7fffffffffffffff"),
        (Address(PeerId("a" * MAX_PEER_ID), 2**63), b"a" * MAX_PEER_ID + b"/8000000000000000"),
    ],
)
def test_an_address_is_these_bytes(address: Address, frame: bytes) -> None:
    assert address.encode() == frame
    assert decode_address(frame) == address


def test_the_broker_itself_is_the_empty_address() -> None:
    assert decode_address(b"") is None


@pytest.mark.parametrize(
    "frame",
    [
        b"/0000000000000001",
        b"laptop/",
        b"laptop/1",
        b"laptop/0000000000000000",
        b"laptop/000000000000000G",
        b"laptop/000000000000000A",
        b"laptop/0000000000000001/",
        b"Laptop",
        b"lap top",
        b"lapt\xc3\xb6p",
        b"laptop\n",
        b"laptop\0",
        b"../laptop",
        b"-laptop",
        b"a" * (MAX_PEER_ID + 1),
        b"a" * 10_000,
    ],
)
def test_what_is_no_address_is_refused(frame: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode_address(frame)


@hypothesis.given(st.binary(max_size=100))
def test_an_address_has_one_form(frame: bytes) -> None:
    try:
        address = decode_address(frame)
    except EnvelopeError:
        return
    assert (address.encode() if address else b"") == frame


@hypothesis.given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_one_error(frame: bytes) -> None:
    try:
        header = decode_header(frame)
    except EnvelopeError:
        return
    assert header.encode() == frame
