"""Token buckets: the sustained rate passes, the burst is bounded, the time to wait is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.quota import Quota


def test_a_burst_passes_and_what_follows_waits_as_long_as_said() -> None:
    quota = Quota(10, 1e9, 2.0)
    assert [quota.charge("a", 1, 0.0) for _ in range(20)] == [0.0] * 20
    wait = quota.charge("a", 1, 0.0)
    assert 0 < wait <= 0.1
    assert quota.charge("a", 1, wait * 0.5) > 0
    assert quota.charge("a", 1, wait + 0.001) == 0.0
    assert quota.charge("b", 1, 0.0) == 0.0, "each peer has a bucket of its own"


def test_bytes_are_limited_as_well() -> None:
    quota = Quota(1e6, 1000, 1.0)
    assert quota.charge("a", 900, 0.0) == 0.0
    wait = quota.charge("a", 200, 0.0)
    assert 0.09 < wait < 0.11
    assert quota.charge("a", 200, wait + 0.001) == 0.0


def test_a_message_larger_than_the_burst_passes_and_leaves_a_debt() -> None:
    quota = Quota(1e6, 1000, 1.0)
    assert quota.charge("a", 5000, 0.0) == 0.0
    assert quota.charge("a", 1, 3.9) > 0
    assert quota.charge("a", 1, 4.1) == 0.0


def test_full_buckets_are_forgotten() -> None:
    quota = Quota(10, 1000, 1.0)
    quota.charge("a", 1000, 0.0)
    quota.sweep(0.5)
    assert len(quota) == 1
    quota.sweep(1.0)
    assert len(quota) == 0


def test_a_clock_that_stands_still_or_goes_back_gives_nothing_away() -> None:
    quota = Quota(1, 1e9, 1.0)
    assert quota.charge("a", 1, 10.0) == 0.0
    assert quota.charge("a", 1, 5.0) > 0
    assert quota.charge("a", 1, 10.0) > 0
    assert quota.charge("a", 1, 11.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 500)), max_size=60))
def test_nobody_gets_past_rate_and_burst(steps: list[tuple[float, int]]) -> None:
    quota = Quota(5, 1000, 2.0)
    now, messages, size = 0.0, 0, 0
    for pause, wanted in steps:
        now += pause
        if quota.charge("a", wanted, now) == 0.0:
            messages += 1
            size += wanted
    assert messages <= 5 * (now + 2.0) + 1e-6
    assert size <= 1000 * (now + 2.0) + 1e-6
