"""Pieces of file contents, put together to whole blocks. Pure.

The one rule: nothing is asked for twice to fill a block. What the kernel reads begins and ends where its read-ahead
happens to, so the end of one read and the beginning of the next make a block together; a piece whose other half does
not come is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from peer.mount.block_store.layout import BLOCK_SIZE
from schema.attributes import FileVersion

UNFINISHED: Final = 64
"""Blocks of which pieces are held, 8 MiB at most."""


class WholeBlocks(NamedTuple):
    """Content of consecutive blocks of a file version, from block `first` on; the last block of a file is shorter."""

    volume: int
    version: FileVersion
    first: int
    data: memoryview


class _Unfinished:
    """A block that is partly there: its bytes, and which of them, as ranges in order that do not touch."""

    __slots__ = ("content", "there")

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.there: list[tuple[int, int]] = []

    def fill(self, offset: int, piece: memoryview) -> bool:
        """Whether it is whole with `piece`, which lies within it."""
        start, stop = offset, offset + len(piece)
        self.content[start:stop] = piece
        apart = [held for held in self.there if held[1] < start or stop < held[0]]
        touching = [held for held in self.there if start <= held[1] and held[0] <= stop]
        joined = (min([start, *(s for s, _ in touching)]), max([stop, *(s for _, s in touching)]))
        self.there = sorted([*apart, joined])
        return joined == (0, len(self.content))


class BlockAssembly:
    """Pieces of up to `unfinished` blocks. Not thread-safe."""

    def __init__(self, unfinished: int = UNFINISHED) -> None:
        self._most: Final = unfinished
        self._unfinished: Final[OrderedDict[tuple[int, FileVersion, int], _Unfinished]] = OrderedDict()

    def add(self, volume: int, version: FileVersion, offset: int, data: memoryview) -> Iterator[WholeBlocks]:
        """The blocks that are whole with `data`, which was read at `offset`; what lies past the end is left out."""
        end = min(offset + len(data), version.size)
        if not 0 <= offset < end:
            return
        first, last = -(-offset // BLOCK_SIZE), end // BLOCK_SIZE if end < version.size else -(-end // BLOCK_SIZE)
        if first < last:
            inner = data[first * BLOCK_SIZE - offset : min(last * BLOCK_SIZE, end) - offset]
            yield WholeBlocks(volume, version, first, inner)
        edges = {offset // BLOCK_SIZE, (end - 1) // BLOCK_SIZE} - set(range(first, last))
        for index in sorted(edges):
            start, stop = max(offset, index * BLOCK_SIZE), min(end, (index + 1) * BLOCK_SIZE)
            whole = self._fill(
                (volume, version, index), start - index * BLOCK_SIZE, data[start - offset : stop - offset]
            )
            if whole is not None:
                yield WholeBlocks(volume, version, index, memoryview(whole))

    def _fill(self, key: tuple[int, FileVersion, int], offset: int, piece: memoryview) -> bytearray | None:
        _, version, index = key
        block = self._unfinished.pop(key, None) or _Unfinished(min(BLOCK_SIZE, version.size - index * BLOCK_SIZE))
        if block.fill(offset, piece):
            return block.content
        self._unfinished[key] = block
        if len(self._unfinished) > self._most:
            self._unfinished.popitem(last=False)
        return None
