"""The spool: order, bounds, deadlines."""

from __future__ import annotations

import random

import pytest

from broker.outgoing import Send
from broker.spool import Spool


def send(route: bytes, size: int, mark: int = 0) -> Send:
    return Send(route, (b"from", mark.to_bytes(32, "big"), bytes(size)))


@pytest.fixture
def spool() -> Spool:
    return Spool(route_messages=4, route_bytes=10_000, total_bytes=20_000, seconds=5.0)


def test_first_in_first_out_and_empty_at_the_end(spool: Spool) -> None:
    sends = [send(b"a", 10, mark) for mark in range(3)]
    assert all(spool.offer(one, 0.0) for one in sends)
    assert spool.holds(b"a")
    assert not spool.holds(b"b")
    for one in sends:
        assert spool.first(b"a") is one
        spool.taken(b"a")
    assert spool.first(b"a") is None
    assert (spool.bytes, spool.routes) == (0, [])


def test_messages_of_one_route_are_bounded(spool: Spool) -> None:
    assert [spool.offer(send(b"a", 1), 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert spool.offer(send(b"b", 1), 0.0)


def test_bytes_of_one_route_are_bounded(spool: Spool) -> None:
    assert spool.offer(send(b"a", 6000), 0.0)
    assert not spool.offer(send(b"a", 6000), 0.0)
    assert spool.offer(send(b"b", 6000), 0.0)


def test_bytes_of_all_routes_are_bounded(spool: Spool) -> None:
    assert spool.offer(send(b"a", 9000), 0.0)
    assert spool.offer(send(b"b", 9000), 0.0)
    assert not spool.offer(send(b"c", 9000), 0.0)
    spool.discard(b"a")
    assert spool.offer(send(b"c", 9000), 0.0)


def test_what_waited_too_long_comes_out(spool: Spool) -> None:
    early, late = send(b"a", 1), send(b"a", 2)
    spool.offer(early, 0.0)
    spool.offer(late, 3.0)
    assert spool.expire(4.9) == []
    assert spool.expire(5.0) == [early]
    assert spool.first(b"a") is late
    assert spool.expire(9.0) == [late]
    assert spool.bytes == 0


def test_discarding_gives_everything_back(spool: Spool) -> None:
    sends = [send(b"a", 1, mark) for mark in range(3)]
    for one in sends:
        spool.offer(one, 0.0)
    assert spool.discard(b"a") == sends
    assert spool.discard(b"a") == []
    assert spool.bytes == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_account_is_right_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    spool = Spool(route_messages=8, route_bytes=8000, total_bytes=20_000, seconds=2.0)
    now = 0.0
    for _ in range(2000):
        name = chance.choice([b"a", b"b", b"c", b"d"])
        now += chance.random() * 0.3
        match chance.randrange(5):
            case 0:
                spool.discard(name)
            case 1:
                if spool.holds(name):
                    spool.taken(name)
            case 2:
                spool.expire(now)
            case _:
                spool.offer(send(name, chance.randrange(3000)), now)
        charged = sum(charged for queue in spool._queues.values() for _, charged, _ in queue.sends)
        assert spool.bytes == charged <= 20_000
        assert all(queue.sends for queue in spool._queues.values())
