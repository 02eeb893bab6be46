"""Files that stay open between reads: never another than the one that has the name, never for long, never many."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from peer.mount.block_store import open_containers
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.block_store.open_containers import KEPT, OpenContainers
from tests.peer.mount.block_store.shop import VOLUME, content, file_version


@pytest.fixture
def files():
    files = OpenContainers(os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    yield files
    files.close_all()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"first")
    return path


def read(files, path):
    with files.reading(str(path)) as descriptor:
        return None if descriptor is None else os.pread(descriptor, 100, 0)


def held(directory):
    """How many descriptors of this process are of files in `directory`, removed ones too."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(each).startswith(str(directory))
        except FileNotFoundError:
            continue
    return found


def test_it_is_opened_once_and_read_often(files, path, monkeypatch):
    assert read(files, path) == b"first"
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened again"))
    assert read(files, path) == b"first"


def test_what_took_its_place_is_read(files, path, tmp_path):
    assert read(files, path) == b"first"
    other = tmp_path / "other"
    other.write_bytes(b"second")
    other.rename(path)
    assert read(files, path) == b"second"
    assert held(tmp_path) == 1


def test_what_is_gone_is_not_read_and_not_held(files, path, tmp_path):
    assert read(files, path) == b"first"
    path.unlink()
    assert read(files, path) is None
    assert held(tmp_path) == 0


def test_who_reads_it_while_it_is_closed_reads_to_the_end(files, path, tmp_path):
    with files.reading(str(path)) as descriptor:
        files.close_all()
        assert os.pread(descriptor, 100, 0) == b"first"
    assert held(tmp_path) == 0


def test_a_link_or_fifo_in_its_place_is_not_followed(files, path, tmp_path):
    assert read(files, path) == b"first"
    path.rename(tmp_path / "target")
    path.symlink_to("target")
    with pytest.raises(OSError, match="symbolic links"):
        read(files, path)
    path.unlink()
    os.mkfifo(path)
    assert read(files, path) is None


def test_few_are_held(files, tmp_path):
    for number in range(KEPT + 5):
        (tmp_path / str(number)).write_bytes(b"x")
        read(files, tmp_path / str(number))
    assert held(tmp_path) == KEPT


def test_what_is_not_read_is_closed_at_the_second_look(files, path, tmp_path):
    read(files, path)
    files.close_idle()
    assert held(tmp_path) == 1
    files.close_idle()
    assert held(tmp_path) == 0
    assert read(files, path) == b"first"


def test_threads_that_open_and_close_at_once(files, path, tmp_path, monkeypatch):
    monkeypatch.setattr(open_containers, "KEPT", 1)
    (tmp_path / "other").write_bytes(b"other")
    wrong = []

    def work(name, expected):
        for _ in range(500):
            if read(files, name) != expected:
                wrong.append(name)
            files.close_idle()

    threads = [
        threading.Thread(target=work, args=each) for each in [(path, b"first"), (tmp_path / "other", b"other")] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    files.close_all()
    assert held(tmp_path) == 0


def holds(shop, number):
    """A store's upkeep opens files of its own for a moment."""
    waited = threading.Event()
    for _ in range(200):
        if held(shop.directory) == number:
            return
        waited.wait(0.05)
    pytest.fail(f"it has {held(shop.directory)} files open")


def test_a_store_gives_the_space_of_what_it_forgets_back_and_holds_nothing_when_it_is_closed(shop):
    store = shop.open()
    kept, gone = file_version(BLOCK_SIZE), file_version(BLOCK_SIZE, inode=8)
    for version in (kept, gone):
        store.write(version, VOLUME, 0, content(BLOCK_SIZE))
        assert store.read(version, VOLUME, 0, BLOCK_SIZE) is not None
    holds(shop, 2)
    store.forget(gone, VOLUME)
    holds(shop, 1)
    store.close()
    assert held(shop.directory) == 0


def test_a_store_closes_what_nobody_reads(shop, monkeypatch):
    monkeypatch.setattr("peer.mount.block_store.upkeep.IDLE_INTERVAL", 0.02)
    store = shop.open()
    store.write(file_version(5), VOLUME, 0, b"hello")
    store.read(file_version(5), VOLUME, 0, 5)
    holds(shop, 0)
