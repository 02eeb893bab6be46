"""Pieces become blocks exactly when they are whole, whatever their order and overlap."""

from __future__ import annotations

import itertools
import random

import pytest

from peer.mount.block_assembly import BlockAssembly
from peer.mount.block_store.layout import BLOCK_SIZE
from tests.peer.mount.block_store.shop import VOLUME, content, file_version


def put_together(assembly, version, text, pieces):
    """What became whole: {block: content}."""
    found = {}
    for offset, size in pieces:
        for volume, of, first, data in assembly.add(VOLUME, version, offset, memoryview(text)[offset : offset + size]):
            assert (volume, of) == (VOLUME, version)
            for at in range(0, len(data), BLOCK_SIZE):
                found[first + at // BLOCK_SIZE] = bytes(data[at : at + BLOCK_SIZE])
    return found


def blocks(text):
    return {at // BLOCK_SIZE: text[at : at + BLOCK_SIZE] for at in range(0, len(text), BLOCK_SIZE)}


@pytest.mark.parametrize("size", [1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, 3 * BLOCK_SIZE + 5])
def test_one_read_of_all_makes_all_blocks(size):
    text = content(size)
    assert put_together(BlockAssembly(), file_version(size), text, [(0, size)]) == blocks(text)


@pytest.mark.parametrize("seed", range(20))
def test_pieces_in_any_order_make_all_blocks(seed):
    chance = random.Random(seed)
    text = content(4 * BLOCK_SIZE + chance.randrange(BLOCK_SIZE), seed)
    cuts = sorted({0, len(text), *(chance.randrange(len(text)) for _ in range(12))})
    pieces = [(start, stop - start + chance.choice((0, 7))) for start, stop in itertools.pairwise(cuts)]
    chance.shuffle(pieces)
    assert put_together(BlockAssembly(), file_version(len(text)), text, pieces) == blocks(text)


def test_a_block_with_a_hole_is_not_whole():
    text = content(BLOCK_SIZE)
    pieces = [(0, 100), (101, BLOCK_SIZE)]
    assembly = BlockAssembly()
    assert put_together(assembly, file_version(BLOCK_SIZE), text, pieces) == {}
    assert put_together(assembly, file_version(BLOCK_SIZE), text, [(100, 1)]) == {0: text}


def test_versions_do_not_mix():
    text = content(100)
    assembly = BlockAssembly()
    assert put_together(assembly, file_version(100, ctime=1), text, [(0, 50)]) == {}
    assert put_together(assembly, file_version(100, ctime=2), text, [(50, 50)]) == {}


def test_of_too_many_pieces_the_oldest_are_forgotten():
    text = content(100)
    assembly = BlockAssembly(unfinished=2)
    for inode in (1, 2, 3):
        assert put_together(assembly, file_version(100, inode=inode), text, [(0, 50)]) == {}
    assert put_together(assembly, file_version(100, inode=1), text, [(50, 50)]) == {}
    assert put_together(assembly, file_version(100, inode=3), text, [(50, 50)]) == {0: text}


@pytest.mark.parametrize(("size", "offset", "given"), [(10, 10, 5), (10, 12, 5), (0, 0, 5), (-1, 0, 5), (10, 0, 0)])
def test_what_lies_past_the_end_is_left_out(size, offset, given):
    assert list(BlockAssembly().add(VOLUME, file_version(size), offset, memoryview(bytes(given)))) == []


def test_more_than_the_file_has_is_cut():
    (whole,) = BlockAssembly().add(VOLUME, file_version(10), 0, memoryview(bytes(20)))
    assert len(whole.data) == 10
