"""Several processes, one directory; processes that are killed; blocks that go while they are read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from peer.mount.block_store.containers import Containers
from peer.mount.block_store.layout import BLOCK_SIZE
from tests.peer.mount.block_store.shop import VOLUME, content, file_version

BLOCKS = 6
SIZE = BLOCKS * BLOCK_SIZE

PROGRAM = """
import sys
from pathlib import Path
from peer.mount.block_store.store import BlockStore
from tests.peer.mount.block_store.shop import REALM, SECRET, VOLUME, content, file_version

store = BlockStore(Path(sys.argv[1]), SECRET, REALM, 1 << 30)
size = int(sys.argv[2])
version, data = file_version(size), content(size)
print("ready", flush=True)
rounds = 0
while rounds != int(sys.argv[3]):
    assert store.write(version, VOLUME, 0, data)
    assert store.read(version, VOLUME, 0, size) in (None, data)
    rounds += 1
store.close()
"""


def another_process(shop, rounds):
    """A process that puts the file over and over, `rounds` times (-1: until it is killed), and reads it."""
    command = [sys.executable, "-c", PROGRAM, str(shop.directory), str(SIZE), str(rounds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_put_and_get_the_same_blocks_at_once_see_the_right_bytes_or_none(shop):
    store, version, data = shop.open(), file_version(SIZE), content(SIZE)
    with another_process(shop, rounds=60) as process:
        while process.poll() is None:
            assert store.read(version, VOLUME, 0, SIZE) in (None, data)
            assert store.write(version, VOLUME, 0, data)
    assert process.returncode == 0
    assert store.write(version, VOLUME, 0, data)
    assert store.read(version, VOLUME, 0, SIZE) == data


def test_what_one_process_puts_the_other_finds(shop):
    store = shop.open()
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    with another_process(shop, rounds=1) as process:
        assert process.wait(30) == 0
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)


def test_a_process_killed_while_it_writes_leaves_right_blocks_or_none(shop):
    version, data = file_version(SIZE), content(SIZE)
    for _ in range(3):
        with another_process(shop, rounds=-1) as process:
            process.send_signal(signal.SIGKILL)
        store = shop.open()
        for index in range(BLOCKS):
            found = store.read(version, VOLUME, index * BLOCK_SIZE, BLOCK_SIZE)
            assert found is None or found == data[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        assert store.write(version, VOLUME, 0, data)
        assert store.read(version, VOLUME, 0, SIZE) == data
        store.forget(version, VOLUME)


def test_a_container_that_is_evicted_while_it_is_read_is_read_to_its_end(shop):
    store = shop.open()
    store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    (path,) = shop.containers()
    containers = Containers(os.fspath(shop.directory))
    name = path.parent.name + path.name
    with containers.reading(name) as descriptor:
        before = os.pread(descriptor, 2**21, 0)
        assert containers.remove(name)
        assert os.pread(descriptor, 2**21, 0) == before
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None


def test_a_block_that_another_is_just_writing_is_read_again_and_not_thrown_away(shop, monkeypatch):
    store, data = shop.open(), content(SIZE)
    store.write(file_version(SIZE), VOLUME, 0, data)
    half_written = []
    preadv = os.preadv

    def reads_a_torn_slot_first(descriptor, buffers, offset):
        read = preadv(descriptor, buffers, offset)
        if not half_written:
            half_written.append(True)
            buffers[0][5_000:6_000] = bytes(1_000)
        return read

    monkeypatch.setattr(os, "preadv", reads_a_torn_slot_first)
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == data
    assert half_written
    assert store.statistics().refused == 0


def test_a_block_that_reads_differently_each_time_is_missing_and_stays(shop, monkeypatch):
    store, data = shop.open(), content(SIZE)
    store.write(file_version(SIZE), VOLUME, 0, data)
    preadv = os.preadv

    def reads_torn_slots(descriptor, buffers, offset):
        read = preadv(descriptor, buffers, offset)
        buffers[0][5_000:5_016] = os.urandom(16)
        return read

    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", reads_torn_slots)
        assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == data


def test_threads_of_one_process_share_a_store(shop):
    store = shop.open()
    wrong = []

    def work(number):
        data = content(SIZE, seed=number)
        for _ in range(5):
            mine = file_version(SIZE, inode=number)
            if not store.write(mine, VOLUME, 0, data) or store.read(mine, VOLUME, 0, SIZE) != data:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert store.statistics().hits == 30


def test_a_directory_that_somebody_removed_is_made_again(shop):
    store = shop.open()
    store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    os.rename(shop.directory, shop.directory.with_name("elsewhere"))
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)
