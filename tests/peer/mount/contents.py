"""`Contents` in memory, to be looked into."""

from __future__ import annotations

from peer.mount.block_assembly import BlockAssembly
from peer.mount.block_store.layout import BLOCK_SIZE


class Memory:
    """Whole blocks by volume, version and number, as the true store has them."""

    def __init__(self):
        self.blocks = {}
        self._assembly = BlockAssembly()

    def read(self, volume, version, offset, size):
        end = min(offset + size, version.size)
        if offset >= end:
            return memoryview(b"")
        wanted = range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        found = [self.blocks.get((volume, version, index)) for index in wanted]
        if None in found:
            return None
        start = offset - wanted.start * BLOCK_SIZE
        return memoryview(b"".join(found))[start : start + end - offset]

    def keep(self, volume, version, offset, data):
        for whole in self._assembly.add(volume, version, offset, data):
            for at in range(0, len(whole.data), BLOCK_SIZE):
                index = whole.first + at // BLOCK_SIZE
                self.blocks[volume, version, index] = bytes(whole.data[at : at + BLOCK_SIZE])

    def complete(self, volume, version):
        return self.cached_bytes(volume, version) == version.size

    def cached_bytes(self, volume, version):
        return sum(len(block) for key, block in self.blocks.items() if key[:2] == (volume, version))
