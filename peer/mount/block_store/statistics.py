"""What a block store has done, for the metrics page and for whoever asks.

The one rule: numbers only; nothing in here names a file.
"""

from __future__ import annotations

import threading
from typing import Final

import msgspec


class StoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Since the store was opened by this process; `disk_bytes` alone is about all processes."""

    hits: int
    """Reads that were answered."""
    misses: int
    """Reads that lacked a block."""
    refused: int
    """Blocks that did not open: altered, torn, cut or from elsewhere. They were thrown away."""
    written: int
    """Blocks that were kept."""
    dropped: int
    """Blocks that were not kept: disk full, store full, not writable."""
    evicted: int
    """Containers that were removed to make room."""
    disk_bytes: int
    """Bytes on disk: an estimate that rather says too much."""


class Counters:
    """The numbers while they grow; safe in threads."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._hits = 0
        self._misses = 0
        self._refused = 0
        self._written = 0
        self._dropped = 0

    def add(self, *, hits: int = 0, misses: int = 0, refused: int = 0, written: int = 0, dropped: int = 0) -> None:
        """Count further events."""
        with self._lock:
            self._hits += hits
            self._misses += misses
            self._refused += refused
            self._written += written
            self._dropped += dropped

    def snapshot(self, *, evicted: int, disk_bytes: int) -> StoreStatistics:
        """The numbers as they are now, and two that others count."""
        with self._lock:
            return StoreStatistics(
                hits=self._hits,
                misses=self._misses,
                refused=self._refused,
                written=self._written,
                dropped=self._dropped,
                evicted=evicted,
                disk_bytes=disk_bytes,
            )
