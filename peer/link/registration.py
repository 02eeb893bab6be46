"""One lane's standing with the broker, sans-IO: asks to be registered, renews its token, notices silence.

The one rule: a lane sends envelopes only while it is registered; whatever makes the registration doubtful (an error
that says so, silence for three heartbeats) leads back to asking, with a pause that grows.

    UNREGISTERED --connected/retry--> ASKING --AuthResponse--> REGISTERED --silence, Error--> UNREGISTERED
"""

from __future__ import annotations

import enum
from typing import Final

from schema.envelope import NO_TOKEN
from schema.relay_messages import AuthRequest, AuthResponse, Error, Ping, Pong, RelayErrorCode, RelayMessage

SILENT_HEARTBEATS: Final = 3
"""Heartbeats without a word from the broker after which a lane counts as broken."""
FIRST_RETRY: Final = 0.25
LONGEST_RETRY: Final = 5.0
"""Seconds between two AuthRequests without an answer: doubled from the first to the longest."""
MIN_TOKEN_LIFE: Final = 1.0

_LOST: Final = frozenset({RelayErrorCode.UNREGISTERED, RelayErrorCode.BAD_TOKEN})


class Standing(enum.Enum):
    """Where a lane is between no connection and being served."""

    UNREGISTERED = "unregistered"
    ASKING = "asking"
    REGISTERED = "registered"


class Registration:
    """The state of one lane. Times are monotonic seconds; nothing here sends: what is to be sent is returned."""

    def __init__(self, instance: int, lane: int, software: str) -> None:
        self._auth_request: Final = AuthRequest(instance=instance, lane=lane, software=software)
        self.standing = Standing.UNREGISTERED
        self.token = NO_TOKEN
        self.answer: AuthResponse | None = None
        """The broker's last answer: its limits and its name."""
        self.refusal: Error | None = None
        """Why the last AuthRequest was refused, if it was."""
        self._retry_after = FIRST_RETRY
        self._asked_at = 0.0
        self._heard_at = 0.0
        self._pinged_at = 0.0
        self._echo = 0

    def tick(self, now: float) -> list[RelayMessage]:
        """What to send at `now`. To be called several times a second."""
        if self.standing is Standing.UNREGISTERED:
            return self._ask(now)
        if self.standing is Standing.ASKING:
            if now - self._asked_at < self._retry_after:
                return []
            self._retry_after = min(2 * self._retry_after, LONGEST_RETRY)
            return self._ask(now)
        if self.silent(now):
            self.lost()
            return self._ask(now)
        if now - self._pinged_at >= self._heartbeat:
            self._pinged_at = now
            self._echo += 1
            return [Ping(self._echo)]
        return []

    def next_tick(self, now: float) -> float:
        """Seconds from `now` until `tick` may have something to send."""
        if self.standing is Standing.UNREGISTERED:
            return 0.0
        if self.standing is Standing.ASKING:
            return max(0.0, self._asked_at + self._retry_after - now)
        return max(0.0, self._pinged_at + self._heartbeat - now)

    def receive(self, message: RelayMessage, now: float) -> bool:
        """Take a message of the broker. True when it made the lane registered that was not."""
        self.heard(now)
        if isinstance(message, AuthResponse):
            fresh = self.standing is not Standing.REGISTERED
            self.standing = Standing.REGISTERED
            self.answer, self.refusal = message, None
            self.token = message.token
            self._retry_after = FIRST_RETRY
            self._pinged_at = now
            return fresh
        if isinstance(message, Pong) and self.standing is Standing.REGISTERED and message.echo == self._echo:
            self.token = message.token
        elif isinstance(message, Error) and message.code in _LOST and self.standing is Standing.REGISTERED:
            self.lost()
        elif isinstance(message, Error) and not message.address and self.standing is Standing.ASKING:
            self.refusal = message
            self._retry_after = max(self._retry_after, message.retry_after)
        return False

    def heard(self, now: float) -> None:
        """Any frame from the broker proves that it is there."""
        self._heard_at = now

    def silent(self, now: float) -> bool:
        """Whether the broker has said nothing for so long that the connection must be doubted."""
        return self.standing is Standing.REGISTERED and now - self._heard_at > SILENT_HEARTBEATS * self._heartbeat

    def lost(self) -> None:
        """Forget the token and begin again."""
        self.standing = Standing.UNREGISTERED
        self.token = NO_TOKEN

    @property
    def _heartbeat(self) -> float:
        """Seconds between two pings: as the broker says, sooner where its tokens would not live as long."""
        if self.answer is None:
            return LONGEST_RETRY
        return min(self.answer.heartbeat_interval, max(MIN_TOKEN_LIFE, self.answer.expires_in / 3))

    def _ask(self, now: float) -> list[RelayMessage]:
        self.standing = Standing.ASKING
        self._asked_at = self._heard_at = now
        return [self._auth_request]
