"""Hello and Refusal, strict and bounded; and failure codes on any machine."""

from __future__ import annotations

import errno
from typing import Any

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from schema.failure_codes import MALFORMED, STALE_HANDLE, code_of, errno_of
from schema.session_messages import (
    MAX_SESSION_MESSAGE,
    Hello,
    Refusal,
    RefusalCode,
    SessionMessageError,
    decode_hello,
    decode_refusal,
    encode_session_message,
)


def test_they_come_back_as_they_were() -> None:
    assert decode_hello(encode_session_message(Hello(2**63 - 1))) == Hello(2**63 - 1)
    for code in RefusalCode:
        assert decode_refusal(encode_session_message(Refusal(code, "f" * 64))) == Refusal(code, "f" * 64)


@pytest.mark.parametrize("bent", [[0], [-1], [2**63], ["1"], [], None, {}])
def test_no_hello(bent: Any) -> None:
    with pytest.raises(SessionMessageError, match="not a Hello"):
        decode_hello(msgspec.msgpack.encode(bent))


@pytest.mark.parametrize("bent", [["no-such", ""], ["busy", "f" * 65], ["busy"], [1, ""], None])
def test_no_refusal(bent: Any) -> None:
    with pytest.raises(SessionMessageError, match="not a Refusal"):
        decode_refusal(msgspec.msgpack.encode(bent))


def test_a_long_one_is_not_even_looked_at() -> None:
    with pytest.raises(SessionMessageError, match="longer than"):
        decode_hello(bytes(MAX_SESSION_MESSAGE + 1))


@hypothesis.example(b"\x92\xa1\x80")  # text that is none
@hypothesis.given(st.binary(max_size=100))
def test_any_bytes_are_one_or_one_error(noise: bytes) -> None:
    for decode in (decode_hello, decode_refusal):
        try:
            decode(noise)
        except SessionMessageError:
            continue


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOSPC, errno.EOPNOTSUPP, errno.ENODATA])
def test_an_errno_travels_by_its_name(number: int) -> None:
    assert errno_of(code_of(number)) == number


def test_a_number_without_a_name_is_an_io_error() -> None:
    assert code_of(99_999) == "EIO"


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (STALE_HANDLE, errno.ESTALE),
        (MALFORMED, errno.EPROTO),
        ("ENOSUCHTHING", errno.EIO),
        ("", errno.EIO),
        ("errorcode", errno.EIO),
        ("E__class__", errno.EIO),
        ("0", errno.EIO),
    ],
)
def test_a_code_is_never_success(code: str, number: int) -> None:
    assert errno_of(code) == number
