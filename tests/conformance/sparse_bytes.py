"""The content of a file in memory, holes included.

The one rule: a byte that was never written, or was punched or cut off since, reads as zero.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 4096
"""Bytes in one allocated piece; a hole is at least one whole piece, as on most disk file systems."""


class SparseBytes:
    """Bytes 0 to `size`, of which only the touched blocks take memory."""

    __slots__ = ("_blocks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._blocks: dict[int, bytearray] = {}

    @property
    def allocated(self) -> int:
        """Units of 512 bytes, as st_blocks."""
        return len(self._blocks) * (BLOCK // 512)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, fewer only at the end."""
        end = min(offset + size, self.size)
        pieces = []
        while offset < end:
            number, start = divmod(offset, BLOCK)
            length = min(BLOCK - start, end - offset)
            block = self._blocks.get(number)
            pieces.append(bytes(length) if block is None else bytes(block[start : start + length]))
            offset += length
        return b"".join(pieces)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put `data` at `offset`; what lies between the old end and `offset` is a hole."""
        done = 0
        while done < len(data):
            number, start = divmod(offset + done, BLOCK)
            piece = data[done : done + BLOCK - start]
            self._blocks.setdefault(number, bytearray(BLOCK))[start : start + len(piece)] = piece
            done += len(piece)
        if data:
            self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long."""
        if size < self.size:
            self.erase(size, self.size - size)
            kept = -(-size // BLOCK)
            self._blocks = {number: block for number, block in self._blocks.items() if number < kept}
        self.size = size

    def allocate(self, offset: int, length: int) -> None:
        """Give every byte of the range a block; nothing that was there changes."""
        for number in range(offset // BLOCK, -(-(offset + length) // BLOCK)):
            self._blocks.setdefault(number, bytearray(BLOCK))

    def erase(self, offset: int, length: int) -> None:
        """Zero the range, giving back the blocks that lie in it whole. The size stays."""
        end = offset + length
        for number in [n for n in self._blocks if n * BLOCK < end and (n + 1) * BLOCK > offset]:
            start = max(offset - number * BLOCK, 0)
            stop = min(end - number * BLOCK, BLOCK)
            if stop - start == BLOCK:
                del self._blocks[number]
            else:
                self._blocks[number][start:stop] = bytes(stop - start)

    def next_data(self, offset: int) -> int | None:
        """Where data begins at or after `offset`, as SEEK_DATA; None when only a hole follows."""
        later = [number for number in self._blocks if (number + 1) * BLOCK > offset and number * BLOCK < self.size]
        return max(offset, min(later) * BLOCK) if later else None

    def next_hole(self, offset: int) -> int:
        """Where a hole begins at or after `offset`, as SEEK_HOLE; there is one at the end of every file."""
        number = offset // BLOCK
        while number in self._blocks:
            number += 1
        return min(max(offset, number * BLOCK), self.size)
