"""The client's half: when a handshake is due, which session is sent in, what an old one is still good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peer.errors import FrameRefused, HandshakeRefused, UnknownSession
from peer.session import initiator as initiator_module
from peer.session.session import (
    HANDSHAKE_EXPIRY,
    HANDSHAKE_RETRY,
    MAX_INDEX,
    PREVIOUS_SESSION_GRACE,
    REJECT_AFTER_TIME,
    REKEY_AFTER_TIME,
    STOP_SENDING_AFTER,
)

if TYPE_CHECKING:
    from tests.peer.session.conftest import World


def test_a_handshake_is_due_first_and_then_not(world: World) -> None:
    initiator = world.initiator()
    assert initiator.sending(0.0) is None
    assert initiator.handshake_due(0.0)
    session, _ = world.shake(initiator)
    assert initiator.sending(0.0) is session
    assert not initiator.handshake_due(0.0)


def test_payloads_reach_the_other_end(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(0.0, b"from the client")
    theirs, response = world.responder.accept("laptop", index, message, 0.0, b"from the agent")
    ours = initiator.finish(index, theirs.local_index, response, 0.0)
    assert theirs.remote_payload == b"from the client"
    assert ours.remote_payload == b"from the agent"


def test_an_unanswered_handshake_is_tried_again_after_a_while(world: World) -> None:
    initiator = world.initiator()
    initiator.start(0.0)
    assert not initiator.handshake_due(HANDSHAKE_RETRY - 0.001)
    assert initiator.handshake_due(HANDSHAKE_RETRY)
    initiator.start(HANDSHAKE_RETRY)
    assert not initiator.handshake_due(2 * HANDSHAKE_RETRY - 0.001)
    assert initiator.handshake_due(2 * HANDSHAKE_RETRY)


def test_a_slow_answer_to_the_first_try_still_counts_and_ends_the_others(world: World) -> None:
    initiator = world.initiator()
    first, first_message = initiator.start(0.0)
    second, second_message = initiator.start(HANDSHAKE_RETRY)
    one, one_response = world.responder.accept("laptop", first, first_message, 6.0)
    two, two_response = world.responder.accept("laptop", second, second_message, 6.0)
    session = initiator.finish(first, one.local_index, one_response, 7.0)
    assert initiator.sending(7.0) is session
    with pytest.raises(UnknownSession):
        initiator.finish(second, two.local_index, two_response, 7.0)
    with pytest.raises(UnknownSession):
        initiator.finish(first, one.local_index, one_response, 7.0)
    assert initiator.sending(7.0) is session


def test_an_answer_that_comes_too_late_is_not_taken(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(0.0)
    theirs, response = world.responder.accept("laptop", index, message, 0.0)
    with pytest.raises(UnknownSession):
        initiator.finish(index, theirs.local_index, response, HANDSHAKE_EXPIRY)


def test_a_forged_answer_does_not_end_the_handshake(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(0.0)
    theirs, response = world.responder.accept("laptop", index, message, 0.0)
    for forged in (b"", response[:-1], bytes(len(response)), message, response[:-1] + bytes([response[-1] ^ 1])):
        with pytest.raises(HandshakeRefused):
            initiator.finish(index, theirs.local_index, forged, 0.0)
    for wrong_index in (0, -1, MAX_INDEX + 1):
        with pytest.raises(HandshakeRefused, match="index"):
            initiator.finish(index, wrong_index, response, 0.0)
    assert initiator.sending(0.0) is None
    assert initiator.finish(index, theirs.local_index, response, 0.0) is initiator.sending(0.0)


def test_an_answer_to_another_handshake_is_refused(world: World) -> None:
    initiator = world.initiator()
    first, message = initiator.start(0.0)
    second, _ = initiator.start(0.0)
    theirs, response = world.responder.accept("laptop", first, message, 0.0)
    with pytest.raises(HandshakeRefused):
        initiator.finish(second, theirs.local_index, response, 0.0)


def test_new_keys_are_due_after_their_time_while_the_old_ones_go_on(world: World) -> None:
    initiator = world.initiator()
    session, _ = world.shake(initiator)
    assert not initiator.handshake_due(REKEY_AFTER_TIME - 0.001)
    assert initiator.handshake_due(REKEY_AFTER_TIME)
    assert initiator.sending(REKEY_AFTER_TIME) is session
    assert initiator.sending(STOP_SENDING_AFTER - 0.001) is session
    assert initiator.sending(STOP_SENDING_AFTER) is None
    assert initiator.handshake_due(STOP_SENDING_AFTER)


def test_new_keys_are_due_after_so_many_messages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initiator_module, "REKEY_AFTER_MESSAGES", 2)
    initiator = world.initiator()
    session, _ = world.shake(initiator)
    session.seal(b"")
    assert not initiator.handshake_due(0.0)
    session.seal(b"")
    assert initiator.handshake_due(0.0)


def test_the_previous_session_is_read_for_its_grace(world: World) -> None:
    initiator = world.initiator()
    old, their_old = world.shake(initiator)
    first, second = their_old.seal(b"in grace"), their_old.seal(b"after")
    new, their_new = world.shake(initiator, now=REKEY_AFTER_TIME)
    end = REKEY_AFTER_TIME + PREVIOUS_SESSION_GRACE
    assert initiator.sending(REKEY_AFTER_TIME) is new
    assert initiator.open(old.local_index, *first, end - 0.001) == b"in grace"
    with pytest.raises(UnknownSession):
        initiator.open(old.local_index, *second, end)
    assert initiator.open(new.local_index, *their_new.seal(b"new"), end) == b"new"


def test_the_grace_does_not_outlast_the_life_of_the_session(world: World) -> None:
    initiator = world.initiator()
    old, their_old = world.shake(initiator)
    world.shake(initiator, now=REJECT_AFTER_TIME - 1)
    with pytest.raises(UnknownSession):
        initiator.open(old.local_index, *their_old.seal(b"late"), REJECT_AFTER_TIME)


def test_a_session_ages_from_its_first_message(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(10.0)
    theirs, response = world.responder.accept("laptop", index, message, 15.0)
    ours = initiator.finish(index, theirs.local_index, response, 20.0)
    assert (ours.born_at, theirs.born_at) == (10.0, 15.0)


def test_repeats_and_forgeries_are_refused(world: World) -> None:
    initiator = world.initiator()
    ours, theirs = world.shake(initiator)
    counter, sealed = theirs.seal(b"reply")
    with pytest.raises(FrameRefused):
        initiator.open(ours.local_index, counter + 1, sealed, 0.0)
    assert initiator.open(ours.local_index, counter, sealed, 0.0) == b"reply"
    with pytest.raises(FrameRefused):
        initiator.open(ours.local_index, counter, sealed, 0.0)
    with pytest.raises(UnknownSession):
        initiator.open(ours.local_index ^ 1, counter, sealed, 0.0)


def test_abandoning_forgets_sessions_and_keeps_the_handshake_in_flight(world: World) -> None:
    initiator = world.initiator()
    ours, theirs = world.shake(initiator)
    index, message = initiator.start(1.0)
    initiator.abandon()
    assert initiator.sending(1.0) is None
    with pytest.raises(UnknownSession):
        initiator.open(ours.local_index, *theirs.seal(b""), 1.0)
    again, response = world.responder.accept("laptop", index, message, 1.0)
    assert initiator.finish(index, again.local_index, response, 1.0) is initiator.sending(1.0)


def test_a_late_hint_about_the_old_session_does_not_end_the_new_one(world: World) -> None:
    initiator = world.initiator()
    old, _ = world.shake(initiator)
    new, _ = world.shake(initiator, now=1.0)
    initiator.abandon(old.remote_index)
    assert initiator.sending(1.0) is new
    initiator.abandon(new.remote_index)
    assert initiator.sending(1.0) is None


def test_expired_keys_are_forgotten_and_work_goes_on(world: World) -> None:
    initiator = world.initiator()
    ours, theirs = world.shake(initiator)
    index, message = initiator.start(0.0)
    initiator.expire(HANDSHAKE_EXPIRY)
    answer, response = world.responder.accept("laptop", index, message, 0.0)
    with pytest.raises(UnknownSession):
        initiator.finish(index, answer.local_index, response, 0.0)
    assert initiator.open(ours.local_index, *theirs.seal(b"alive"), 0.0) == b"alive"
    initiator.expire(REJECT_AFTER_TIME)
    # Asked with an earlier time on purpose: the keys themselves are gone, not only refused by their age.
    assert initiator.sending(0.0) is None
    with pytest.raises(UnknownSession):
        initiator.open(ours.local_index, *theirs.seal(b"gone"), 0.0)
    session, _ = world.shake(initiator, now=REJECT_AFTER_TIME)
    assert initiator.sending(REJECT_AFTER_TIME) is session
