"""Temporary storage for messages that their connection does not take now.

The one rule: it is bounded, for each connection and altogether, in messages and in bytes, and nothing stays long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from broker.outgoing import Send

_OVERHEAD: Final = 512
"""Bytes charged for a message beside its body: what the objects around it take."""


class _Queue:
    __slots__ = ("bytes", "sends")

    def __init__(self) -> None:
        self.sends: deque[tuple[float, int, Send]] = deque()
        """Each with its deadline and the bytes charged."""
        self.bytes = 0


class Spool:
    """A first-in-first-out queue for each connection that is behind."""

    def __init__(self, route_messages: int, route_bytes: int, total_bytes: int, seconds: float) -> None:
        """The bounds of one route and of all together; a message is kept for `seconds`."""
        self._route_messages: Final = route_messages
        self._route_bytes: Final = route_bytes
        self._total_bytes: Final = total_bytes
        self._seconds: Final = seconds
        self._queues: dict[bytes, _Queue] = {}
        self.bytes = 0
        """Bytes charged now, for all routes."""

    def offer(self, send: Send, now: float) -> bool:
        """Keep `send` behind what its route has waiting already. False, and nothing kept, when a bound forbids it."""
        charged = len(send.frames[2]) + _OVERHEAD
        queue = self._queues.get(send.route)
        held = queue.bytes if queue else 0
        if (
            self.bytes + charged > self._total_bytes
            or (queue is not None and held + charged > self._route_bytes)
            or (queue is not None and len(queue.sends) >= self._route_messages)
        ):
            return False
        if queue is None:
            queue = self._queues[send.route] = _Queue()
        queue.sends.append((now + self._seconds, charged, send))
        queue.bytes += charged
        self.bytes += charged
        return True

    def holds(self, route: bytes) -> bool:
        """Is anything waiting for `route`? Then whatever comes next must wait behind it."""
        return route in self._queues

    @property
    def routes(self) -> list[bytes]:
        """The routes that something is waiting for."""
        return list(self._queues)

    def first(self, route: bytes) -> Send | None:
        """What has waited longest for `route`."""
        queue = self._queues.get(route)
        return queue.sends[0][2] if queue else None

    def taken(self, route: bytes) -> None:
        """`first(route)` was delivered."""
        queue = self._queues[route]
        _, charged, _ = queue.sends.popleft()
        self._release(route, queue, charged)

    def discard(self, route: bytes) -> list[Send]:
        """Everything that waited for `route`, which is no longer kept."""
        queue = self._queues.pop(route, None)
        if queue is None:
            return []
        self.bytes -= queue.bytes
        return [send for _, _, send in queue.sends]

    def expire(self, now: float) -> list[Send]:
        """Everything whose time is over, which is no longer kept."""
        expired: list[Send] = []
        for route, queue in list(self._queues.items()):
            while queue.sends and queue.sends[0][0] <= now:
                _, charged, send = queue.sends.popleft()
                expired.append(send)
                self._release(route, queue, charged)
        return expired

    def _release(self, route: bytes, queue: _Queue, charged: int) -> None:
        queue.bytes -= charged
        self.bytes -= charged
        if not queue.sends:
            del self._queues[route]
