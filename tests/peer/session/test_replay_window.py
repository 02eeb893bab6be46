"""The replay window against a model that remembers every counter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.session.replay_window import WINDOW, ReplayWindow


class Model:
    """What the window promises, in the plainest words."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def accept(self, counter: int) -> bool:
        if counter in self.seen or max(self.seen, default=0) - counter >= WINDOW:
            return False
        self.seen.add(counter)
        return True


# Steps from the newest counter: neighbours, the edges of a block and of the window, and leaps over it.
near = st.sampled_from([-WINDOW - 64, -WINDOW - 1, -WINDOW, -WINDOW + 1, -WINDOW + 63, -65, -64, -63, -2, -1, 0])
ahead = st.sampled_from([1, 2, 63, 64, 65, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + 64, WINDOW + 65, 5 * WINDOW])
steps = st.lists(near | ahead | st.integers(-300, 300), max_size=60)


@given(steps=steps)
@settings(max_examples=400, deadline=None)
def test_agrees_with_the_model(steps: list[int]) -> None:
    window, model, newest = ReplayWindow(), Model(), 0
    for step in steps:
        counter = max(0, newest + step)
        expected = model.accept(counter)
        assert window.fresh(counter) == expected
        assert window.accept(counter) == expected
        assert not window.accept(counter)
        newest = max(newest, counter)


def test_asking_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.fresh(10 * WINDOW)
    assert window.accept(0)


def test_every_order_within_the_window_is_accepted_once() -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in reversed(range(WINDOW)))
    assert not any(window.accept(counter) for counter in range(WINDOW))
    assert all(window.accept(counter) for counter in range(WINDOW, 3 * WINDOW))
    assert not any(window.accept(counter) for counter in range(3 * WINDOW))


@pytest.mark.parametrize("oldest", range(130))
def test_the_oldest_counter_in_the_window_is_still_known(oldest: int) -> None:
    # The newest and the oldest lie in two different blocks, which must not share a place in the ring.
    window = ReplayWindow()
    assert window.accept(oldest)
    assert window.accept(oldest + WINDOW - 1)
    assert not window.accept(oldest)


@pytest.mark.parametrize("far", [2**32, 2**62, 2**64 - 1])
def test_a_leap_forgets_all_that_lies_behind(far: int) -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(100))
    assert window.accept(far)
    assert not window.accept(far)
    assert not window.accept(far - WINDOW)
    assert window.accept(far - WINDOW + 1)
