from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from peer.agent.lock_ranges import END, Range, changed
from schema.requests import LockMode

SIZE = 12
"""Bytes of the file in the model; beyond it all bytes are alike."""

steps = st.lists(st.tuples(st.sampled_from(LockMode), st.integers(0, SIZE - 1), st.integers(0, SIZE)), max_size=12)


@given(steps)
def test_ranges_say_what_a_byte_by_byte_model_says(steps):
    ranges: tuple[Range, ...] = ()
    model = [LockMode.UNLOCK] * (2 * SIZE)
    for mode, start, length in steps:
        ranges = changed(ranges, mode, start, length)
        end = start + length if length else 2 * SIZE
        model[start:end] = [mode] * (end - start)
        assert [mode_at(ranges, byte) for byte in range(2 * SIZE)] == model
        assert mode_at(ranges, END - 1) is model[-1]
        for one, next_one in itertools.pairwise(ranges):
            assert one.end < next_one.start or (one.end == next_one.start and one.mode is not next_one.mode)
        assert all(one.start < one.end for one in ranges)


def mode_at(ranges: tuple[Range, ...], byte: int) -> LockMode:
    return next((one.mode for one in ranges if one.start <= byte < one.end), LockMode.UNLOCK)


def test_a_lock_to_the_end_has_length_zero():
    (whole,) = changed((), LockMode.SHARED, 5, 0)
    assert (whole.start, whole.length) == (5, 0)
    (part,) = changed((whole,), LockMode.UNLOCK, 10, 0)
    assert (part.start, part.length) == (5, 5)
