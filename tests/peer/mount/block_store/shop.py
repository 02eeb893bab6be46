"""Stores that share a directory, the files in it, and contents to put there."""

from __future__ import annotations

from pathlib import Path

from peer.mount.block_store.containers import Containers
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.block_store.store import BlockStore
from schema.attributes import FileVersion

SECRET = bytes(range(32))
REALM = b"identity key of the agent"
VOLUME = 2049


def file_version(size, inode=7, mtime=1_000, ctime=2_000):
    return FileVersion(inode, size, mtime, ctime)


def content(size, seed=0):
    """Bytes without a pattern that repeats at a block, different for each seed."""
    unit = b"".join((seed * 65_537 + i).to_bytes(5, "big") for i in range(BLOCK_SIZE // 5 + 2))
    return b"".join(block.to_bytes(4, "big") + unit for block in range(size // len(unit) + 1))[:size]


def put_back(path, found):
    """Write a container as it would lie on the disk: pages of zeros are holes."""
    with path.open("r+b") as file:
        file.truncate(0)
        for start in range(0, len(found), 4096):
            page = found[start : start + 4096]
            if page.strip(b"\0"):
                file.seek(start)
                file.write(page)
        file.truncate(len(found))


class Shop:
    """Opens stores that share one directory, and knows the files in it."""

    def __init__(self, directory):
        self.directory = directory
        self._open = []

    def open(self, max_bytes=1 << 30, secret=SECRET, realm=REALM, **more):
        store = BlockStore(self.directory, secret, realm, max_bytes, **more)
        self._open.append(store)
        return store

    def reopen(self, store):
        store.close()
        return self.open()

    def containers(self) -> list[Path]:
        return sorted(self.directory.glob("[0-9a-f][0-9a-f]/*"))

    def disk_bytes(self):
        """While others put and evict: what vanishes while it is counted does not count."""
        found = Containers(str(self.directory))
        return sum(size for shard in found.shards() for _, size, _ in found.listed(shard))

    def close(self):
        for store in self._open:
            store.close()
