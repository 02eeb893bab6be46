"""What an envelope asks of the agent, and what it gets."""

from __future__ import annotations

import itertools

import pytest

from peer.channel.requester_core import Outgoing
from peer.channel.responder_core import LEASE, ClientKey, Steps
from peer.session.session import Session
from schema.attributes import FileMetadata
from schema.envelope import Address, Header, Kind
from schema.failure_codes import MALFORMED
from schema.identity import PeerId
from schema.replies import Done, Failure, FileData, OpenedFile
from schema.requests import CloseFile, OpenFile, ReadFile
from schema.session_messages import RefusalCode, decode_refusal
from tests.peer.channel.pure import DELETE, Pair

LAPTOP = ClientKey(PeerId("laptop"), 5)
OPEN = OpenFile((b"a",), 0)
OPENED = OpenedFile(9, FileMetadata(*[1] * 13))
NOTHING = Steps()


@pytest.fixture
def pair() -> Pair:
    """A client and its agent, with a session."""
    both = Pair()
    both.shake_hands()
    return both


def session_of(pair: Pair) -> Session:
    session = pair.client._initiator.sending(pair.now)
    assert session is not None
    return session


def raw(pair: Pair, plaintext: bytes) -> Outgoing:
    """`plaintext`, sealed as the client would."""
    session = session_of(pair)
    counter, body = session.seal(plaintext)
    return Outgoing(0, Header(Kind.SEALED, session.remote_index, counter), body)


def test_a_request_becomes_work_and_then_an_answer(pair: Pair) -> None:
    pending = pair.submit()
    steps = pair.to_agent(pair.sealed(pending), lane=2)
    assert steps.send == ()
    (work,) = steps.do
    assert (work.client, work.number, work.request) == (LAPTOP, pending.id, DELETE)
    (answer,) = pair.agent.finish(work, Done()).send
    assert (answer.lane, answer.client) == (2, LAPTOP)
    pair.read(answer)
    assert pending.answer == Done()


def test_the_answer_takes_the_way_of_the_newest_copy(pair: Pair) -> None:
    pending = pair.submit()
    (work,) = pair.to_agent(pair.sealed(pending), lane=1).do
    assert pair.to_agent(pair.sealed(pending), lane=3) == NOTHING
    assert [answer.lane for answer in pair.agent.finish(work, Done()).send] == [3]


def test_a_repeat_of_what_was_answered_is_answered_again(pair: Pair) -> None:
    pending = pair.submit()
    (work,) = pair.to_agent(pair.sealed(pending)).do
    pair.agent.finish(work, Done())
    steps = pair.to_agent(pair.sealed(pending))
    assert steps.do == ()
    pair.read(steps.send[0])
    assert pending.answer == Done()


def test_the_same_frame_twice_is_dropped(pair: Pair) -> None:
    outgoing = pair.sealed(pair.submit())
    assert pair.to_agent(outgoing).do
    assert pair.to_agent(outgoing) == NOTHING


def test_a_flipped_bit_is_dropped_wherever_it_is(pair: Pair) -> None:
    outgoing = pair.sealed(pair.submit())
    for at in range(len(outgoing.body)):
        body = bytearray(outgoing.body)
        body[at] ^= 1
        assert pair.to_agent(Outgoing(0, outgoing.header, body)) == NOTHING
    assert pair.to_agent(outgoing).do


def test_a_truncated_frame_is_dropped(pair: Pair) -> None:
    outgoing = pair.sealed(pair.submit())
    for length in range(len(outgoing.body)):
        assert pair.to_agent(Outgoing(0, outgoing.header, outgoing.body[:length])) == NOTHING


def test_an_unknown_session_is_said_to_be_so(pair: Pair) -> None:
    header = Header(Kind.SEALED, session_of(pair).remote_index ^ 1, 77)
    (answer,) = pair.to_agent(Outgoing(3, header, b"x" * 40)).send
    assert (answer.lane, answer.body) == (3, b"")
    assert answer.header == Header(Kind.UNKNOWN_SESSION, header.session, 77)


