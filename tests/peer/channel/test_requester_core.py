"""Which request goes out when, whatever the broker, the agent or a forger says."""

from __future__ import annotations

import pytest

from peer.channel.pending_requests import PendingRequest
from peer.channel.requester_core import BULK_PATIENCE, HINT_PAUSE, RETRY_PAUSE
from peer.errors import FrameRefused, HandshakeRefused, UnknownSession
from peer.session.session import HANDSHAKE_RETRY, STOP_SENDING_AFTER
from schema.envelope import Header, Kind
from schema.relay_messages import Error, RelayErrorCode
from schema.replies import Done, Failure, Reply
from schema.session_messages import Refusal, RefusalCode, encode_session_message
from tests.peer.channel.pure import DEADLINE, RESEND_AFTER, Pair

NOTHING = memoryview(b"")


@pytest.fixture
def pair() -> Pair:
    """No session yet."""
    return Pair()


@pytest.fixture
def together(pair: Pair) -> Pair:
    """A session is there."""
    pair.shake_hands()
    return pair


def error(code: RelayErrorCode, pending: PendingRequest | None = None, retry_after: float = 0.0) -> Error:
    session, counter = (pending.sent_as if pending is not None else None) or (0, 0)
    return Error(code, "why", b"server", session, counter, retry_after)


def test_without_a_session_there_is_a_handshake_first(pair: Pair) -> None:
    pending = pair.submit()
    assert pair.client.prepare(pending, pair.now) is None
    assert pair.client.due(pair.now) == []
    pair.shake_hands()
    assert pair.client.due(pair.now) == [pending]


def test_an_unanswered_handshake_is_made_again_at_its_pace(pair: Pair) -> None:
    made = []
    for step in range(200):
        now = pair.now + step * 0.1
        if pair.client.handshake(now) is not None:
            made.append(round(now - pair.now, 1))
    assert made == [0.0, HANDSHAKE_RETRY, 2 * HANDSHAKE_RETRY, 3 * HANDSHAKE_RETRY]


def test_one_that_could_not_be_sent_is_made_again_soon(pair: Pair) -> None:
    assert pair.client.handshake(pair.now)
    pair.client.handshake_unsent(pair.now)
    assert pair.client.handshake(pair.now + RETRY_PAUSE - 0.01) is None
    assert pair.client.handshake(pair.now + RETRY_PAUSE)


def test_nothing_is_sent_in_a_session_that_is_too_old(together: Pair) -> None:
    pending = together.submit()
    together.now += STOP_SENDING_AFTER
    assert together.client.prepare(pending, together.now) is None
    assert together.client.handshake(together.now)


def test_a_request_is_answered(together: Pair) -> None:
    pending = together.submit()
    steps = together.to_agent(together.sealed(pending))
    together.read(together.agent.finish(steps.do[0], Done()).send[0])
    assert together.ended == [pending]
    assert pending.answer == Done()


@pytest.mark.parametrize(("lane", "factor"), [(0, 1), (1, BULK_PATIENCE)])
def test_without_an_answer_it_goes_again(together: Pair, lane: int, factor: int) -> None:
    pending = together.submit(lane=lane)
    together.sealed(pending)
    assert together.client.due(together.now + factor * RESEND_AFTER - 0.01) == []
    assert together.client.due(together.now + factor * RESEND_AFTER) == [pending]


def test_past_its_deadline_it_ends(together: Pair) -> None:
    pending = together.submit()
    together.client.expire(together.now + DEADLINE - 0.01)
    assert pending.answer is None
    together.client.expire(together.now + DEADLINE, "no answer")
    assert pending.answer == Failure("ETIMEDOUT", "no answer")
    assert together.client.answered(Reply(pending.id, Done())) is None
    assert together.client.prepare(pending, together.now) is None


@pytest.mark.parametrize(
    ("code", "failure"), [(RelayErrorCode.NOT_PAIRED, "EACCES"), (RelayErrorCode.TOO_LARGE, "EMSGSIZE")]
)
def test_a_refusal_that_no_repeat_could_change_ends_it(together: Pair, code: RelayErrorCode, failure: str) -> None:
    pending, other = together.submit(), together.submit()
    together.sealed(pending)
    together.client.refused(error(code, pending), together.now)
    assert pending.answer == Failure(failure, "why")
    assert other.answer is None


@pytest.mark.parametrize(
    "code",
    [RelayErrorCode.NO_ROUTE, RelayErrorCode.CONGESTED, RelayErrorCode.RATE_LIMITED, RelayErrorCode.UNREGISTERED],
)
@pytest.mark.parametrize("retry_after", [0.0, 4.0])
def test_any_other_sends_it_again_soon(together: Pair, code: RelayErrorCode, retry_after: float) -> None:
    pending = together.submit()
    together.sealed(pending)
    together.client.refused(error(code, pending, retry_after), together.now)
    pause = max(RETRY_PAUSE, retry_after)
    assert together.client.due(together.now + pause - 0.01) == []
    assert together.client.due(together.now + pause) == [pending]


def test_many_refusals_do_not_lengthen_the_pause_after_the_next_loss(together: Pair) -> None:
    pending = together.submit()
    for _ in range(10):
        together.sealed(pending)
        together.client.refused(error(RelayErrorCode.NO_ROUTE, pending), together.now)
    together.sealed(pending)
    assert together.client.due(together.now + RESEND_AFTER) == [pending]


