"""What is written shows by the holes: exactly and without a look at it; by the salts where holes tell nothing."""

from __future__ import annotations

import os

import pytest

from peer.mount.block_store import holes
from peer.mount.block_store.layout import BLOCK_SIZE, SEGMENT_BLOCKS, SLOT_SIZE
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

BLOCKS = 8
SIZE = (BLOCKS - 1) * BLOCK_SIZE + 100


@pytest.fixture
def store(shop):
    return shop.open()


def put(store, *blocks, size=SIZE):
    version = file_version(size)
    data = content(version.size)
    for block in blocks:
        assert store.write(version, VOLUME, block, data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE])


def lacking(store):
    return [index for gap in store.missing(file_version(SIZE), VOLUME, 0, SIZE) for index in gap]


@pytest.mark.parametrize("granularity", ["holes", "salts"])
@pytest.mark.parametrize("held", [[], [0], [3], [7], [0, 1, 2], [1, 3, 5], [0, 2, 7], [6, 7], list(range(BLOCKS))])
def test_any_choice_of_blocks_shows_exactly(store, monkeypatch, held, granularity):
    if granularity == "salts":
        monkeypatch.setattr(holes, "_COARSE", 0)
    put(store, *held)
    assert lacking(store) == [index for index in range(BLOCKS) if index not in held]
    assert store.complete(file_version(SIZE), VOLUME) == (len(held) == BLOCKS)


def test_a_large_file_is_counted_without_a_read_for_each_block(store, monkeypatch):
    whole = file_version(2 * SEGMENT_BLOCKS * BLOCK_SIZE)
    put(store, *range(2 * SEGMENT_BLOCKS), size=whole.size)
    reads = []
    monkeypatch.setattr(os, "pread", lambda *arguments: reads.append(arguments))
    monkeypatch.setattr(os, "preadv", lambda *arguments: reads.append(arguments))
    assert store.complete(whole, VOLUME)
    assert store.cached_bytes(whole, VOLUME) == whole.size
    assert reads == []


def test_the_place_of_a_refused_block_becomes_a_hole(shop, store):
    put(store, 0, 1, 2)
    (path,) = shop.containers()
    before = path.stat().st_blocks
    with path.open("r+b") as file:
        file.seek(SLOT_SIZE + 5_000)
        file.write(b"altered")
    assert store.read(file_version(SIZE), VOLUME, BLOCK_SIZE, BLOCK_SIZE) is None
    assert before - path.stat().st_blocks >= BLOCK_SIZE // 512 - 8
    assert lacking(store) == [1, 3, 4, 5, 6, 7]


def test_where_no_hole_can_be_made_a_refused_block_is_missing_still(shop, store, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    put(store, 0)
    monkeypatch.setattr("peer.mount.block_store.containers.punch", refuse)
    (path,) = shop.containers()
    with path.open("r+b") as file:
        file.seek(5_000)
        file.write(b"altered")
    for _ in range(2):
        assert store.read(file_version(SIZE), VOLUME, 0, BLOCK_SIZE) is None
    assert store.statistics().refused == 1
    put(store, 0)
    assert store.read(file_version(SIZE), VOLUME, 0, BLOCK_SIZE) == content(SIZE)[:BLOCK_SIZE]


def test_a_copy_without_holes_is_found_out_by_reading(shop, store):
    put(store, 0, 2)
    (path,) = shop.containers()
    path.write_bytes(path.read_bytes())
    assert 1 not in lacking(store)
    assert store.read(file_version(SIZE), VOLUME, BLOCK_SIZE, BLOCK_SIZE) is None
    assert store.statistics().refused == 0
    assert 1 in lacking(store)
    assert store.read(file_version(SIZE), VOLUME, 2 * BLOCK_SIZE, 10) == content(SIZE)[2 * BLOCK_SIZE :][:10]