@pytest.mark.parametrize("kind", [Kind.RESPONSE, Kind.UNKNOWN_SESSION, Kind.REFUSED, Kind.RELAY])
def test_kinds_that_no_client_sends_are_dropped(pair: Pair, kind: Kind) -> None:
    assert pair.to_agent(Outgoing(0, Header(kind), b"x")) == NOTHING


@pytest.mark.parametrize("plaintext", [b"", b"\0", b"\xff" * 30, b"\0\0\0\0\4\x94\xff\xff\xff", b"\0\0\0\0\0"])
def test_what_is_no_request_is_dropped(pair: Pair, plaintext: bytes) -> None:
    assert pair.to_agent(raw(pair, plaintext)) == NOTHING


def test_a_malformed_request_whose_number_can_be_read_is_answered(pair: Pair) -> None:
    pending = pair.submit()
    content = b"\x94" + bytes([pending.id]) + b"\x00\x92\x00\x00\x91\xcc\xc8"  # an operation that is not there
    (answer,) = pair.to_agent(raw(pair, b"\0" + len(content).to_bytes(4, "big") + content)).send
    pair.read(answer)
    assert isinstance(pending.answer, Failure)
    assert pending.answer.code == MALFORMED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda pair: pair.trusted.clear(), RefusalCode.UNKNOWN_CLIENT),
        (lambda pair: setattr(pair, "busy", True), RefusalCode.BUSY),
    ],
)
def test_a_handshake_that_is_not_taken_is_refused_with_the_reason(pair: Pair, change, code: RefusalCode) -> None:  # type: ignore[no-untyped-def]
    pair.client = pair.new_client(6)
    outgoing = pair.client.handshake(pair.now)
    assert outgoing is not None
    change(pair)
    (answer,) = pair.to_agent(outgoing).send
    assert answer.header == Header(Kind.REFUSED, outgoing.header.counter)
    refusal = decode_refusal(answer.body)
    assert (refusal.code, refusal.fingerprint) == (code, "F")


def test_a_handshake_that_is_not_for_this_agent_is_undecipherable(pair: Pair) -> None:
    (answer,) = pair.to_agent(Outgoing(0, Header(Kind.INITIATION, 0, 1), b"x" * 120)).send
    assert decode_refusal(answer.body).code is RefusalCode.UNDECIPHERABLE


def test_a_handshake_of_no_index_is_refused_and_not_a_crash(pair: Pair) -> None:
    pair.client = pair.new_client(6)
    outgoing = pair.client.handshake(pair.now)
    assert outgoing is not None
    for index in (0, 2**32, 2**64 - 1):
        steps = pair.to_agent(Outgoing(0, Header(Kind.INITIATION, 0, index), outgoing.body))
        assert [answer.header.kind for answer in steps.send] == [Kind.REFUSED]


def test_instances_of_one_client_are_bounded(pair: Pair) -> None:
    pair.agent = pair.new_agent(instances=2)
    for instance in (1, 2, 3):
        pair.client = pair.new_client(instance)
        pair.shake_hands()
        steps = pair.to_agent(pair.sealed(pair.submit()))
        assert len(steps.do) == (instance < 3)
    pair.read(steps.send[0])
    assert isinstance(pair.ended[-1].answer, Failure)
    assert pair.ended[-1].answer.code == "EUSERS"


def test_a_file_that_was_opened_for_nobody_is_closed(pair: Pair) -> None:
    opening = pair.submit(OPEN)
    (work,) = pair.to_agent(pair.sealed(opening)).do
    pair.agent.finish(work, OPENED)
    pair.client.pending.give_up(opening, Failure("EINTR"))
    closing, asked = pair.to_agent(pair.sealed(pair.submit())).do
    assert (closing.client, closing.number, closing.request) == (LAPTOP, 0, CloseFile(9))
    assert asked.number == 2
    assert pair.agent.finish(closing, Done()) == NOTHING


