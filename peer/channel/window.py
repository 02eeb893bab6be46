"""How much one client has under way at a time: requests, and bytes of bulk data.

The one rule: the bytes under way fit into what the broker holds for one connection, so that bulk is slowed down here,
where it costs nothing, and not refused there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from schema.limits import MAX_IN_FLIGHT

BULK_BYTES: Final = 8 * 1024 * 1024
"""Bytes of file data under way: 80 MB/s at a round trip of 100 ms. The broker spools 32 MiB a connection for 5 s."""
REQUESTS: Final = MAX_IN_FLIGHT - 32
"""Requests under way; the rest up to the protocol's bound is for what nobody waits for."""
_LOOK_UP: Final = 0.1
"""Seconds between two looks at whether the caller was killed."""


class Window:
    """Thread-safe; callers wait in `enter`."""

    def __init__(self, requests: int = REQUESTS, size: int = BULK_BYTES) -> None:
        self._requests = requests
        self._bytes = size
        self._room = threading.Condition(threading.Lock())
        self._waiting = 0

    def enter(self, size: int, seconds: float, abandoned: Callable[[], bool]) -> bool:
        """Take room for one request of `size` bytes, then `leave`.

        Waits for it up to `seconds`, and as long as `abandoned` says no; False when there was none.
        """
        with self._room:
            if self._fits(size) and not self._waiting:
                self._take(size)
                return True
            self._waiting += 1
            try:
                return self._wait(size, time.monotonic() + seconds, abandoned)
            finally:
                self._waiting -= 1

    def leave(self, size: int) -> None:
        """Give back what `enter` took."""
        with self._room:
            self._requests += 1
            self._bytes += size
            if self._waiting:
                self._room.notify_all()

    def _wait(self, size: int, deadline: float, abandoned: Callable[[], bool]) -> bool:
        while not self._fits(size):
            left = deadline - time.monotonic()
            if left <= 0 or abandoned():
                return False
            self._room.wait(min(left, _LOOK_UP))
        self._take(size)
        return True

    def _fits(self, size: int) -> bool:
        return self._requests > 0 and self._bytes >= size

    def _take(self, size: int) -> None:
        self._requests -= 1
        self._bytes -= size
