"""The store itself: blocks of file versions, put and got; whatever goes wrong on the disk is a block that is missing.

The one rule: what `read` returns was sealed by `write` for that place of that version, or `read` returns None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from peer.errors import AuthenticationFailed
from peer.mount.block_store.buffers import BufferPool
from peer.mount.block_store.containers import Containers
from peer.mount.block_store.layout import BLOCK_SIZE, Layout, Run
from peer.mount.block_store.outage import FULL, Outage
from peer.mount.block_store.processor import best_cipher
from peer.mount.block_store.sealing import Sealer
from peer.mount.block_store.shelf import Shelf
from peer.mount.block_store.statistics import Counters, StoreStatistics
from peer.mount.block_store.upkeep import Upkeep
from peer.mount.block_store.usage import Usage
from peer.session.primitives import Buffer, Cipher
from schema.attributes import FileVersion
from schema.limits import MAX_DATA


class BlockStore:
    """Sealed blocks in `directory`, `max_bytes` of disk at most (see the package for the slack); safe in threads.

    `secret` (32 bytes) is the client's; `realm` names the agent (its identity key), so that what one agent says of
    its files is never found under another's. `clock` gives seconds since the epoch. What was sealed with another
    `cipher` is not found. No method raises OSError.
    """

    def __init__(
        self,
        directory: Path,
        secret: bytes,
        realm: bytes,
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        cipher: type[Cipher] | None = None,
    ) -> None:
        self._sealer: Final = Sealer(secret, realm, cipher or best_cipher())
        self._containers: Final = Containers(os.fspath(directory))
        self._usage: Final = Usage(self._containers)
        self._clock: Final = clock
        self._random: Final = random
        self._counters: Final = Counters()
        self._buffers: Final = BufferPool(MAX_DATA + 2 * BLOCK_SIZE, count=8)
        self._outage: Final = Outage(os.fspath(directory), clock)
        self._upkeep: Final = Upkeep(self._containers, self._usage, max_bytes, clock, self._outage.report)
        try:
            self._containers.prepare()
        except OSError as error:
            self._outage.begin(error)
        self._upkeep.start()

    def read(self, version: FileVersion, volume: int, offset: int, size: int) -> memoryview | None:
        """Content from `offset` on, to the end at most; None if any is lacking. Copy what stays: a view pins 1 MiB."""
        shelf = self._shelf(version, volume)
        wanted = shelf.layout.covering(offset, size)
        content = self._read_blocks(shelf, wanted)
        if content is None:
            self._counters.add(misses=1)
            return None
        self._counters.add(hits=1)
        return content[offset - wanted.start * BLOCK_SIZE :][:size] if wanted else content

    def missing(self, version: FileVersion, volume: int, offset: int, size: int) -> list[range]:
        """The blocks that `read` would lack, by the holes: what was torn or altered shows as held until it was read."""
        shelf = self._shelf(version, volume)
        lacking: list[range] = []
        for run in shelf.layout.runs(shelf.layout.covering(offset, size)):
            start = run.blocks.start
            for held in [*self._held(shelf, run), run.blocks.stop]:
                if start < held:
                    if lacking and lacking[-1].stop == start:
                        start = lacking.pop().start
                    lacking.append(range(start, held))
                start = held + 1
        return lacking

    def write(self, version: FileVersion, volume: int, block_index: int, data: Buffer) -> bool:
        """Keep whole blocks, from `block_index` on; False if they were not all kept, then go on without.

        Raises ValueError for data that does not end where a block of this file does.
        """
        shelf = self._shelf(version, volume)
        layout = shelf.layout
        view = memoryview(data).cast("B")
        blocks = range(block_index, block_index - (-len(view) // BLOCK_SIZE))
        if block_index < 0 or len(view) != min(blocks.stop * BLOCK_SIZE, layout.size) - block_index * BLOCK_SIZE:
            raise ValueError(
                f"{len(view)} bytes from block {block_index} on are no whole blocks of {layout.size} bytes"
            )
        if self._outage.lasts or not self._put(shelf, blocks, view):
            self._counters.add(dropped=len(blocks))
            return False
        self._counters.add(written=len(blocks))
        return True

    def cached_bytes(self, version: FileVersion, volume: int) -> int:
        """Bytes of the file's content that are held, by the holes (see `missing`)."""
        shelf = self._shelf(version, volume)
        return sum(shelf.layout.length(index) for run in shelf.layout.runs() for index in self._held(shelf, run))

    def complete(self, version: FileVersion, volume: int) -> bool:
        """Whether all of the file is held, by its salts (see `missing`). Looks no further than the first gap."""
        shelf = self._shelf(version, volume)
        return all(len(self._held(shelf, run)) == len(run.blocks) for run in shelf.layout.runs())

    def forget(self, version: FileVersion, volume: int) -> None:
        """Give back the space of a version that no file has any more; never needed for correctness."""
        try:
            self._shelf(version, volume).remove()
        except OSError as error:
            self._outage.report(error)

    def statistics(self) -> StoreStatistics:
        """What happened since this store was opened, and the bytes on disk of all who share it."""
        return self._counters.snapshot(evicted=self._upkeep.evicted, disk_bytes=self._usage.estimate)

    def close(self) -> None:
        """End the upkeep; what is on disk stays for the next time."""
        self._upkeep.close()

    def _shelf(self, version: FileVersion, volume: int) -> Shelf:
        return Shelf(self._containers, self._sealer.version(volume, version), Layout.of(version.size))

    def _read_blocks(self, shelf: Shelf, wanted: range) -> memoryview | None:
        """The content of the wanted blocks, None if one is missing."""
        layout = shelf.layout
        if not wanted:
            return memoryview(b"")
        before_last = (len(wanted) - 1) * BLOCK_SIZE
        content = self._buffers.take(before_last + layout.padded(wanted[-1]))
        try:
            for run in layout.runs(wanted):
                found = shelf.read(run, content[(run.blocks.start - wanted.start) * BLOCK_SIZE :], self._clock())
                if found < len(run.blocks):
                    return None
        except AuthenticationFailed:
            self._counters.add(refused=1)
            return None
        except OSError as error:
            self._outage.report(error)
            return None
        return content[: before_last + layout.length(wanted[-1])]

    def _held(self, shelf: Shelf, run: Run) -> list[int]:
        try:
            return shelf.held(run)
        except OSError as error:
            self._outage.report(error)
            return []

    def _put(self, shelf: Shelf, blocks: range, data: memoryview) -> bool:
        marks = self._upkeep.watermarks
        size = shelf.layout.disk_bytes(blocks)
        try:
            if not self._usage.reserve(size, marks.full, marks.batch):
                self._upkeep.evict(size)
                return False
            try:
                for run in shelf.layout.runs(blocks):
                    shelf.write(run, data[(run.blocks.start - blocks.start) * BLOCK_SIZE :], self._random)
            finally:
                self._usage.wrote(size, marks.batch)
        except OSError as error:
            self._outage.begin(error)
            if error.errno in FULL:
                self._upkeep.shrink()
            return False
        if self._usage.estimate > marks.high:
            self._upkeep.evict(0)
        return True
