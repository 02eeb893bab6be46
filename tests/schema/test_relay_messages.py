"""What peers and broker say to each other, strict and bounded."""

from __future__ import annotations

import typing
from typing import Any

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from schema.limits import MAX_LANES, MAX_RELAY_MESSAGE
from schema.relay_messages import (
    Announce,
    Announced,
    AuthRequest,
    AuthResponse,
    Error,
    PeerGone,
    Ping,
    Pong,
    RelayErrorCode,
    RelayInfo,
    RelayLimits,
    RelayMessage,
    RelayMessageError,
    Withdraw,
    decode_relay_message,
    encode_relay_message,
)

TOKEN = b"t" * 16
INFO = RelayInfo("relay", "1.0", 7)
EXAMPLES: list[RelayMessage] = [
    AuthRequest(1),
    AuthRequest(2**63 - 1, MAX_LANES - 1, "s" * 512),
    AuthResponse(TOKEN, 300.0, 5.0, RelayLimits(1, 2, 3), INFO),
    Ping(),
    Ping(9),
    Pong(9, TOKEN, 10.0),
    PeerGone(b"laptop/0000000000000001"),
    Announce(b"t" * 16),
    Announced(b"t" * 32),
    Withdraw(b"t" * 16),
    Error(RelayErrorCode.NO_ROUTE, "m" * 512, b"a" * 96, 2**32 - 1, 2**64 - 1, 3600.0),
]


@pytest.mark.parametrize("message", EXAMPLES)
def test_it_comes_back_as_it_was_and_fits(message: RelayMessage) -> None:
    encoded = encode_relay_message(message)
    assert len(encoded) <= MAX_RELAY_MESSAGE
    assert decode_relay_message(encoded) == message
    assert decode_relay_message(memoryview(encoded)) == message


def test_every_kind_has_an_example() -> None:
    assert {type(message) for message in EXAMPLES} == set(typing.get_args(RelayMessage))


@pytest.mark.parametrize(
    "bent",
    [
        ["auth", 0],
        ["auth", -1],
        ["auth", 2**63],
        ["auth", 1, MAX_LANES],
        ["auth", 1, -1],
        ["auth", 1, 0, "s" * 513],
        ["auth-ok", b"short", 1.0, 1.0, [1, 2, 3], ["r", "1", 1]],
        ["auth-ok", TOKEN, 0.0, 1.0, [1, 2, 3], ["r", "1", 1]],
        ["auth-ok", TOKEN, 86_401.0, 1.0, [1, 2, 3], ["r", "1", 1]],
        ["auth-ok", TOKEN, 1.0, -1.0, [1, 2, 3], ["r", "1", 1]],
        ["auth-ok", TOKEN, float("nan"), 1.0, [1, 2, 3], ["r", "1", 1]],
        ["auth-ok", TOKEN, float("inf"), 1.0, [1, 2, 3], ["r", "1", 1]],
        ["ping", -1],
        ["pong", 1, TOKEN + b"t", 1.0],
        ["gone", b"a" * 97],
        ["announce", b"t" * 15],
        ["announced", b"t" * 33],
        ["error", "no-such-code", ""],
        ["error", "no-route", "m" * 513],
        ["error", "no-route", "", b"", 0, -1],
        ["error", "no-route", "", b"", 0, 0, 3601.0],
        ["error", "no-route", "", b"", 0, 0, -1.0],
        ["shutdown"],
        [],
        None,
        {"t": "ping"},
    ],
)
def test_what_is_beyond_a_bound_is_refused(bent: Any) -> None:
    with pytest.raises(RelayMessageError, match="not a relay message"):
        decode_relay_message(msgspec.msgpack.encode(bent))


def test_a_long_one_is_not_even_looked_at() -> None:
    with pytest.raises(RelayMessageError, match="at most"):
        decode_relay_message(bytes(MAX_RELAY_MESSAGE + 1))


def test_deep_nesting_is_one_error() -> None:
    with pytest.raises(RelayMessageError):
        decode_relay_message(b"\x91" * MAX_RELAY_MESSAGE)


@hypothesis.example(b"\x94\xa4auth\x01\x00\xa1\x80")  # software whose name is no text
@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_one_error(noise: bytes) -> None:
    try:
        decode_relay_message(noise)
    except RelayMessageError:
        return
