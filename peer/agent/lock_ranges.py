"""Which bytes of a file one owner has locked, and how: pure bookkeeping beside the kernel's.

The one rule: ranges are sorted, apart from each other, and neighbours of one mode are one range, as fcntl(2) has it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schema.requests import LockMode

END: Final = 2**63
"""Past the last byte that any file can have: where a lock of length 0 ends."""


class Range(NamedTuple):
    """Bytes from `start` up to but without `end`, locked in `mode` (never UNLOCK)."""

    start: int
    end: int
    mode: LockMode

    @property
    def length(self) -> int:
        """In the words of fcntl(2): 0 reaches to the end of the file, however it grows."""
        return 0 if self.end >= END else self.end - self.start


def changed(ranges: tuple[Range, ...], mode: LockMode, start: int, length: int) -> tuple[Range, ...]:
    """`ranges` after `length` bytes (0: all) from `start` were locked in `mode`, or unlocked."""
    end = start + length if length else END
    pieces = []
    for old in ranges:
        if old.start < start:
            pieces.append(Range(old.start, min(old.end, start), old.mode))
        if old.end > end:
            pieces.append(Range(max(old.start, end), old.end, old.mode))
    if mode is not LockMode.UNLOCK:
        pieces.append(Range(start, end, mode))
    merged: list[Range] = []
    for piece in sorted(pieces):
        if merged and merged[-1].end == piece.start and merged[-1].mode is piece.mode:
            merged[-1] = Range(merged[-1].start, piece.end, piece.mode)
        else:
            merged.append(piece)
    return tuple(merged)
