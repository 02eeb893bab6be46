"""Memory that is used over and over.

The one rule: a buffer is handed out again only when nobody holds a view of it. Fresh memory for each large read would
come from the kernel and go back to it, page by page, with every other thread stopped: that cost half of the speed.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_SMALL: Final = 64 * 1024
"""Below this malloc(3) keeps memory itself."""


class BufferPool:
    """Up to `count` buffers of `size` bytes each; safe in threads, since a deque's ends are."""

    def __init__(self, size: int, count: int) -> None:
        self._size: Final = size
        self._count: Final = count
        self._buffers: Final[deque[bytearray]] = deque()

    def take(self, size: int) -> memoryview:
        """A view of `size` writable bytes that hold anything. Whoever keeps it, or a part of it, owns the memory."""
        if not _SMALL < size <= self._size:
            return memoryview(bytearray(size))
        for _ in range(len(self._buffers)):
            try:
                buffer = self._buffers.popleft()
            except IndexError:  # other threads have taken them all
                break
            free = _is_free(buffer)
            view = memoryview(buffer)[:size] if free else None
            self._buffers.append(buffer)
            if view is not None:
                return view
        if len(self._buffers) >= self._count:
            return memoryview(bytearray(size))
        buffer = bytearray(self._size)
        view = memoryview(buffer)[:size]
        self._buffers.append(buffer)
        return view


def _is_free(buffer: bytearray) -> bool:
    try:
        buffer.append(0)
    except BufferError:  # a view of it exists
        return False
    buffer.pop()
    return True
