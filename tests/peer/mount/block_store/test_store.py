from __future__ import annotations

import os

import pytest

from peer.mount.block_store.layout import BLOCK_SIZE, SEGMENT_BLOCKS
from schema.attributes import FileVersion
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

THREE = 2 * BLOCK_SIZE + 1000


def test_what_was_put_is_got_whole_and_in_any_part(shop):
    store, version, data = shop.open(), file_version(THREE), content(THREE)
    assert store.write(version, VOLUME, 0, data)
    assert store.read(version, VOLUME, 0, THREE) == data
    for offset, size in [(0, 1), (5, BLOCK_SIZE), (BLOCK_SIZE - 1, 2), (BLOCK_SIZE, BLOCK_SIZE), (THREE - 1, 1)]:
        assert store.read(version, VOLUME, offset, size) == data[offset : offset + size]


def test_a_read_ends_where_the_file_ends(shop):
    store, version, data = shop.open(), file_version(THREE), content(THREE)
    store.write(version, VOLUME, 0, data)
    assert store.read(version, VOLUME, THREE - 10, 4096) == data[-10:]
    assert store.read(version, VOLUME, THREE, 4096) == b""
    assert store.read(version, VOLUME, THREE + BLOCK_SIZE, 4096) == b""


@pytest.mark.parametrize("size", [1, 4055, 4056, 4057, 17_000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1])
def test_files_of_every_kind_of_size(shop, size):
    store, data = shop.open(), content(size)
    assert store.write(file_version(size), VOLUME, 0, bytearray(data))
    assert store.read(file_version(size), VOLUME, 0, size + 1) == data
    assert store.complete(file_version(size), VOLUME)
    assert shop.disk_bytes() <= size + BLOCK_SIZE // 8


def test_an_empty_file_is_complete_and_takes_no_room(shop):
    store = shop.open()
    assert store.write(file_version(0), VOLUME, 0, b"")
    assert store.complete(file_version(0), VOLUME)
    assert store.read(file_version(0), VOLUME, 0, 4096) == b""
    assert shop.containers() == []


def test_any_subset_of_blocks_may_be_there(shop):
    store, version, data = shop.open(), file_version(5 * BLOCK_SIZE), content(5 * BLOCK_SIZE)
    assert store.missing(version, VOLUME, 0, version.size) == [range(5)]
    for index in (3, 1):
        store.write(version, VOLUME, index, data[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE])
    assert store.missing(version, VOLUME, 0, version.size) == [range(1), range(2, 3), range(4, 5)]
    assert store.missing(version, VOLUME, BLOCK_SIZE, BLOCK_SIZE) == []
    assert store.missing(version, VOLUME, BLOCK_SIZE, BLOCK_SIZE + 1) == [range(2, 3)]
    assert store.read(version, VOLUME, BLOCK_SIZE + 9, 100) == data[BLOCK_SIZE + 9 : BLOCK_SIZE + 109]
    assert store.read(version, VOLUME, BLOCK_SIZE, BLOCK_SIZE + 1) is None
    assert store.read(version, VOLUME, 0, version.size) is None
    assert store.cached_bytes(version, VOLUME) == 2 * BLOCK_SIZE
    assert not store.complete(version, VOLUME)
    assert (store.statistics().hits, store.statistics().misses) == (1, 2)


def test_a_file_of_several_segments(shop):
    size = (SEGMENT_BLOCKS + 2) * BLOCK_SIZE + 5
    store, version = shop.open(), file_version(size)
    edge = SEGMENT_BLOCKS - 1
    data = content(4 * BLOCK_SIZE)[: size - edge * BLOCK_SIZE]
    assert store.write(version, VOLUME, edge, data)
    assert len(shop.containers()) == 2
    assert store.read(version, VOLUME, edge * BLOCK_SIZE + 7, len(data)) == data[7:]
    assert store.missing(version, VOLUME, 0, size) == [range(edge)]
    assert store.cached_bytes(version, VOLUME) == len(data)
    store.forget(version, VOLUME)
    assert shop.containers() == []


