"""A message on its way out of the relay, and how sending it went.

The one rule: a message remembers who sent it and where to, so that whatever becomes of it can be said to its sender.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol


class Body(Protocol):
    """A frame's content as the relay sees it: something with a length. Large ones stay in ZeroMQ's own memory."""

    def __len__(self) -> int:
        """Bytes."""


class Send(NamedTuple):
    """Frames ``(address, header, body)`` for one connection."""

    route: bytes
    frames: tuple[bytes, bytes, Body]
    sender: bytes | None = None
    """The route it came from; None when the broker itself is speaking."""
    address: bytes = b""
    """The destination as its sender wrote it."""


class Outcome(enum.Enum):
    """What the socket said to a message."""

    SENT = enum.auto()
    FULL = enum.auto()
    """The connection takes no more now."""
    GONE = enum.auto()
    """There is no such connection any more."""
