"""Bulk waits for room; what is small passes by."""

from __future__ import annotations

import threading

from peer.channel.window import Window
from tests.peer.channel.wired import PATIENCE, asking


def never() -> bool:
    return False


def test_bulk_waits_until_there_is_room() -> None:
    window = Window(requests=10, size=100)
    assert window.enter(80, 0.0, never)
    waiting = asking(lambda: window.enter(40, PATIENCE, never))
    assert window.enter(0, 0.0, never), "what is small does not wait behind bulk"
    assert waiting.empty()
    window.leave(80)
    assert waiting.get(timeout=PATIENCE) is True


def test_there_is_no_room_within_the_time() -> None:
    window = Window(requests=1, size=100)
    assert window.enter(0, 0.0, never)
    assert not window.enter(0, 0.01, never)
    window.leave(0)
    assert window.enter(0, 0.0, never)


def test_who_was_killed_does_not_wait() -> None:
    window = Window(requests=1, size=100)
    window.enter(0, 0.0, never)
    assert not window.enter(0, PATIENCE, lambda: True)


def test_what_was_taken_is_given_back_exactly() -> None:
    window = Window(requests=4, size=100)
    inside, most, lock = [0], [0], threading.Lock()

    def work() -> bool:
        for _ in range(200):
            assert window.enter(30, PATIENCE, never)
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= 1
            window.leave(30)
        return True

    results = [asking(work) for _ in range(6)]
    assert [result.get(timeout=PATIENCE) for result in results] == [True] * 6
    assert most[0] <= 3
    assert all(window.enter(25, 0.0, never) for _ in range(4))
