"""Where each block of a file version lies on disk: arithmetic, and nothing else.

The one rule: a function of the file's size alone, so that every process finds the same block in the same place. A
file is cut into segments, a segment is one sparse container file of fixed slots, a slot is `salt | sealed block`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BLOCK_SIZE: Final = 128 * 1024
"""Bytes of content in a block; only the last one of a file is shorter. It is what the kernel reads ahead by default.
Measured for each second of one core: reads of 128 KiB in blocks of 64 KiB 1.0, of 128 KiB 1.1, of 256 KiB 0.6 GB."""
SALT_SIZE: Final = 24
"""Random bytes at the head of a slot; all zero means that the slot is empty, as a hole in a sparse file is."""
OVERHEAD: Final = SALT_SIZE + 16
"""Bytes that a slot is longer than its block: the salt, and the tag."""
SLOT_SIZE: Final = BLOCK_SIZE + OVERHEAD
GRAIN: Final = 4096
"""The last slot is padded to this, so that a container tells no more of a size than disk blocks do."""
SEGMENT_BLOCKS: Final = 128
"""Blocks of a segment, 16 MiB: what is evicted at once of a large file."""
MAX_SEGMENTS: Final = 1024
"""A larger file has larger segments instead, so that no size an agent claims makes us walk for long."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive blocks that lie in one segment."""

    segment: int
    blocks: range


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of a file of `size` bytes."""

    size: int
    segment_blocks: int

    @classmethod
    def of(cls, size: int) -> Layout:
        """The layout for a size, which comes from another machine: below zero counts as empty."""
        size = max(size, 0)
        needed = -(-size // (BLOCK_SIZE * MAX_SEGMENTS))
        return cls(size, max(SEGMENT_BLOCKS, 1 << (needed - 1).bit_length() if needed else 0))

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return -(-self.size // BLOCK_SIZE)

    @property
    def segments(self) -> int:
        """How many segments the file has, `MAX_SEGMENTS` at most."""
        return -(-self.blocks // self.segment_blocks)

    def length(self, index: int) -> int:
        """Bytes of content in block `index`."""
        return min(BLOCK_SIZE, self.size - index * BLOCK_SIZE)

    def padded(self, index: int) -> int:
        """Bytes that are sealed for block `index`: `length`, filled up to the grain."""
        if (index + 1) * BLOCK_SIZE <= self.size:
            return BLOCK_SIZE
        full = self.length(index) + OVERHEAD
        return min(BLOCK_SIZE, full + -full % GRAIN - OVERHEAD)

    def slot(self, index: int) -> tuple[int, int]:
        """Offset in its container and length of the slot of block `index`, in bytes."""
        return (index % self.segment_blocks) * SLOT_SIZE, self.padded(index) + OVERHEAD

    def disk_bytes(self, blocks: range) -> int:
        """Bytes of disk that the slots of `blocks` take, rather too many: in units of `GRAIN`, each slot by itself."""
        total = 0
        for index in blocks:
            offset, length = self.slot(index)
            total += -(-(offset + length) // GRAIN) - offset // GRAIN
        return total * GRAIN

    def covering(self, offset: int, size: int) -> range:
        """The blocks that hold `size` bytes from `offset` on, as far as the file reaches."""
        end = min(offset + size, self.size)
        return range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE)) if 0 <= offset < end else range(0)

    def runs(self, blocks: range | None = None) -> Iterator[Run]:
        """`blocks`, or all of the file, by segment and in order."""
        blocks = range(self.blocks) if blocks is None else blocks
        first = blocks.start
        while first < blocks.stop:
            segment = first // self.segment_blocks
            end = min(blocks.stop, (segment + 1) * self.segment_blocks)
            yield Run(segment, range(first, end))
            first = end
