"""How large the store gets, what goes first, and what happens when the disk gives out."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import time

import pytest

from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.block_store.outage import FULL, PAUSE
from peer.mount.block_store.upkeep import SHRUNK_TIME
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

ONE = content(BLOCK_SIZE)
LIMIT = 4 << 20


class Clock:
    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


def put(store, number):
    return store.write(file_version(BLOCK_SIZE, inode=number), VOLUME, 0, ONE)


def has(store, number):
    return store.read(file_version(BLOCK_SIZE, inode=number), VOLUME, 0, BLOCK_SIZE) is not None


def put_aged(shop, store, number, age):
    """Put a file whose last use was `age` seconds ago."""
    before = set(shop.containers())
    assert put(store, number)
    (path,) = set(shop.containers()) - before
    os.utime(path, (time.time() - age, time.time() - age))


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_store_never_grows_beyond_its_bound_and_goes_on_taking_blocks(shop):
    stores = [shop.open(max_bytes=LIMIT), shop.open(max_bytes=LIMIT)]
    numbers = iter(range(1_000_000))

    def put_many():
        for _ in range(20):
            number = next(numbers)
            if put(stores[number % 2], number):
                assert has(stores[0], number)
            assert shop.disk_bytes() <= LIMIT
        return sum(store.statistics().evicted for store in stores) > 20

    until(put_many)
    assert min(store.statistics().written for store in stores) > 10


def test_a_use_is_noted_once_a_minute(shop):
    clock = Clock()
    store = shop.open(clock=clock)
    put(store, 1)
    (path,) = shop.containers()
    noted = path.stat().st_mtime_ns
    clock.now += 30
    assert has(store, 1)
    assert path.stat().st_mtime_ns == noted
    clock.now += 60
    assert has(store, 1)
    assert path.stat().st_mtime == pytest.approx(clock.now)


def test_a_store_without_room_keeps_nothing(shop):
    store = shop.open(max_bytes=0)
    assert not put(store, 1)
    assert not has(store, 1)
    assert store.statistics().dropped == 1


def test_the_next_start_counts_what_a_killed_process_did_not_share(shop):
    store = shop.open()
    put(store, 1)
    store.close()
    (shop.directory / "usage").unlink()
    fresh = shop.open()
    until(lambda: fresh.statistics().disk_bytes == shop.disk_bytes() > 0)


@contextlib.contextmanager
def failing(monkeypatch, code):
    def refuse(*_arguments):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", refuse)
        yield


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_is_logged_once_left_alone_and_tried_again(shop, monkeypatch, caplog, code):
    clock = Clock()
    store = shop.open(clock=clock)
    put(store, 1)
    with failing(monkeypatch, code), caplog.at_level(logging.WARNING):
        assert not put(store, 2)
        clock.now += PAUSE + 1
        assert not put(store, 3)
    assert len(caplog.records) == 1
    assert not put(store, 4), "the pause lasts"
    assert has(store, 1) or code in FULL

    def kept_some_time_later():
        clock.now += SHRUNK_TIME
        return put(store, 5)

    until(kept_some_time_later)
    assert has(store, 5)


def test_a_full_disk_gets_a_quarter_back_and_the_store_stays_smaller_for_an_hour(shop, monkeypatch):
    clock = Clock()
    store = shop.open(max_bytes=LIMIT, clock=clock)
    for number in range(16):
        put_aged(shop, store, number, age=1_000 - number)
    before = shop.disk_bytes()
    with failing(monkeypatch, errno.ENOSPC):
        assert not put(store, 100)
    until(lambda: shop.disk_bytes() <= before * 3 / 4)
    until(lambda: store.statistics().evicted >= 4)
    kept = [number for number in range(16) if store.complete(file_version(BLOCK_SIZE, inode=number), VOLUME)]
    assert 11 <= len(kept) <= 12
    assert kept == list(range(16))[-len(kept) :]
    clock.now += PAUSE + 1
    numbers = iter(range(200, 10_000))
    for _ in range(50):
        put(store, next(numbers))
        assert shop.disk_bytes() < before
    clock.now += SHRUNK_TIME
    until(lambda: (put(store, next(numbers)), shop.disk_bytes() > before)[1])


def test_a_block_that_was_written_in_part_is_missing(shop, monkeypatch):
    store = shop.open()
    pwritev = os.pwritev
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", lambda fd, parts, at: pwritev(fd, [parts[0], parts[1][:5_000]], at))
        assert not put(store, 1)
    assert not has(store, 1)


def test_a_directory_that_cannot_be_made_costs_hits_and_one_line(tmp_path, shop, caplog):
    shop.directory.write_bytes(b"a file in its place")
    with caplog.at_level(logging.WARNING):
        store = shop.open()
        assert not put(store, 1)
        assert not has(store, 1)
        store.forget(file_version(BLOCK_SIZE), VOLUME)
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records) <= 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_on_a_real_file_system_that_is_full(shop):
    shop.directory.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(shop.directory), b"tmpfs", 0, b"size=1m"):
        pytest.skip(f"no tmpfs here: {os.strerror(ctypes.get_errno())}")
    clock = Clock()
    store = shop.open(clock=clock)
    try:
        numbers = iter(range(1_000))
        while put(store, next(numbers)):
            pass
        until(lambda: store.statistics().evicted)
        until(lambda: shop.disk_bytes() <= 0.8 * 2**20)
        clock.now += PAUSE + 1
        until(lambda: put(store, 999))
        assert has(store, 999)
    finally:
        store.close()
        assert libc.umount(os.fsencode(shop.directory)) == 0
