"""Which counters of a session have been seen: the sliding window of RFC 6479.

The one rule: a counter is accepted once. One that is older than the window counts as seen, so memory is fixed.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 8192
"""Counters, the newest included, within which messages may overtake each other."""

_BLOCK_BITS: Final = 64
# One block more than the window holds: the newest block fills up while the oldest still counts (RFC 6479 section 2).
_BLOCKS: Final = WINDOW // _BLOCK_BITS + 1


class ReplayWindow:
    """A ring of bitmap blocks. Not safe for threads by itself: `Session` guards it."""

    __slots__ = ("_blocks", "_newest")

    def __init__(self) -> None:
        self._blocks = [0] * _BLOCKS
        self._newest = 0

    def fresh(self, counter: int) -> bool:
        """Whether `counter` would be accepted now. Changes nothing: what is not authenticated moves no window."""
        if counter > self._newest:
            return True
        if self._newest - counter >= WINDOW:
            return False
        block, bit = divmod(counter, _BLOCK_BITS)
        return not self._blocks[block % _BLOCKS] >> bit & 1

    def accept(self, counter: int) -> bool:
        """Mark `counter`, of a message that authenticated, as seen. False, with no change, if it is not fresh."""
        if not self.fresh(counter):
            return False
        block, bit = divmod(counter, _BLOCK_BITS)
        if counter > self._newest:
            reached = self._newest // _BLOCK_BITS
            for passed in range(max(reached, block - _BLOCKS) + 1, block + 1):
                self._blocks[passed % _BLOCKS] = 0
            self._newest = counter
        self._blocks[block % _BLOCKS] |= 1 << bit
        return True
