from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.mount.block_store.layout import (
    BLOCK_SIZE,
    GRAIN,
    MAX_SEGMENTS,
    OVERHEAD,
    SEGMENT_BLOCKS,
    SLOT_SIZE,
    Layout,
)

SIZES = st.one_of(
    st.integers(0, 5 * BLOCK_SIZE),
    st.integers(0, 2**64 - 1),
    st.builds(lambda blocks, more: max(0, blocks * BLOCK_SIZE + more), st.integers(0, 400_000), st.integers(-2, 2)),
)


@given(SIZES)
def test_the_blocks_hold_the_file_exactly(size):
    layout = Layout.of(size)
    if size == 0:
        assert layout.blocks == layout.segments == 0
    else:
        assert (layout.blocks - 1) * BLOCK_SIZE + layout.length(layout.blocks - 1) == size
        assert 0 < layout.length(layout.blocks - 1) <= BLOCK_SIZE


@given(SIZES)
def test_no_claimed_size_makes_more_segments_than_the_most(size):
    layout = Layout.of(size)
    assert layout.segments <= MAX_SEGMENTS
    assert layout.segment_blocks >= SEGMENT_BLOCKS
    assert len(list(layout.runs())) == layout.segments


@given(SIZES.filter(bool), st.data())
def test_slots_do_not_overlap_and_fit_their_sealed_block(size, data):
    layout = Layout.of(size)
    index = data.draw(st.integers(0, layout.blocks - 1))
    offset, length = layout.slot(index)
    assert layout.length(index) <= layout.padded(index) == length - OVERHEAD <= BLOCK_SIZE
    assert offset + length <= (index % layout.segment_blocks + 1) * SLOT_SIZE
    assert 0 <= offset < 2**63 - SLOT_SIZE


@given(SIZES.filter(bool))
def test_a_container_tells_a_size_no_better_than_disk_blocks_do(size):
    layout = Layout.of(size)
    _, length = layout.slot(layout.blocks - 1)
    assert length % GRAIN == 0 or length == SLOT_SIZE


@given(SIZES, st.integers(-5, 2**64), st.integers(-5, 2**30))
def test_the_covering_blocks_are_those_that_hold_the_range(size, offset, length):
    layout = Layout.of(size)
    blocks = layout.covering(offset, length)
    end = min(offset + length, size)
    if offset < 0 or offset >= end:
        assert not blocks
    else:
        assert blocks.start * BLOCK_SIZE <= offset < (blocks.start + 1) * BLOCK_SIZE
        assert (blocks.stop - 1) * BLOCK_SIZE < end <= blocks.stop * BLOCK_SIZE


@given(st.integers(1, 3000), st.data())
def test_runs_cut_a_range_at_the_segments(blocks, data):
    layout = Layout.of(blocks * BLOCK_SIZE)
    first = data.draw(st.integers(0, blocks))
    wanted = range(first, data.draw(st.integers(first, blocks)))
    runs = list(layout.runs(wanted))
    assert [index for run in runs for index in run.blocks] == list(wanted)
    assert all({index // layout.segment_blocks for index in run.blocks} == {run.segment} for run in runs)


def test_a_size_below_zero_is_an_empty_file():
    assert Layout.of(-5) == Layout.of(0)


def test_disk_bytes_count_whole_disk_blocks():
    layout = Layout.of(3 * BLOCK_SIZE + 1)
    assert layout.disk_bytes(range(3, 4)) == 2 * GRAIN  # its slot does not begin at a disk block
    assert Layout.of(1).disk_bytes(range(1)) == GRAIN
    assert layout.disk_bytes(range(3)) >= 3 * SLOT_SIZE
