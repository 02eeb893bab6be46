"""The agent's half: who gets a session, how many, and how sessions end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peer.errors import FrameRefused, HandshakeRefused, UnknownSession
from peer.session import responder as responder_module
from peer.session.primitives import KeyPair
from peer.session.responder import MAX_CONFIRMED_PER_PEER, MAX_UNCONFIRMED_PER_PEER
from peer.session.session import MAX_INDEX, REJECT_AFTER_TIME

if TYPE_CHECKING:
    from peer.session.session import Session
    from tests.peer.session.conftest import World


def lives(world: World, ours: Session, theirs: Session, now: float = 0.0) -> bool:
    """Whether the responder still opens what `ours` seals."""
    try:
        session, text = world.responder.open(theirs.local_index, *ours.seal(b"ping"), now)
    except UnknownSession:
        return False
    assert session is theirs
    assert text == b"ping"
    return True


def test_a_message_tells_whose_it_is(world: World) -> None:
    desk, laptop = world.initiator("desk"), world.initiator("laptop")
    for name, initiator in (("desk", desk), ("laptop", laptop)):
        ours, theirs = world.shake(initiator, peer_id=name)
        session, text = world.responder.open(theirs.local_index, *ours.seal(b"hello"), 0.0)
        assert (session.peer_id, session.remote_static) == (name, world.clients[name].public)
        assert text == b"hello"


def test_a_peer_that_is_not_trusted_gets_no_session(world: World) -> None:
    stranger = world.initiator("stranger")
    del world.clients["stranger"]
    index, message = stranger.start(0.0)
    with pytest.raises(HandshakeRefused, match="stranger is not trusted"):
        world.responder.accept("stranger", index, message, 0.0)
    assert len(world.responder) == 0


def test_a_key_that_changed_is_refused(world: World) -> None:
    initiator = world.initiator()
    world.clients["laptop"] = KeyPair.generate(world.generate)
    index, message = initiator.start(0.0)
    with pytest.raises(HandshakeRefused, match="not trusted with that key"):
        world.responder.accept("laptop", index, message, 0.0)


def test_another_claimed_id_is_refused_even_for_a_trusted_key(world: World) -> None:
    initiator = world.initiator()
    world.clients["desk"] = world.clients["laptop"]
    index, message = initiator.start(0.0)
    with pytest.raises(HandshakeRefused, match="forged"):
        world.responder.accept("desk", index, message, 0.0)


def test_another_version_is_refused(world: World) -> None:
    index, message = world.initiator(version=2).start(0.0)
    with pytest.raises(HandshakeRefused):
        world.responder.accept("laptop", index, message, 0.0)


@pytest.mark.parametrize("index", [0, -1, MAX_INDEX + 1])
def test_an_index_out_of_range_is_refused(world: World, index: int) -> None:
    _, message = world.initiator().start(0.0)
    with pytest.raises(HandshakeRefused, match="index"):
        world.responder.accept("laptop", index, message, 0.0)
    assert len(world.responder) == 0


@pytest.mark.parametrize("damage", [0, 1, 31, 32, 79, 80, 95])
def test_a_damaged_first_message_leaves_nothing_behind(world: World, damage: int) -> None:
    index, message = world.initiator().start(0.0)
    forged = bytearray(message)
    forged[damage] ^= 1
    for refused in (bytes(forged), message[:damage]):
        with pytest.raises(HandshakeRefused):
            world.responder.accept("laptop", index, refused, 0.0)
    assert len(world.responder) == 0


def test_a_replayed_first_message_opens_nothing(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(0.0)
    theirs, response = world.responder.accept("laptop", index, message, 0.0)
    ours = initiator.finish(index, theirs.local_index, response, 0.0)
    request = ours.seal(b"delete everything")
    world.responder.open(theirs.local_index, *request, 0.0)

    replayed, _ = world.responder.accept("laptop", index, message, 1.0)
    for local_index in (theirs.local_index, replayed.local_index):
        with pytest.raises(FrameRefused):
            world.responder.open(local_index, *request, 1.0)
    assert lives(world, ours, theirs)


def test_replayed_first_messages_never_displace_a_confirmed_session(world: World) -> None:
    initiator = world.initiator()
    index, message = initiator.start(0.0)
    theirs, response = world.responder.accept("laptop", index, message, 0.0)
    ours = initiator.finish(index, theirs.local_index, response, 0.0)
    assert lives(world, ours, theirs)
    for _ in range(3 * MAX_UNCONFIRMED_PER_PEER):
        world.responder.accept("laptop", index, message, 1.0)
    assert len(world.responder) == 1 + MAX_UNCONFIRMED_PER_PEER
    assert lives(world, ours, theirs)


def test_the_oldest_unconfirmed_session_makes_room(world: World) -> None:
    initiator = world.initiator()
    sessions = [world.shake(initiator) for _ in range(MAX_UNCONFIRMED_PER_PEER + 1)]
    assert not lives(world, *sessions[0])
    assert all(lives(world, *pair) for pair in sessions[1:])


def test_one_peer_displaces_only_its_own_sessions(world: World) -> None:
    desk = world.shake(world.initiator("desk"), peer_id="desk")
    assert lives(world, *desk)
    laptop = world.initiator()
    sessions = []
    for _ in range(MAX_CONFIRMED_PER_PEER + 2):
        sessions.append(world.shake(laptop))
        assert lives(world, *sessions[-1])
    assert [lives(world, *pair) for pair in sessions] == [False] * 2 + [True] * MAX_CONFIRMED_PER_PEER
    assert lives(world, *desk)


def test_with_all_places_taken_unconfirmed_sessions_go_first_and_confirmed_ones_never(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responder_module, "MAX_SESSIONS", 2)
    laptop, desk = world.initiator(), world.initiator("desk")
    confirmed = world.shake(laptop)
    assert lives(world, *confirmed)
    waiting = world.shake(laptop)
    newest = world.shake(desk, peer_id="desk")
    assert not lives(world, *waiting)
    assert lives(world, *newest)
    index, message = desk.start(0.0)
    with pytest.raises(HandshakeRefused, match="try again later"):
        world.responder.accept("desk", index, message, 0.0)
    assert lives(world, *confirmed)
    # Time makes room again.
    world.responder.accept("desk", index, message, REJECT_AFTER_TIME)


def test_a_forgery_does_not_confirm_a_session(world: World) -> None:
    initiator = world.initiator()
    _, waiting = world.shake(initiator)
    with pytest.raises(FrameRefused):
        world.responder.open(waiting.local_index, 0, bytes(32), 0.0)
    for _ in range(MAX_UNCONFIRMED_PER_PEER):
        world.shake(initiator)
    with pytest.raises(UnknownSession):
        world.responder.open(waiting.local_index, 0, bytes(32), 0.0)


def test_a_revoked_peer_loses_every_session_at_once(world: World) -> None:
    laptop, desk = world.initiator(), world.initiator("desk")
    confirmed, waiting, other = world.shake(laptop), world.shake(laptop), world.shake(desk, peer_id="desk")
    assert lives(world, *confirmed)
    del world.clients["laptop"]
    assert world.responder.forget_peer("laptop") == 2
    assert not lives(world, *confirmed)
    assert not lives(world, *waiting)
    assert lives(world, *other)
    assert world.responder.forget_peer("laptop") == 0


def test_sessions_are_forgotten_unless_they_are_still_wanted(world: World) -> None:
    old = world.shake(world.initiator())
    world.clients["laptop"] = KeyPair.generate(world.generate)
    new = world.shake(world.initiator())
    trusted = world.clients["laptop"].public
    assert world.responder.forget_unless(lambda session: session.remote_static == trusted) == 1
    assert not lives(world, *old)
    assert lives(world, *new)


def test_a_right_that_ends_during_the_handshake_ends_the_handshake(world: World) -> None:
    index, message = world.initiator().start(0.0)

    def revoke() -> None:
        del world.clients["laptop"]
        world.responder.forget_peer("laptop")

    world.after_identify = revoke
    with pytest.raises(HandshakeRefused, match="rights changed"):
        world.responder.accept("laptop", index, message, 0.0)
    assert len(world.responder) == 0


def test_expired_sessions_are_forgotten(world: World) -> None:
    initiator = world.initiator()
    confirmed, waiting = world.shake(initiator), world.shake(initiator)
    assert lives(world, *confirmed)
    assert not lives(world, *confirmed, now=REJECT_AFTER_TIME)
    world.responder.expire(REJECT_AFTER_TIME)
    assert len(world.responder) == 0
    assert not lives(world, *waiting)