def test_a_refusal_of_an_earlier_copy_is_no_matter(together: Pair) -> None:
    pending = together.submit()
    together.sealed(pending)
    stale = error(RelayErrorCode.NOT_PAIRED, pending)
    together.sealed(pending)
    together.client.refused(stale, together.now)
    assert pending.answer is None


def test_a_refused_handshake_is_said_and_made_again(pair: Pair) -> None:
    pending = pair.submit()
    pair.client.handshake(pair.now)
    pair.client.refused(error(RelayErrorCode.NO_ROUTE), pair.now)
    assert pair.client.refusal == error(RelayErrorCode.NO_ROUTE)
    assert pair.client.handshake(pair.now + RETRY_PAUSE)
    assert pending.answer is None
    pair.client.refused(error(RelayErrorCode.NOT_PAIRED), pair.now)
    assert pending.answer == Failure("EACCES", "why")


@pytest.mark.parametrize("code", RefusalCode)
def test_an_agent_that_takes_no_handshake_ends_what_waits_unless_it_is_busy(pair: Pair, code: RefusalCode) -> None:
    pending = pair.submit()
    body = memoryview(encode_session_message(Refusal(code, "F")))
    pair.client.control(Header(Kind.REFUSED, 1), body, pair.now)
    assert (pending.answer is None) == (code is RefusalCode.BUSY)


def test_a_forged_refusal_ends_nothing_where_a_session_is(together: Pair) -> None:
    pending = together.submit()
    body = memoryview(encode_session_message(Refusal(RefusalCode.KEY_CHANGED, "F")))
    together.client.control(Header(Kind.REFUSED, 1), body, together.now)
    assert pending.answer is None


def test_a_session_that_the_agent_does_not_know_is_replaced_and_all_of_it_asked_again(together: Pair) -> None:
    pending = together.submit()
    outgoing = together.sealed(pending)
    together.agent = together.new_agent()
    together.to_client(together.to_agent(outgoing).send[0])
    assert together.client.due(together.now) == []
    together.now += HINT_PAUSE
    together.shake_hands()
    assert together.client.due(together.now) == [pending]


def test_forged_hints_bring_about_one_handshake_a_second(together: Pair) -> None:
    made, start = 0, together.now
    session = together.client._initiator.sending(start)
    assert session is not None
    for step in range(1000):
        now = start + step * 0.01
        together.client.control(Header(Kind.UNKNOWN_SESSION, session.remote_index, step), NOTHING, now)
        made += together.client.handshake(now) is not None
    assert made <= 10 / HINT_PAUSE + 1


def test_a_hint_about_another_session_changes_nothing(together: Pair) -> None:
    session = together.client._initiator.sending(together.now)
    assert session is not None
    together.client.control(Header(Kind.UNKNOWN_SESSION, session.remote_index ^ 1, 0), NOTHING, together.now)
    assert together.client._initiator.sending(together.now) is session


def test_a_lane_that_is_registered_anew_sends_again_what_it_had(together: Pair) -> None:
    small, bulk = together.submit(lane=0), together.submit(lane=1)
    together.sealed(small)
    together.sealed(bulk)
    together.client.registered(1, together.now)
    assert together.client.due(together.now) == [bulk]


def test_what_is_being_sent_at_that_moment_is_not_sent_twice(together: Pair) -> None:
    pending = together.submit()
    together.client.prepare(pending, together.now)
    together.client.registered(0, together.now)
    together.client.agent_gone(together.now)
    assert together.client.due(together.now + 60) == []


def test_when_the_agent_goes_what_it_had_is_asked_again_soon(together: Pair) -> None:
    pending = together.submit()
    for _ in range(4):
        together.sealed(pending)
    together.client.agent_gone(together.now)
    assert together.client.due(together.now + RETRY_PAUSE) == [pending]


def test_what_could_not_be_sent_is_tried_again(together: Pair) -> None:
    pending = together.submit()
    together.client.prepare(pending, together.now)
    together.client.unsent(pending, together.now)
    assert together.client.due(together.now + RETRY_PAUSE) == [pending]


@pytest.mark.parametrize("kind", [Kind.INITIATION, Kind.RELAY])
def test_kinds_that_no_agent_sends_are_refused(pair: Pair, kind: Kind) -> None:
    with pytest.raises(FrameRefused):
        pair.client.control(Header(kind), NOTHING, pair.now)


def test_a_damaged_refusal_is_refused(pair: Pair) -> None:
    with pytest.raises(FrameRefused):
        pair.client.control(Header(Kind.REFUSED, 1), memoryview(b"\xff" * 40), pair.now)


def test_a_forged_response_leaves_the_handshake_open_for_the_true_one(pair: Pair) -> None:
    outgoing = pair.client.handshake(pair.now)
    assert outgoing is not None
    answer = pair.to_agent(outgoing).send[0]
    with pytest.raises(HandshakeRefused):
        pair.client.control(answer.header, memoryview(bytes(len(answer.body))), pair.now)
    with pytest.raises(UnknownSession):
        pair.client.control(
            Header(Kind.RESPONSE, answer.header.session ^ 1, answer.header.counter), memoryview(answer.body), pair.now
        )
    pair.to_client(answer)
    assert pair.client._initiator.sending(pair.now) is not None
