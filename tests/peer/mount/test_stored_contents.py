"""What is read is on disk soon after, and what cannot be kept is not waited for."""

from __future__ import annotations

import threading

import pytest

from peer.certificates import OwnKeys, certificate_of, generate
from peer.config import CacheTable
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.stored_contents import StoredContents, open_contents
from schema.identity import peer_id
from tests.peer.mount.block_store.shop import VOLUME, Shop, content, file_version

PATIENCE = 10.0


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path / "blocks")
    yield shop
    shop.close()


def test_what_is_kept_is_there_and_stays(shop):
    text, version = content(3 * BLOCK_SIZE + 9), file_version(3 * BLOCK_SIZE + 9)
    first = StoredContents(shop.open())
    assert first.read(VOLUME, version, 0, 10) is None
    first.keep(VOLUME, version, 0, memoryview(text)[: BLOCK_SIZE + 100])
    assert first.written(PATIENCE)
    assert first.cached_bytes(VOLUME, version) == BLOCK_SIZE
    assert not first.complete(VOLUME, version)
    first.keep(VOLUME, version, BLOCK_SIZE + 100, memoryview(text)[BLOCK_SIZE + 100 :])
    assert first.written(PATIENCE)
    assert first.complete(VOLUME, version)
    first.close()
    second = StoredContents(shop.open())
    assert second.read(VOLUME, version, 0, len(text) + 50) == text
    second.close()


def test_closing_writes_what_waits(shop):
    text, version = content(8 * BLOCK_SIZE), file_version(8 * BLOCK_SIZE)
    contents = StoredContents(shop.open())
    contents.keep(VOLUME, version, 0, memoryview(text))
    contents.close()
    again = StoredContents(shop.open())
    assert again.complete(VOLUME, version)
    again.close()


class _Stuck:
    """A store whose disk does not answer before it is let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()
        self.written = []

    def write(self, version, volume, block_index, data):
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.written.append(version.inode)
        return True

    def close(self):
        pass


def test_a_slow_disk_costs_what_it_cannot_take_and_no_time():
    store = _Stuck()
    contents = StoredContents(store, queued_bytes=2 * BLOCK_SIZE)
    text = memoryview(bytes(BLOCK_SIZE))
    for inode in range(5):
        contents.keep(VOLUME, file_version(BLOCK_SIZE, inode=inode), 0, text)
        assert store.begun.wait(PATIENCE)
    store.go.set()
    assert contents.written(PATIENCE)
    contents.keep(VOLUME, file_version(BLOCK_SIZE, inode=9), 0, text)
    assert contents.written(PATIENCE)
    contents.close()
    assert store.written == [0, 1, 9]


def _keys():
    own = generate(peer_id("laptop"))
    return OwnKeys(certificate_of(own), own.transport_secret, own.identity_secret)


def test_the_directory_is_ours_alone_and_tells_another_client_or_agent_nothing(tmp_path):
    cache = CacheTable(directory=tmp_path / "cache")
    keys, version = _keys(), file_version(40)
    ours = open_contents(cache, keys, b"agent")
    ours.keep(VOLUME, version, 0, memoryview(b"a secret that must not be readable there"))
    ours.close()
    assert (tmp_path / "cache" / "blocks").stat().st_mode & 0o777 == 0o700
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(everything) > 40
    assert b"secret" not in everything
    for theirs in (open_contents(cache, _keys(), b"agent"), open_contents(cache, keys, b"other agent")):
        assert theirs.read(VOLUME, version, 0, 40) is None
        theirs.close()
    again = open_contents(cache, keys, b"agent")
    assert again.read(VOLUME, version, 2, 6) == b"secret"
    again.close()


def test_nothing_is_kept_where_nothing_may_be(tmp_path):
    assert open_contents(CacheTable(directory=tmp_path, max_size_gb=0), _keys(), b"agent") is None
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_used_is_gone_without(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    contents = open_contents(CacheTable(directory=tmp_path / "file"), _keys(), b"agent")
    version = file_version(4)
    for _ in range(2):
        contents.keep(VOLUME, version, 0, memoryview(b"text"))
        assert contents.written(PATIENCE)
        assert contents.read(VOLUME, version, 0, 4) is None
    contents.close()
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1
