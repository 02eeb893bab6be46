"""How much one peer may send: token buckets for messages and for bytes.

The one rule: a peer within its sustained rate is never refused, and no peer gets ahead by more than the burst.
"""

from __future__ import annotations

from typing import Final


class _Bucket:
    __slots__ = ("bytes", "messages", "since")

    def __init__(self, messages: float, size: float, since: float) -> None:
        self.messages = messages
        self.bytes = size
        self.since = since


class Quota:
    """The buckets of every peer that sent something lately."""

    def __init__(self, messages_per_second: float, bytes_per_second: float, burst_seconds: float) -> None:
        self._messages_rate: Final = float(messages_per_second)
        self._bytes_rate: Final = float(bytes_per_second)
        self._messages_burst: Final = max(1.0, messages_per_second * burst_seconds)
        self._bytes_burst: Final = max(1.0, bytes_per_second * burst_seconds)
        self._buckets: dict[str, _Bucket] = {}

    def charge(self, peer: str, size: int, now: float) -> float:
        """Charge `peer` one message of `size` bytes: 0.0 when it may pass, else the seconds after which it may.

        A message larger than the whole burst passes when the bucket is full, and leaves a debt.
        """
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = _Bucket(self._messages_burst, self._bytes_burst, now)
        else:
            passed = now - bucket.since
            if passed > 0:
                bucket.since = now
                bucket.messages = min(self._messages_burst, bucket.messages + passed * self._messages_rate)
                bucket.bytes = min(self._bytes_burst, bucket.bytes + passed * self._bytes_rate)
        wanted = min(float(size), self._bytes_burst)
        if bucket.messages >= 1.0 and bucket.bytes >= wanted:
            bucket.messages -= 1.0
            bucket.bytes -= size
            return 0.0
        return max((1.0 - bucket.messages) / self._messages_rate, (wanted - bucket.bytes) / self._bytes_rate, 0.001)

    def sweep(self, now: float) -> None:
        """Forget the buckets that must be full again by now: a new one would say the same."""
        for peer, bucket in list(self._buckets.items()):
            passed = now - bucket.since
            if (
                bucket.messages + passed * self._messages_rate >= self._messages_burst
                and bucket.bytes + passed * self._bytes_rate >= self._bytes_burst
            ):
                del self._buckets[peer]

    def __len__(self) -> int:
        """Peers with a bucket now."""
        return len(self._buckets)