def test_so_is_one_that_opens_after_its_client_is_gone(pair: Pair) -> None:
    (work,) = pair.to_agent(pair.sealed(pair.submit(OPEN))).do
    assert pair.agent.upkeep(pair.now + LEASE + 1) == [LAPTOP]
    steps = pair.agent.finish(work, OPENED)
    assert steps.send == ()
    assert [closing.request for closing in steps.do] == [CloseFile(9)]


def test_a_lease_is_kept_by_any_authenticated_word(pair: Pair) -> None:
    pair.to_agent(pair.sealed(pair.submit()))
    pair.now += LEASE - 1
    pair.to_agent(pair.sealed(pair.submit()))
    assert pair.agent.upkeep(pair.now + LEASE) == []
    assert pair.agent.upkeep(pair.now + LEASE + 1) == [LAPTOP]
    assert (pair.agent.upkeep(pair.now + LEASE + 2), len(pair.agent)) == ([], 0)


def test_a_forged_word_keeps_no_lease(pair: Pair) -> None:
    outgoing = pair.sealed(pair.submit())
    pair.to_agent(outgoing)
    pair.now += LEASE + 1
    pair.to_agent(outgoing)
    assert pair.agent.upkeep(pair.now) == [LAPTOP]


def test_nothing_held_back_by_the_relay_is_done_a_second_time_once_the_lease_is_over(pair: Pair) -> None:
    pending = pair.submit()
    first, held_back = pair.sealed(pending), pair.sealed(pending)
    (work,) = pair.to_agent(first).do
    pair.agent.finish(work, Done())
    pair.now += LEASE + 1
    pair.agent.upkeep(pair.now)
    steps = pair.to_agent(held_back)
    assert steps.do == ()
    assert [answer.header.kind for answer in steps.send] == [Kind.UNKNOWN_SESSION]


def test_the_end_of_one_lease_leaves_other_instances_alone(pair: Pair) -> None:
    pair.to_agent(pair.sealed(pair.submit()))
    silent = pair.client
    pair.client = pair.new_client(6)
    pair.now += LEASE
    pair.shake_hands()
    pair.to_agent(pair.sealed(pair.submit()))
    assert pair.agent.upkeep(pair.now + 1) == [LAPTOP]
    assert pair.to_agent(pair.sealed(pair.submit())).do
    assert silent is not pair.client


def test_a_right_that_is_withdrawn_ends_sessions_and_leases_at_once(pair: Pair) -> None:
    pair.to_agent(pair.sealed(pair.submit()))
    pair.trusted.clear()
    assert pair.agent.upkeep(pair.now) == [LAPTOP]
    (answer,) = pair.to_agent(pair.sealed(pair.submit())).send
    assert answer.header.kind is Kind.UNKNOWN_SESSION


def test_a_write_given_up_is_not_done_after_a_later_one_though_an_older_still_waits(pair: Pair) -> None:
    slow, given_up = pair.submit(), pair.submit()
    assert pair.to_agent(pair.sealed(slow)).do
    held_back = pair.sealed(given_up)
    pair.client.pending.give_up(given_up, Failure("ETIMEDOUT"))
    assert pair.to_agent(pair.sealed(pair.submit())).do
    assert pair.to_agent(held_back) == NOTHING


def test_a_reply_that_is_too_large_to_be_read_is_a_failure_and_no_silence(pair: Pair) -> None:
    pending = pair.submit(ReadFile(1, 0, 1))
    (work,) = pair.to_agent(pair.sealed(pending)).do
    (answer,) = pair.agent.finish(work, FileData(memoryview(bytes(2 * 1024 * 1024)))).send
    pair.read(answer)
    assert isinstance(pending.answer, Failure)
    assert pending.answer.code == "EMSGSIZE"


def test_any_frame_at_all_is_survived(pair: Pair) -> None:
    headers = [Header(kind, session, counter) for kind, session, counter in itertools.product(Kind, (0, 1), (0, 1))]
    for header, size in itertools.product(headers, (0, 1, 16, 100, 5000)):
        pair.agent.receive(0, Address(PeerId("laptop")), header, memoryview(bytes(size)), pair.now)
    assert pair.to_agent(pair.sealed(pair.submit())).do
