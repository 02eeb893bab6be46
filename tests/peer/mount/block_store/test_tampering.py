"""What somebody does who can write to the directory: nothing that he can do is ever served."""

from __future__ import annotations

import logging
import os
import stat

import pytest

from peer.mount.block_store.layout import BLOCK_SIZE, SALT_SIZE, SLOT_SIZE
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

SIZE = 2 * BLOCK_SIZE + 1000
POSITIONS = {
    "first byte of a salt": 0,
    "last byte of a salt": SALT_SIZE - 1,
    "first byte of a block": SALT_SIZE,
    "middle of a block": SLOT_SIZE // 2,
    "last byte of a block": SALT_SIZE + BLOCK_SIZE - 1,
    "first byte of a tag": SALT_SIZE + BLOCK_SIZE,
    "last byte of a tag": SLOT_SIZE - 1,
    "second block": SLOT_SIZE + 77,
    "last block": 2 * SLOT_SIZE + SALT_SIZE + 999,
    "padding": 2 * SLOT_SIZE + SALT_SIZE + 1001,
    "last tag": -1,
}


@pytest.fixture
def store(shop):
    return shop.open()


@pytest.fixture
def filled(shop, store):
    """The one container of a file of three blocks."""
    store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    (path,) = shop.containers()
    return path


def refused_then_fetched_again(store, block):
    """The damaged block is missing, and counted, once; the others are there; put again, all is well."""
    version, data = file_version(SIZE), content(SIZE)
    assert store.read(version, VOLUME, 0, SIZE) is None
    assert store.statistics().refused == 1
    assert store.missing(version, VOLUME, 0, SIZE) == [range(block, block + 1)]
    for index in {0, 1, 2} - {block}:
        piece = data[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        assert store.read(version, VOLUME, index * BLOCK_SIZE, BLOCK_SIZE) == piece
    assert store.read(version, VOLUME, 0, SIZE) is None
    assert store.statistics().refused == 1
    assert store.write(version, VOLUME, block, data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE])
    assert store.read(version, VOLUME, 0, SIZE) == data


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS)
def test_an_altered_byte(store, filled, position):
    found = bytearray(filled.read_bytes())
    position %= len(found)
    found[position] ^= 1
    filled.write_bytes(found)
    refused_then_fetched_again(store, position // SLOT_SIZE)


@pytest.mark.parametrize("left", [1, SALT_SIZE, SALT_SIZE + 1, SALT_SIZE + 999, SALT_SIZE + 1000, 4095])
def test_a_cut_container(store, filled, left):
    os.truncate(filled, 2 * SLOT_SIZE + left)
    refused_then_fetched_again(store, 2)


def test_a_container_cut_between_two_slots_lacks_a_block_and_no_more(store, filled):
    os.truncate(filled, 2 * SLOT_SIZE)
    assert store.missing(file_version(SIZE), VOLUME, 0, SIZE) == [range(2, 3)]
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert store.statistics().refused == 0


def test_what_was_cut_off_is_not_made_up_from_an_earlier_read(store, filled):
    for _ in range(10):  # until every buffer that may be used again holds the whole slot
        assert store.read(file_version(SIZE), VOLUME, BLOCK_SIZE, BLOCK_SIZE) is not None
    os.truncate(filled, 2 * SLOT_SIZE - 1)
    assert store.read(file_version(SIZE), VOLUME, BLOCK_SIZE, BLOCK_SIZE) is None
    assert store.statistics().refused == 1


def test_a_hole_in_a_block(store, filled):
    with filled.open("r+b") as file:
        file.seek(SLOT_SIZE + 8192)
        file.write(bytes(4096))
    refused_then_fetched_again(store, 1)


def test_two_blocks_that_changed_places(store, filled):
    found = filled.read_bytes()
    filled.write_bytes(found[SLOT_SIZE : 2 * SLOT_SIZE] + found[:SLOT_SIZE] + found[2 * SLOT_SIZE :])
    assert store.read(file_version(SIZE), VOLUME, 0, BLOCK_SIZE) is None
    assert store.read(file_version(SIZE), VOLUME, BLOCK_SIZE, BLOCK_SIZE) is None
    assert store.statistics().refused == 2


def test_the_container_of_another_version(shop, store, filled):
    newer = file_version(SIZE, mtime=5_000, ctime=5_000)
    store.write(newer, VOLUME, 0, content(SIZE, seed=1))
    (other,) = set(shop.containers()) - {filled}
    other.write_bytes(filled.read_bytes())  # rolled back to what the file was before
    assert store.read(newer, VOLUME, 0, SIZE) is None
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)


def test_the_container_of_another_client(shop, store, filled):
    stranger = shop.open(secret=bytes(32))
    stranger.write(file_version(SIZE), VOLUME, 0, content(SIZE, seed=1))
    (other,) = set(shop.containers()) - {filled}
    filled.write_bytes(other.read_bytes())
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None


def test_a_symbolic_link_in_a_containers_place_leads_nowhere(tmp_path, store, filled, caplog):
    target = tmp_path / "precious"
    target.write_bytes(filled.read_bytes())
    before = target.read_bytes()
    filled.unlink()
    filled.symlink_to(target)
    with caplog.at_level(logging.WARNING):
        assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
        assert not store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert target.read_bytes() == before
    assert store.write(file_version(5), VOLUME, 0, b"hello")
    assert len(caplog.records) == 1


def test_a_fifo_in_a_containers_place_keeps_nobody_waiting(store, filled):
    filled.unlink()
    os.mkfifo(filled)
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert store.missing(file_version(SIZE), VOLUME, 0, SIZE) == [range(3)]
    assert not store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert store.write(file_version(5), VOLUME, 0, b"hello")


def test_nothing_readable_is_in_the_directory(shop):
    store = shop.open()
    version = file_version(40_000, inode=0x1122334455667788, mtime=1_722_000_000_123_456_789)
    text = b"The plaintext of a file. " * 1600
    store.write(version, VOLUME, 0, text)
    everything = list(shop.directory.rglob("*"))
    found = b"\n".join(os.fsencode(path) + (path.read_bytes() if path.is_file() else b"") for path in everything)
    assert len(found) > 40_000
    for telling in (text[:25], text[10:20]):
        assert telling not in found
    for number in (version.inode, version.size, version.mtime_ns, version.ctime_ns):
        for shown in (b"%d" % number, b"%x" % number, number.to_bytes(8, "little"), number.to_bytes(8, "big")):
            assert len(shown) < 7 or shown not in found
    assert all(path.stat().st_size % 4096 == 0 for path in shop.containers()), "sizes show in disk blocks only"


def test_the_same_content_never_looks_the_same(shop, store, filled):
    before = filled.read_bytes()
    store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    after = filled.read_bytes()
    assert all(before[i * SLOT_SIZE : i * SLOT_SIZE + 4096] != after[i * SLOT_SIZE :][:4096] for i in range(3))


def test_the_directory_is_closed_to_others(shop):
    shop.directory.mkdir(mode=0o755)
    store = shop.open()
    store.write(file_version(5), VOLUME, 0, b"hello")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (shop.directory, *shop.directory.glob("??"))}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in shop.containers()} == {0o600}
