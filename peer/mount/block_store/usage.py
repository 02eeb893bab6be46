"""How many bytes the store holds, over all processes: a shared number in a file, and what this process has not added.

The one rule: it never says too little, but for what a killed process had not added yet (see `wrote`). Nothing is
subtracted when blocks go: the next count sets it right.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from peer.mount.block_store.containers import Containers

_NAME: Final = "usage"
_NUMBER: Final = struct.Struct("<Q")
_MOST: Final = (1 << 64) - 1
_LOCK_TRIES: Final = 20
_LOCK_PAUSE: Final = 0.0005
"""Seconds between two tries: ten milliseconds in all."""


class Usage:
    """The number beside `containers`. Every method raises OSError if the disk does; safe in threads."""

    def __init__(self, containers: Containers) -> None:
        self._containers: Final = containers
        self._lock: Final = threading.Lock()
        self._shared = 0
        self._own = 0
        self._under_way = 0

    @property
    def estimate(self) -> int:
        """Bytes on disk, as far as this process knows."""
        with self._lock:
            return self._known

    def reserve(self, size: int, limit: int, batch: int) -> bool:
        """Whether this process may write `size` bytes within `limit`; then it is to call `wrote`, whatever happens."""
        with self._lock:
            unsure = self._own + self._under_way + size >= batch or self._known + size > limit
            # What cannot be accounted for is not written.
            if unsure and (not self._share() or self._known + size > limit):
                return False
            self._under_way += size
            return True

    def wrote(self, size: int, batch: int) -> None:
        """What was reserved is written, or was tried. The others learn of it when `batch` bytes came together.

        Not before: a count that looks between the reservation and the write would take it for given and not find it.
        """
        with self._lock:
            self._under_way -= size
            self._own += size
            if self._own >= batch:
                with contextlib.suppress(OSError):  # the next reservation meets it too, and reports it
                    self._share()

    def share(self) -> int:
        """Add what this process wrote, learn what others did; returns what all have shared so far."""
        with self._lock:
            self._share()
            return self._shared

    def counted(self, before: int, found: int) -> None:
        """A count that began when `before` was shared found `found` bytes; what was added meanwhile stays added."""
        with self._lock:
            self._change(lambda shared: found + max(shared - before, 0))

    @property
    def _known(self) -> int:
        return self._shared + self._own + self._under_way

    def _share(self) -> bool:
        shared = self._change(lambda shared: shared + self._own)
        if shared:
            self._own = 0
        return shared

    def _change(self, change: Callable[[int], int]) -> bool:
        """Whether the number was changed; another process had it locked all the time if not."""
        descriptor = self._containers.book(_NAME)
        try:
            if not _locked(descriptor):
                return False
            read = os.pread(descriptor, _NUMBER.size, 0)
            shared = min(change(_NUMBER.unpack(read)[0] if len(read) == _NUMBER.size else 0), _MOST)
            os.pwrite(descriptor, _NUMBER.pack(shared), 0)
        finally:
            os.close(descriptor)
        self._shared = shared
        return True


def _locked(descriptor: int) -> bool:
    # Others hold it for microseconds, unless they were stopped while they did.
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        else:
            return True
    return False
