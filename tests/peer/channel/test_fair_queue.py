"""Clients take turns, and none takes another's room."""

from __future__ import annotations

import random

import pytest

from peer.channel.fair_queue import FairQueue, Shares

SHARES = Shares(items=8, bytes=100, items_of_one=5, bytes_of_one=60, running_of_one=2)


@pytest.fixture
def queue() -> FairQueue[str, int]:
    return FairQueue(SHARES)


def taken(queue: FairQueue[str, int]) -> list[tuple[str, int]]:
    """Everything that may run now."""
    items = []
    while (item := queue.take()) is not None:
        items.append((item[0], item[2]))
    return items


def test_within_a_client_first_come_is_first_served(queue: FairQueue[str, int]) -> None:
    for item in range(3):
        queue.offer("a", 0, item)
    assert queue.take() == ("a", 0, 0)
    assert queue.take() == ("a", 0, 1)


def test_clients_take_turns(queue: FairQueue[str, int]) -> None:
    for client, item in (("a", 1), ("a", 2), ("b", 3), ("c", 4)):
        queue.offer(client, 0, item)
    assert taken(queue) == [("a", 1), ("b", 3), ("c", 4), ("a", 2)]


def test_no_client_runs_more_than_its_share(queue: FairQueue[str, int]) -> None:
    for item in range(4):
        queue.offer("a", 0, item)
    assert taken(queue) == [("a", 0), ("a", 1)]
    queue.offer("b", 0, 9)
    assert taken(queue) == [("b", 9)]
    queue.done("a", 0)
    assert taken(queue) == [("a", 2)]


@pytest.mark.parametrize(
    ("offers", "more"),
    [
        ([("a", 1)] * 5, ("a", 1)),
        ([("a", 60)], ("a", 1)),
        ([("a", 1)] * 4 + [("b", 1)] * 4, ("c", 1)),
        ([("a", 60), ("b", 40)], ("c", 1)),
    ],
    ids=["items of one", "bytes of one", "items of all", "bytes of all"],
)
def test_past_a_bound_it_is_refused_until_something_is_done(
    queue: FairQueue[str, int], offers: list[tuple[str, int]], more: tuple[str, int]
) -> None:
    for client, size in offers:
        assert queue.offer(client, size, 0)
    assert not queue.offer(*more, 0)
    first = queue.take()
    assert first is not None
    assert not queue.offer(*more, 0), "what runs counts too"
    queue.done(first[0], first[1])
    assert queue.offer(*more, 0)


def test_one_client_at_its_bound_leaves_room_for_another(queue: FairQueue[str, int]) -> None:
    while queue.offer("a", 10, 0):
        pass
    assert queue.offer("b", 40, 0)


def test_nothing_is_remembered_of_who_is_done(queue: FairQueue[str, int]) -> None:
    chance = random.Random(5)
    running = []
    for _ in range(2000):
        if chance.random() < 0.5:
            queue.offer(str(chance.randrange(100)), chance.randrange(20), 0)
        elif running and chance.random() < 0.6:
            client, size = running.pop(chance.randrange(len(running)))
            queue.done(client, size)
        elif (item := queue.take()) is not None:
            running.append(item[:2])
    while running or queue.items:
        for client, size in running:
            queue.done(client, size)
        running = []
        while (item := queue.take()) is not None:
            running.append(item[:2])
    assert (queue.items, queue.bytes, queue._lines, queue._turns) == (0, 0, {}, {})