def test_a_gap_over_the_edge_of_a_segment_is_one_range(shop):
    version = file_version(2 * SEGMENT_BLOCKS * BLOCK_SIZE)
    store = shop.open()
    for index in (SEGMENT_BLOCKS - 2, SEGMENT_BLOCKS + 1):
        store.write(version, VOLUME, index, content(BLOCK_SIZE))
    first, gap, last = store.missing(version, VOLUME, 0, version.size)
    assert (first, gap) == (range(SEGMENT_BLOCKS - 2), range(SEGMENT_BLOCKS - 1, SEGMENT_BLOCKS + 1))
    assert last == range(SEGMENT_BLOCKS + 2, 2 * SEGMENT_BLOCKS)


@pytest.mark.parametrize(
    ("index", "length"),
    [(0, 5), (0, BLOCK_SIZE - 1), (0, THREE + 1), (1, BLOCK_SIZE + 999), (2, BLOCK_SIZE), (3, 1), (-1, BLOCK_SIZE)],
)
def test_data_that_is_not_whole_blocks_of_the_file_is_refused(shop, index, length):
    store = shop.open()
    with pytest.raises(ValueError, match="no whole blocks"):
        store.write(file_version(THREE), VOLUME, index, bytes(length))
    assert shop.containers() == []


def test_versions_volumes_agents_and_clients_share_nothing(shop):
    version, data = file_version(100), content(100)
    shop.open().write(version, VOLUME, 0, data)
    others = [
        shop.open(realm=b"another agent").read(version, VOLUME, 0, 100),
        shop.open(secret=bytes(32)).read(version, VOLUME, 0, 100),
        shop.open().read(version, VOLUME + 1, 0, 100),
        shop.open().read(file_version(100, ctime=2_001), VOLUME, 0, 100),
        shop.open().read(file_version(101), VOLUME, 0, 100),
    ]
    assert others == [None] * 5


def test_the_next_process_finds_everything(shop):
    store, version, data = shop.open(), file_version(THREE), content(THREE)
    store.write(version, VOLUME, 0, data)
    assert shop.reopen(store).read(version, VOLUME, 0, THREE) == data


def test_what_is_forgotten_is_gone_and_gives_its_room_back(shop):
    store, version = shop.open(), file_version(THREE)
    store.write(version, VOLUME, 0, content(THREE))
    store.forget(version, VOLUME)
    store.forget(version, VOLUME)
    assert store.read(version, VOLUME, 0, 1) is None
    assert shop.disk_bytes() == 0


@pytest.mark.parametrize("size", [-1, 2**45, 2**63, 2**64 - 1])
def test_no_size_that_an_agent_claims_costs_more_than_a_walk_over_a_thousand_names(shop, size):
    store, version = shop.open(), FileVersion(2**64 - 1, size, -(2**63), 2**63 - 1)
    assert store.read(version, 2**64 - 1, 0, BLOCK_SIZE) in (None, b"")
    last = max(size - 1, 0) // BLOCK_SIZE
    data = bytes(max(size, 0) - last * BLOCK_SIZE)
    kept = store.write(version, VOLUME, last, data)  # beyond what the local file system can hold, perhaps
    assert store.cached_bytes(version, VOLUME) == (len(data) if kept else 0)
    assert store.complete(version, VOLUME) == (size < 0)
    assert store.missing(version, VOLUME, 0, size) in ([], [range(last)], [range(last + 1)])
    store.forget(version, VOLUME)
    assert store.write(file_version(5), VOLUME, 0, b"hello"), "the disk is all right"


def test_a_large_write_stays_what_it_was_when_the_buffer_is_used_again(shop):
    store, version = shop.open(), file_version(BLOCK_SIZE)
    buffer = bytearray(os.urandom(BLOCK_SIZE))
    before = bytes(buffer)
    store.write(version, VOLUME, 0, memoryview(buffer))
    first = store.read(version, VOLUME, 0, BLOCK_SIZE)
    buffer[:] = bytes(BLOCK_SIZE)
    assert store.read(version, VOLUME, 0, BLOCK_SIZE) == first == before
