"""What goes and what stays, with nothing running behind: the thread's work is done by the test itself."""

from __future__ import annotations

import errno
import fcntl
import os
import time

import pytest

from peer.mount.block_store.containers import Containers
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.block_store.upkeep import SHRUNK_TIME, Upkeep
from peer.mount.block_store.usage import Usage
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

ONE = content(BLOCK_SIZE)
COUNT = 10
EACH = BLOCK_SIZE + 4096
"""Bytes on disk of a file of one block."""


class Fixed:
    now = 1_000.0


@pytest.fixture
def store(shop):
    """A large store, in which the upkeep under test finds more than it wants."""
    store = shop.open()
    for number in range(COUNT):
        before = set(shop.containers())
        assert store.write(file_version(BLOCK_SIZE, inode=number), VOLUME, 0, ONE)
        (path,) = set(shop.containers()) - before
        used = time.time() - 10_000 + 100 * ((number * 7) % COUNT)  # in another order than they were written
        os.utime(path, (used, used))
    store.close()
    return store


@pytest.fixture
def upkeep(shop, store):
    def make(max_bytes):
        usage = Usage(Containers(str(shop.directory)))
        return Upkeep(Containers(str(shop.directory)), usage, max_bytes, lambda: Fixed.now, lambda error: None)

    return make


def kept(store):
    """Which are there, in the order of their last use."""
    files = sorted(range(COUNT), key=lambda number: (number * 7) % COUNT)
    return [
        (number * 7) % COUNT
        for number in files
        if store.missing(file_version(BLOCK_SIZE, inode=number), VOLUME, 0, 1) == []
    ]


def test_below_its_high_mark_nothing_goes(store, upkeep):
    tidier = upkeep(EACH * COUNT * 16 // 15 + 16)
    assert tidier.tidy()
    assert tidier.evicted == 0
    assert kept(store) == list(range(COUNT))


@pytest.mark.parametrize("room", [0, 1, 4, 9])
def test_above_it_the_least_recently_used_go_down_to_the_low_mark(shop, store, upkeep, room):
    tidier = upkeep(EACH * room * 8 // 7 + 8)
    assert tidier.tidy()
    assert tidier.evicted == COUNT - room
    assert kept(store) == list(range(COUNT))[COUNT - room :]
    assert Usage(Containers(str(shop.directory))).share() == shop.disk_bytes() == EACH * room


def test_room_is_made_for_a_write_that_found_none(store, upkeep):
    tidier = upkeep(EACH * (COUNT + 1))
    tidier.tidy()
    assert tidier.evicted == 0
    tidier.evict(EACH * 3)
    assert tidier.tidy()
    assert tidier.evicted == 2
    tidier.evict(EACH * 100)  # more than there ever can be
    assert tidier.tidy()
    assert tidier.evicted == 2


def test_a_use_saves_it(store, upkeep):
    assert store.read(file_version(BLOCK_SIZE, inode=0), VOLUME, 0, 1) is not None
    assert upkeep(EACH * 3 * 8 // 7 + 8).tidy()
    assert kept(store) == [0, 8, 9]


def test_a_use_while_it_is_picked_saves_it_too(store, upkeep, monkeypatch):
    tidier = upkeep(EACH * 8 * 8 // 7 + 8)
    look = Containers.last_use

    def used_just_before(containers, name):
        monkeypatch.setattr(Containers, "last_use", look)
        store.read(file_version(BLOCK_SIZE, inode=0), VOLUME, 0, 1)
        return look(containers, name)

    monkeypatch.setattr(Containers, "last_use", used_just_before)
    assert not tidier.tidy(), "one less went than should have"
    assert kept(store) == [0, *range(2, COUNT)]


def test_a_disk_that_fills_up_during_a_count_shrinks_the_store_by_the_next(store, upkeep, monkeypatch):
    tidier = upkeep(1 << 30)
    listed = Containers.listed

    def full_meanwhile(containers, shard):
        monkeypatch.setattr(Containers, "listed", listed)
        tidier.shrink()
        return iter(())  # this count came by before the files were there

    monkeypatch.setattr(Containers, "listed", full_meanwhile)
    tidier.tidy()
    assert kept(store) == list(range(COUNT))
    tidier.tidy()
    assert kept(store) == list(range(3, COUNT))


def test_room_is_made_even_if_the_disk_is_too_full_for_a_number(shop, store, upkeep, monkeypatch):
    pwrite = os.pwrite

    def full_until_something_goes(descriptor, data, offset):
        if len(kept(store)) == COUNT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full_until_something_goes)
    tidier = upkeep(1 << 30)
    tidier.shrink()
    assert tidier.tidy()
    assert kept(store) == list(range(3, COUNT))


def test_one_process_tidies_at_a_time(shop, store, upkeep):
    tidier = upkeep(0)
    with open(shop.directory / "tidying", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert tidier.tidy()
        assert kept(store) == list(range(COUNT))
    assert tidier.tidy()
    assert kept(store) == []


def test_files_of_others_in_the_directory_are_left_alone(shop, store, upkeep):
    shard = shop.containers()[0].parent
    strays = [shop.directory / "README", shard / "0123", shop.directory / "zz", shard / ("x" * 38)]
    for stray in strays:
        stray.write_bytes(bytes(EACH * COUNT))
    (shard / ("a" * 38)).mkdir()
    assert upkeep(EACH * COUNT * 16 // 15 + 16).tidy()
    assert kept(store) == list(range(COUNT))
    upkeep(0).tidy()
    assert all(stray.exists() for stray in strays)
    assert (shard / ("a" * 38)).is_dir()


def test_when_the_disk_was_full_a_quarter_goes_and_stays_away_for_an_hour(store, upkeep, monkeypatch):
    tidier = upkeep(1 << 30)
    tidier.shrink()
    assert tidier.tidy()
    assert kept(store) == list(range(3, COUNT))
    small = tidier.watermarks
    assert small.low <= EACH * COUNT * 3 / 4 < small.full
    monkeypatch.setattr(Fixed, "now", Fixed.now + SHRUNK_TIME - 1)
    tidier.tidy()
    assert tidier.watermarks == small
    monkeypatch.setattr(Fixed, "now", Fixed.now + 2)
    tidier.tidy()
    assert tidier.watermarks.full == 1 << 30
    assert kept(store) == list(range(3, COUNT))
