"""The blocks of one file version in their containers: sealed on the way in, opened on the way out.

The one rule: a block that does not open is emptied and reported, and no byte of it gets out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from peer.errors import AuthenticationFailed
from peer.mount.block_store.buffers import BufferPool
from peer.mount.block_store.containers import EMPTY, Containers, touch, write_slot
from peer.mount.block_store.holes import written
from peer.mount.block_store.layout import BLOCK_SIZE, OVERHEAD, SALT_SIZE, SLOT_SIZE, Layout, Run
from peer.mount.block_store.sealing import SealedVersion
from peer.session.primitives import Buffer

_ATTEMPTS: Final = 3
_SLOTS: Final = BufferPool(SLOT_SIZE, count=8)


class Shelf:
    """Where the blocks of a file version stand. Every method raises OSError if the disk does."""

    __slots__ = ("_containers", "_sealed", "layout")

    def __init__(self, containers: Containers, sealed: SealedVersion, layout: Layout) -> None:
        self._containers: Final = containers
        self._sealed: Final = sealed
        self.layout: Final = layout

    def read(self, run: Run, target: memoryview, now: float) -> int:
        """Put the blocks of `run` into `target`, padding included; returns how many there were before one is missing.

        Notes the use at `now`, in seconds since the epoch. Raises `AuthenticationFailed` for a block that does not
        open; it is missing from then on.
        """
        name = self._sealed.container(run.segment)
        with self._containers.reading(name) as descriptor:
            if descriptor is None:
                return 0
            slot = _SLOTS.take(SLOT_SIZE)
            for done, index in enumerate(run.blocks):
                begin = done * BLOCK_SIZE
                offset, length = self.layout.slot(index)
                try:
                    content = target[begin : begin + length - OVERHEAD]
                    opened = self._open(descriptor, index, offset, slot[:length], content)
                except AuthenticationFailed:
                    self._containers.empty_slot(name, offset, length)
                    raise
                if not opened:
                    if slot[:SALT_SIZE] == EMPTY:
                        self._show_empty(descriptor, name, index)
                    return done
            touch(descriptor, now)
        return len(run.blocks)

    def held(self, run: Run) -> list[int]:
        """Which blocks of `run` are there, in order, without a look at what is in them."""
        shift = run.segment * self.layout.segment_blocks
        with self._containers.reading(self._sealed.container(run.segment)) as descriptor:
            if descriptor is None:
                return []
            slots = range(run.blocks.start - shift, run.blocks.stop - shift)
            return [slot + shift for slot in written(descriptor, slots, sum(self.layout.slot(run.blocks[-1])))]

    def write(self, run: Run, data: memoryview, random: Callable[[int], bytes]) -> None:
        """Seal the blocks of `run`; `data` begins with the first of them."""
        with self._containers.writing(self._sealed.container(run.segment)) as descriptor:
            for position, index in enumerate(run.blocks):
                content = data[position * BLOCK_SIZE : position * BLOCK_SIZE + self.layout.length(index)]
                salt = random(SALT_SIZE)
                sealed = self._sealed.seal(index, salt, self._filled_up(content, index))
                write_slot(descriptor, self.layout.slot(index)[0], salt, sealed)

    def remove(self) -> None:
        """Take all of it away."""
        for segment in range(self.layout.segments):
            self._containers.remove(self._sealed.container(segment))

    def _show_empty(self, descriptor: int, name: str, index: int) -> None:
        """Have a slot without a salt that looks written, as where a copy was made without holes, look empty."""
        slot = index % self.layout.segment_blocks
        offset, length = self.layout.slot(index)
        if slot in written(descriptor, range(slot, slot + 1), offset + length):
            self._containers.empty_slot(name, offset, length)

    def _filled_up(self, content: memoryview, index: int) -> Buffer:
        padded = self.layout.padded(index)
        if len(content) == padded:
            return content
        whole = bytearray(padded)
        whole[: len(content)] = content
        return whole

    def _open(self, descriptor: int, index: int, offset: int, slot: memoryview, target: memoryview) -> bool:
        """Whether the slot of the block, which lies at `offset`, held it. Raises `AuthenticationFailed`."""
        previous = b""
        for _ in range(_ATTEMPTS):
            read = os.preadv(descriptor, [slot], offset)
            if read < len(slot):
                slot[read:] = bytes(len(slot) - read)  # One that was cut ends in zeros: it does not open.
            if slot[:SALT_SIZE] == EMPTY:
                return False
            try:
                self._sealed.open(index, slot, target)
            except AuthenticationFailed:
                # Another process may be writing it at this moment: then it reads differently the next time.
                if slot == previous:
                    raise
                previous = bytes(slot)
            else:
                return True
        return False
