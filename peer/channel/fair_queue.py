"""Work of many clients for a few threads, sans-IO: each client gets its turn, and none more than its share.

The one rule: what one client queues or runs never takes the room that is left for another.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Bounds of what is queued or runs: items and bytes, of all clients and of one; and how many of one run at once."""

    items: int
    bytes: int
    items_of_one: int
    bytes_of_one: int
    running_of_one: int


@dataclass(slots=True)
class _Line(Generic[T]):
    queued: deque[tuple[int, T]] = field(default_factory=deque)
    items: int = 0
    bytes: int = 0
    running: int = 0


class FairQueue(Generic[K, T]):
    """First come, first served within a client, and in turn between them. Not thread-safe."""

    def __init__(self, shares: Shares) -> None:
        self._shares: Final = shares
        self._lines: dict[K, _Line[T]] = {}
        self._turns: OrderedDict[K, None] = OrderedDict()
        """Clients with something queued that may run, whose turn is next first."""
        self.items = 0
        """Queued or running, of all clients."""
        self.bytes = 0

    def offer(self, client: K, size: int, item: T) -> bool:
        """Queue `item` of `size` bytes. False, and nothing queued, when a bound forbids it."""
        shares = self._shares
        line = self._lines.get(client)
        items, held = (line.items, line.bytes) if line else (0, 0)
        if (
            self.items >= shares.items
            or items >= shares.items_of_one
            or self.bytes + size > shares.bytes
            or held + size > shares.bytes_of_one
        ):
            return False
        if line is None:
            line = self._lines[client] = _Line()
        line.queued.append((size, item))
        self._charge(line, 1, size)
        self._line_up(client, line)
        return True

    def take(self) -> tuple[K, int, T] | None:
        """The next item to do, with its client and size: say `done` afterwards. None when no client may run more."""
        if not self._turns:
            return None
        client, _ = self._turns.popitem(last=False)
        line = self._lines[client]
        size, item = line.queued.popleft()
        line.running += 1
        self._line_up(client, line)
        return client, size, item

    def done(self, client: K, size: int) -> None:
        """An item that was taken is done."""
        line = self._lines[client]
        line.running -= 1
        self._charge(line, -1, -size)
        if line.items:
            self._line_up(client, line)
        else:
            del self._lines[client]

    def _charge(self, line: _Line[T], items: int, size: int) -> None:
        line.items += items
        line.bytes += size
        self.items += items
        self.bytes += size

    def _line_up(self, client: K, line: _Line[T]) -> None:
        if line.queued and line.running < self._shares.running_of_one:
            self._turns.setdefault(client)
