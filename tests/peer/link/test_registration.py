"""A lane's standing, step by step. Time is a number."""

from __future__ import annotations

import itertools

import pytest

from peer.link.registration import FIRST_RETRY, LONGEST_RETRY, Registration, Standing
from schema.envelope import NO_TOKEN
from schema.relay_messages import (
    AuthRequest,
    AuthResponse,
    Error,
    Ping,
    Pong,
    RelayErrorCode,
    RelayInfo,
    RelayLimits,
)

TOKEN, NEWER = b"t" * 16, b"n" * 16
ASK = AuthRequest(instance=7, lane=2, software="here")


def welcome(heartbeat: float = 5.0, expires_in: float = 300.0) -> AuthResponse:
    return AuthResponse(TOKEN, expires_in, heartbeat, RelayLimits(1, 1, 1), RelayInfo("relay", "1", 1))


@pytest.fixture
def lane() -> Registration:
    return Registration(7, 2, "here")


@pytest.fixture
def registered(lane: Registration) -> Registration:
    """Registered at 0."""
    lane.connected(0.0)
    assert lane.tick(0.0) == [ASK]
    assert lane.receive(welcome(), 0.0)
    return lane


def test_nothing_is_said_while_there_is_no_connection(lane: Registration) -> None:
    assert [lane.tick(now) for now in (0.0, 1.0, 60.0)] == [[], [], []]


def test_it_asks_as_soon_as_it_is_connected(lane: Registration) -> None:
    lane.connected(3.0)
    assert (lane.next_tick(3.0), lane.tick(3.0), lane.tick(3.0)) == (0.0, [ASK], [])
    assert lane.standing is Standing.ASKING


def test_without_an_answer_it_asks_again_with_a_pause_that_grows(lane: Registration) -> None:
    lane.connected(0.0)
    now, asked = 0.0, []
    while now < 40.0:
        if lane.tick(now):
            asked.append(now)
        now += lane.next_tick(now) or 0.01
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:5] == pytest.approx([FIRST_RETRY, 0.5, 1.0, 2.0, 4.0])
    assert pauses[5:] == pytest.approx([LONGEST_RETRY] * len(pauses[5:]))


def test_the_answer_registers_it(registered: Registration) -> None:
    assert (registered.standing, registered.token) == (Standing.REGISTERED, TOKEN)
    assert not registered.receive(welcome(), 1.0), "it was registered before"


def test_it_pings_once_a_heartbeat_and_takes_the_new_token(registered: Registration) -> None:
    assert registered.tick(4.9) == []
    assert registered.tick(5.0) == [Ping(1)]
    assert registered.tick(5.1) == []
    registered.receive(Pong(1, NEWER, 300.0), 5.2)
    assert registered.token == NEWER
    assert registered.tick(10.0) == [Ping(2)]


def test_a_pong_to_another_ping_brings_no_token(registered: Registration) -> None:
    registered.tick(5.0)
    registered.receive(Pong(9, NEWER, 300.0), 5.2)
    assert registered.token == TOKEN


def test_it_pings_sooner_where_tokens_live_for_less(lane: Registration) -> None:
    lane.connected(0.0)
    lane.tick(0.0)
    lane.receive(welcome(heartbeat=60.0, expires_in=6.0), 0.0)
    assert (lane.tick(1.9), lane.tick(2.0)) == ([], [Ping(1)])


def test_silence_for_three_heartbeats_makes_it_ask_again(registered: Registration) -> None:
    for now in (5.0, 10.0, 15.0):
        registered.tick(now)
    assert not registered.silent(15.0)
    assert registered.silent(15.1)
    assert registered.tick(15.1) == [ASK]
    assert (registered.standing, registered.token) == (Standing.ASKING, NO_TOKEN)


def test_any_frame_is_a_sign_of_life(registered: Registration) -> None:
    registered.heard(14.0)
    assert not registered.silent(28.9)


def test_a_sleep_counts_as_silence(registered: Registration) -> None:
    assert registered.silent(600.0)


@pytest.mark.parametrize("code", [RelayErrorCode.UNREGISTERED, RelayErrorCode.BAD_TOKEN])
def test_an_error_that_says_so_ends_it(registered: Registration, code: RelayErrorCode) -> None:
    registered.receive(Error(code, "", b"server", 1, 1), 1.0)
    assert (registered.standing, registered.token) == (Standing.ASKING, NO_TOKEN)
    assert registered.tick(1.0) == [ASK]


@pytest.mark.parametrize(
    "code", sorted(set(RelayErrorCode) - {RelayErrorCode.UNREGISTERED, RelayErrorCode.BAD_TOKEN}, key=str)
)
def test_no_other_error_does(registered: Registration, code: RelayErrorCode) -> None:
    registered.receive(Error(code, "", b"server", 1, 1), 1.0)
    assert registered.standing is Standing.REGISTERED


def test_a_relay_that_says_no_to_everything_is_asked_at_a_pace(registered: Registration) -> None:
    asked, now = 0, 10.0
    while now < 20.0:
        registered.receive(Error(RelayErrorCode.UNREGISTERED, "", b"server", 1, 1), now)
        if registered.tick(now):
            asked += 1
            registered.receive(welcome(), now)
        now += 0.01
    assert 30 <= asked <= 10.0 / FIRST_RETRY + 1


def test_a_refused_request_is_remembered_and_made_again_when_it_is_said(lane: Registration) -> None:
    lane.connected(0.0)
    lane.tick(0.0)
    refusal = Error(RelayErrorCode.TOO_MANY, "too many instances", retry_after=9.0)
    lane.receive(refusal, 0.1)
    assert lane.refusal is refusal
    assert (lane.tick(9.0), lane.tick(9.1)) == ([], [ASK])
    lane.receive(welcome(), 9.2)
    assert lane.refusal is None


def test_the_end_of_the_connection_is_the_end_of_the_registration(registered: Registration) -> None:
    registered.disconnected()
    assert (registered.standing, registered.token, registered.tick(60.0)) == (Standing.APART, NO_TOKEN, [])
    registered.connected(61.0)
    assert registered.tick(61.0) == [ASK]


def test_why_there_is_no_connection_is_kept_until_it_is_registered(lane: Registration) -> None:
    why = Error(RelayErrorCode.UNREGISTERED, "nobody answers there")
    lane.unreachable(why)
    lane.connected(1.0)
    assert lane.refusal is why
    lane.tick(1.0)
    lane.receive(welcome(), 1.0)
    assert lane.refusal is None
