"""Between the relay and a socket that may say no: order is kept, and every message arrives or its sender is told."""

from __future__ import annotations

import random

import pytest

from broker.delivery import Delivery
from broker.outgoing import Outcome, Send
from broker.spool import Spool
from schema.identity import PeerId
from schema.relay_messages import Error, PeerGone, RelayErrorCode
from tests.broker.worlds import World, message_of, route

C, A = route(1), route(2)


class Wire:
    """A socket with room for some messages on each connection."""

    def __init__(self) -> None:
        self.room: dict[bytes, int] = {}
        self.gone: set[bytes] = set()
        self.sent: list[Send] = []

    def transmit(self, send: Send) -> Outcome:
        if send.route in self.gone:
            return Outcome.GONE
        if self.room.get(send.route, 1) <= 0:
            return Outcome.FULL
        if send.route in self.room:
            self.room[send.route] -= 1
        self.sent.append(send)
        return Outcome.SENT

    def heard(self, at: bytes) -> list[object]:
        """What the broker itself said to `at`."""
        return [message_of(send) for send in self.sent if send.route == at and send.frames[0] == b""]

    def bodies(self, at: bytes) -> list[bytes]:
        return [bytes(send.frames[2]) for send in self.sent if send.route == at and send.frames[0] != b""]  # type: ignore[call-overload]


class Rig:
    def __init__(self, messages: int = 4) -> None:
        self.world = World()
        self.wire = Wire()
        self.spool = Spool(messages, 1_000_000, 10_000_000, 5.0)
        self.delivery = Delivery(self.world.relay, self.spool, self.wire.transmit)
        self.world.register("laptop", 10, C)
        self.world.register("server", 11, A)

    def send(self, body: bytes, counter: int = 0) -> None:
        self.delivery.deliver(self.world.send("laptop", C, b"server", body, counter=counter), self.world.now)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_a_slow_peer_does_not_take_comes_later_and_in_order(rig: Rig) -> None:
    rig.wire.room[A] = 1
    for body in (b"1", b"2", b"3"):
        rig.send(body)
    assert rig.wire.bodies(A) == [b"1"]
    rig.wire.room[A] = 1
    rig.send(b"4")
    assert rig.wire.bodies(A) == [b"1"], "nothing overtakes what waits"
    rig.wire.room[A] = 9
    rig.delivery.flush(rig.world.now)
    assert rig.wire.bodies(A) == [b"1", b"2", b"3", b"4"]
    assert rig.spool.bytes == 0


def test_a_full_spool_is_the_senders_congestion(rig: Rig) -> None:
    rig.wire.room[A] = 0
    for counter in range(6):
        rig.send(b"x", counter)
    errors = rig.wire.heard(C)
    assert [(e.code, e.counter) for e in errors if isinstance(e, Error)] == [
        (RelayErrorCode.CONGESTED, 4),
        (RelayErrorCode.CONGESTED, 5),
    ]


def test_what_waited_too_long_is_dropped_and_its_sender_told(rig: Rig) -> None:
    rig.wire.room[A] = 0
    rig.send(b"x", 7)
    rig.delivery.flush(rig.world.now + 4.0)
    assert rig.wire.heard(C) == []
    rig.delivery.flush(rig.world.now + 5.0)
    (error,) = rig.wire.heard(C)
    assert isinstance(error, Error)
    assert (error.code, error.counter) == (RelayErrorCode.CONGESTED, 7)
    assert rig.world.counters.dropped == {"congested": 1}


def test_a_connection_found_dead_while_sending(rig: Rig) -> None:
    rig.wire.gone.add(A)
    rig.send(b"x")
    heard = rig.wire.heard(C)
    assert [type(message) for message in heard] == [Error, PeerGone]


def test_a_connection_that_ends_gives_back_what_waited_for_it(rig: Rig) -> None:
    rig.wire.room[A] = 0
    rig.send(b"x", 1)
    rig.send(b"y", 2)
    rig.delivery.lost(A, rig.world.now)
    heard = rig.wire.heard(C)
    assert [e.counter for e in heard if isinstance(e, Error) and e.code is RelayErrorCode.NO_ROUTE] == [1, 2]
    assert sum(isinstance(message, PeerGone) for message in heard) == 1
    assert rig.spool.bytes == 0


def test_nothing_that_waits_is_sent_to_a_peer_that_was_revoked(rig: Rig) -> None:
    rig.wire.room[A] = 0
    rig.send(b"secret", 1)
    rig.world.admission.admit_only([])
    rig.delivery.revoke(PeerId("server"), rig.world.now)
    rig.wire.room[A] = 99
    rig.delivery.flush(rig.world.now)
    assert rig.wire.bodies(A) == []


def test_when_both_ends_are_stuck_nothing_grows_and_nothing_loops(rig: Rig) -> None:
    rig.wire.room.update({A: 0, C: 0})
    for counter in range(1000):
        rig.send(b"x" * 1000, counter)
    assert rig.spool.bytes < 20_000


@pytest.mark.parametrize("seed", range(8))
def test_every_message_arrives_once_in_order_or_its_sender_hears_of_it(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig(messages=6)
    rig.wire.room[A] = 0
    for counter in range(400):
        rig.send(counter.to_bytes(4, "big"), counter)
        rig.world.now += chance.choice([0.0, 0.01, 1.0, 2.0])
        if chance.random() < 0.5:
            rig.wire.room[A] = chance.randrange(4)
            rig.delivery.flush(rig.world.now)
    rig.wire.room[A] = 10_000
    rig.delivery.flush(rig.world.now)
    arrived = [int.from_bytes(body, "big") for body in rig.wire.bodies(A)]
    refused = [message.counter for message in rig.wire.heard(C) if isinstance(message, Error)]
    assert arrived == sorted(arrived)
    assert sorted(arrived + refused) == list(range(400))
    assert arrived
    assert refused
