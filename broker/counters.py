"""What the relay has counted so far, as plain numbers: the hot path adds, the metrics page reads.

The one rule: a counter's labels are codes and directions, never a name that another machine can choose.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Flow:
    """Messages and bytes of body that went one way."""

    messages: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one message of `size` bytes."""
        self.messages += 1
        self.bytes += size


@dataclass(slots=True)
class Counters:
    """Everything counted since the broker started."""

    to_agent: Flow = field(default_factory=Flow)
    to_client: Flow = field(default_factory=Flow)
    feed: Flow = field(default_factory=Flow)
    """Publications passed on to subscribers."""
    refused: Counter[str] = field(default_factory=Counter)
    """Frames refused, by the value of their `RelayErrorCode`, or ``not-authorised`` after a revocation."""
    feed_refused: Counter[str] = field(default_factory=Counter)
    """Publications and subscriptions refused, by reason."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages taken but not delivered: ``no-route``, ``congested``, ``no-subscriber-side``."""
    authentications: Counter[str] = field(default_factory=Counter)
    """ZAP answers: ``accepted`` or ``refused``."""
