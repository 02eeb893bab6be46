"""What the broker had no room for goes out again, soon, and within bounds."""

from __future__ import annotations

import pytest

from peer.channel.responder_core import Answer
from peer.channel.sent_answers import KEPT_ANSWERS, KEPT_BYTES, KEPT_SECONDS, SHORTEST_PAUSE, SentAnswers
from schema.envelope import Address, Header, Kind
from schema.identity import PeerId
from schema.relay_messages import Error, RelayErrorCode

LAPTOP, PHONE = Address(PeerId("laptop"), 1), Address(PeerId("phone"), 1)


def answer(counter: int, size: int = 10, client: Address = LAPTOP, kind: Kind = Kind.SEALED) -> Answer:
    return Answer(0, client, Header(kind, 5, counter), bytes(size))


def error(counter: int, code: RelayErrorCode = RelayErrorCode.CONGESTED, client: Address = LAPTOP) -> Error:
    return Error(code, "", client.encode(), 5, counter)


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (RelayErrorCode.CONGESTED, True),
        (RelayErrorCode.RATE_LIMITED, True),
        (RelayErrorCode.UNREGISTERED, True),
        (RelayErrorCode.BAD_TOKEN, True),
        (RelayErrorCode.NO_ROUTE, False),
        (RelayErrorCode.NOT_PAIRED, False),
        (RelayErrorCode.TOO_LARGE, False),
        (RelayErrorCode.MALFORMED, False),
    ],
)
def test_it_goes_out_again_after_errors_that_pass(code: RelayErrorCode, *, again: bool) -> None:
    sent = SentAnswers()
    sent.keep(answer(1), 0.0)
    sent.refused(error(1, code), 1.0)
    assert sent.due(1.0 + SHORTEST_PAUSE - 0.01) == []
    assert sent.due(1.0 + SHORTEST_PAUSE) == ([answer(1)] if again else [])
    assert sent.due(5.0) == []


def test_the_brokers_own_pause_is_kept() -> None:
    sent = SentAnswers()
    sent.keep(answer(1), 0.0)
    sent.refused(Error(RelayErrorCode.RATE_LIMITED, "", LAPTOP.encode(), 5, 1, 3.0), 1.0)
    assert (sent.due(3.9), sent.due(4.0)) == ([], [answer(1)])


def test_two_clients_may_have_numbered_alike() -> None:
    sent = SentAnswers()
    sent.keep(answer(1, client=LAPTOP), 0.0)
    sent.keep(answer(1, client=PHONE), 0.0)
    sent.refused(error(1, client=PHONE), 0.0)
    assert sent.due(1.0) == [answer(1, client=PHONE)]


def test_an_error_about_nothing_known_changes_nothing() -> None:
    sent = SentAnswers()
    sent.refused(error(1), 0.0)
    assert (sent.due(1.0), sent._refused) == ([], {})


def test_it_is_kept_for_a_time() -> None:
    sent = SentAnswers()
    sent.keep(answer(1), 0.0)
    sent.refused(error(1), KEPT_SECONDS)
    assert sent.due(KEPT_SECONDS + 1) == []
    assert (len(sent), sent._bytes, sent._refused) == (0, 0, {})


def test_numbers_and_bytes_are_bounded() -> None:
    sent = SentAnswers()
    for counter in range(2 * KEPT_ANSWERS):
        sent.keep(answer(counter), 0.0)
    assert len(sent) == KEPT_ANSWERS
    for counter in range(20):
        sent.keep(answer(counter, KEPT_BYTES // 4), 0.0)
    assert (len(sent), sent._bytes) == (4, KEPT_BYTES)
    sent.keep(answer(99, KEPT_BYTES + 1), 0.0)
    assert len(sent) == 4


def test_handshakes_and_hints_are_not_kept() -> None:
    sent = SentAnswers()
    for kind in (Kind.RESPONSE, Kind.UNKNOWN_SESSION, Kind.REFUSED):
        sent.keep(answer(1, kind=kind), 0.0)
    assert len(sent) == 0
