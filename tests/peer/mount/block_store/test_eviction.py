from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.mount.block_store.eviction import Oldest, Watermarks


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=60), st.integers(-1, 400))
def test_the_oldest_go_and_no_more_than_needed(containers, wanted):
    oldest = Oldest(wanted)
    for number, (size, used) in enumerate(containers):
        oldest.offer(str(number), size, used)
    chosen = oldest.chosen()
    freed = [size for _, size, _ in chosen]
    stay = [used for number, (_, used) in enumerate(containers) if str(number) not in {name for name, _, _ in chosen}]
    assert [used for _, _, used in chosen] == sorted(used for _, _, used in chosen)
    assert all((*containers[int(name)],) == (size, used) for name, size, used in chosen)
    if chosen and stay:
        assert chosen[-1][2] <= min(stay)
    assert sum(freed) >= min(max(wanted, 0), sum(size for size, _ in containers))
    assert not chosen or sum(freed) - freed[-1] < wanted


@given(st.integers(1, 200))
def test_memory_grows_with_what_goes_and_not_with_what_stays(wanted):
    oldest = Oldest(wanted)
    for number in range(2_000):
        oldest.offer(str(number), 10, (number * 7919) % 2_000)
        assert len(oldest._newest_first) <= wanted // 10 + 1


@given(st.integers(0, 2**50))
def test_the_marks_are_in_order(full):
    marks = Watermarks.of(full)
    assert 0 <= marks.batch <= marks.low <= marks.high <= marks.full == full
