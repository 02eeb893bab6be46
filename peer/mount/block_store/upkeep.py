"""The thread that counts what is on disk, and evicts what was not used for longest.

The one rule: it works behind the reads and writes, never in their way: they do not wait for it, and whatever it
removes they find missing and no more.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from peer.mount.block_store.containers import Containers
from peer.mount.block_store.eviction import Oldest, Watermarks
from peer.mount.block_store.usage import Usage

_log: Final = logging.getLogger(__name__)

RECOUNT_INTERVAL: Final = 3600.0
"""Seconds after which the bytes on disk are counted anew."""
SHRUNK_TIME: Final = 3600.0
"""Seconds for which a store stays small after the disk was full."""
FRUITLESS_PAUSE: Final = 5.0
"""Seconds of rest after a count in spite of which the store is still too large."""
IDLE_INTERVAL: Final = 10.0
"""Seconds after which a container that is not read any more is closed; at twice that it is."""
SHARD_PAUSE: Final = 0.001
"""Seconds between two shards of a count, so that other threads get their turn (a quarter of a second in all)."""
_JOIN_TIMEOUT: Final = 5.0


class Upkeep:
    """Keeps the containers within `max_bytes`, from `start` until `close`; `clock` gives seconds, `report` logs."""

    def __init__(
        self,
        containers: Containers,
        usage: Usage,
        max_bytes: int,
        clock: Callable[[], float],
        report: Callable[[OSError], None],
    ) -> None:
        self._containers: Final = containers
        self._usage: Final = usage
        self._max_bytes: Final = max_bytes
        self._clock: Final = clock
        self._report: Final = report
        self._shrunk_at: float | None = None
        self._room = 0
        self._wake: Final = threading.Event()
        self._closing: Final = threading.Event()
        self._shrinking: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="block-store-upkeep", daemon=True)
        self.watermarks = Watermarks.of(max_bytes)
        self.evicted = 0
        """Containers that this process has evicted."""

    def start(self) -> None:
        """Begin; the first count is made at once, since a process that was killed may have left the number wrong."""
        self._thread.start()

    def evict(self, room: int) -> None:
        """The store is above its high mark, or has no room for `room` bytes: see to it, soon."""
        self._room = max(self._room, room)  # Between two threads one may get lost; he who needs it asks again.
        self._wake.set()

    def shrink(self) -> None:
        """The disk is full: give back a quarter of what the store holds, and stay below for a while."""
        self._shrinking.set()
        self._wake.set()

    def close(self) -> None:
        """End the thread; a count that runs is given up."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_TIMEOUT)
        self._containers.close()
        self._shared()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                enough = self.tidy()
            except OSError as error:
                self._report(error)
                enough = False
            if not enough:
                self._closing.wait(FRUITLESS_PAUSE)
            self._rest()

    def _rest(self) -> None:
        """Wait until there is something to do, and meanwhile see to what is open."""
        for _ in range(int(RECOUNT_INTERVAL / IDLE_INTERVAL)):
            if self._wake.wait(IDLE_INTERVAL):
                break
            self._containers.close_idle()
        self._wake.clear()

    def tidy(self) -> bool:
        """Count, and evict what is too much; left to the other process where one is at it already.

        Whether the store is now as small as it should be. Raises OSError.
        """
        with self._alone() as alone:
            if not alone:
                self._shared()
                return True
            shrinking = self._shrinking.is_set()
            self._shrinking.clear()  # What asks from here on is for the next count: this one may have passed its files.
            before = self._shared()
            found = sum(size for _name, size, _used in self._all())
            if self._closing.is_set():
                return True
            self._set_watermarks(found, shrinking=shrinking)
            marks = self.watermarks
            room, self._room = self._room, 0
            most = min(marks.high, marks.full - room) if room <= marks.full else marks.high
            if found > most:
                found -= self._evict(found - min(marks.low, most))
            self._usage.counted(before, found)
            return found <= most

    def _shared(self) -> int:
        try:
            return self._usage.share()
        except OSError as error:
            # The disk may be so full that not even a number can be written: all the more we are to make room.
            self._report(error)
            return 0

    def _set_watermarks(self, found: int, *, shrinking: bool) -> None:
        if shrinking:
            self._shrunk_at = self._clock()
            # Seven eighths of this, the low mark, are three quarters of what was found.
            self.watermarks = Watermarks.of(min(self.watermarks.full, found * 6 // 7))
        elif self._shrunk_at is not None and not 0 <= self._clock() - self._shrunk_at < SHRUNK_TIME:
            self._shrunk_at = None
            self.watermarks = Watermarks.of(self._max_bytes)

    def _evict(self, wanted: int) -> int:
        """Remove the oldest containers that make `wanted` bytes; returns how many bytes went."""
        oldest = Oldest(wanted)
        for name, size, used in self._all():
            oldest.offer(name, size, used)
        freed = 0
        for name, size, used in oldest.chosen():
            # Used since it was listed: then it is not among the oldest any more.
            if self._containers.last_use(name) == used and self._containers.remove(name):
                freed += size
                self.evicted += 1
        _log.debug("evicted %d bytes from the block store", freed)
        return freed

    def _all(self) -> Iterator[tuple[str, int, int]]:
        for shard in self._containers.shards():
            yield from self._containers.listed(shard)
            if self._closing.wait(SHARD_PAUSE):
                return

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other process is tidying."""
        descriptor = self._containers.book("tidying")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        else:
            alone = True
        try:
            yield alone
        finally:
            os.close(descriptor)
