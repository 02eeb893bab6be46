"""One lane's standing with the broker, sans-IO: asks to be registered, renews its token, notices silence.

The one rule: a lane sends envelopes only while it is registered; whatever makes the registration doubtful (the end of
its connection, an error that says so, silence for three heartbeats) leads back to asking.

    APART --connected--> ASKING --AuthResponse--> REGISTERED
      ^                    | ^ no answer: again     | |
      |                    | +---Error, silence-----+ |
      +----disconnected----+-----disconnected---------+
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

    APART = "apart"
    ASKING = "asking"
    REGISTERED = "registered"


class Registration:
    """The state of one lane. Times are monotonic seconds; nothing here sends: what is to be sent is returned.

    Changed by the link's thread alone. Other threads read `standing` and then `token`, which is set before the lane
    counts as registered.
    """

    def __init__(self, instance: int, lane: int, software: str) -> None:
        self._auth_request: Final = AuthRequest(instance=instance, lane=lane, software=software)
        self.standing = Standing.APART
        self.token = NO_TOKEN
        self.answer: AuthResponse | None = None
        """The broker's last answer: its limits and its name."""
        self.refusal: Error | None = None
        """Why the lane is not registered, if anybody said."""
        self._retry_after = FIRST_RETRY
        self._asked_at = float("-inf")
        self._ask_at = 0.0
        self._heard_at = 0.0
        self._pinged_at = 0.0
        self._echo = 0

    def connected(self, now: float) -> None:
        """There is a connection, new or made again; the broker knows nothing of us on it."""
        self._retry_after = FIRST_RETRY
        self._lost(now)

    def disconnected(self) -> None:
        """There is no connection any more."""
        self.standing = Standing.APART
        self.token = NO_TOKEN

    def unreachable(self, error: Error) -> None:
        """The connection ended before anything could be said on it; `error` says what that may mean."""
        self.disconnected()
        self.refusal = error

    def tick(self, now: float) -> list[RelayMessage]:
        """What to send at `now`. To be called several times a second."""
        if self.standing is Standing.APART:
            return []
        if self.silent(now):
            self._lost(now)
        if self.standing is Standing.ASKING:
            if now < self._ask_at:
                return []
            self._asked_at = now
            self._ask_at = now + self._retry_after
            self._retry_after = min(2 * self._retry_after, LONGEST_RETRY)
            return [self._auth_request]
        if now - self._pinged_at >= self._heartbeat:
            self._pinged_at = now
            self._echo += 1
            return [Ping(self._echo)]
        return []

    def next_tick(self, now: float) -> float:
        """Seconds from `now` until `tick` may have something to send."""
        if self.standing is Standing.APART:
            return LONGEST_RETRY
        due = self._ask_at if self.standing is Standing.ASKING else self._pinged_at + self._heartbeat
        return max(0.0, due - now)

    def receive(self, message: RelayMessage, now: float) -> bool:
        """Take a message of the broker. True when it made the lane registered that was not."""
        self.heard(now)
        if isinstance(message, AuthResponse):
            fresh = self.standing is not Standing.REGISTERED
            self.answer, self.refusal = message, None
            self.token = message.token
            self.standing = Standing.REGISTERED
            self._retry_after = FIRST_RETRY
            self._pinged_at = now
            return fresh
        if isinstance(message, Pong) and self.standing is Standing.REGISTERED and message.echo == self._echo:
            self.token = message.token
        elif isinstance(message, Error) and message.code in _LOST and self.standing is Standing.REGISTERED:
            self._lost(now)
        elif isinstance(message, Error) and not message.address and self.standing is Standing.ASKING:
            self.refusal = message
            self._ask_at = max(self._ask_at, now + message.retry_after)
        return False

    def heard(self, now: float) -> None:
        """Any frame from the broker proves that it is there."""
        self._heard_at = now

    def silent(self, now: float) -> bool:
        """Whether the broker has said nothing for so long that the connection must be doubted."""
        return self.standing is Standing.REGISTERED and now - self._heard_at > SILENT_HEARTBEATS * self._heartbeat

    def _lost(self, now: float) -> None:
        self.standing = Standing.ASKING
        self.token = NO_TOKEN
        # Not at once again: a relay that says no to every envelope would have us resend them all without a pause.
        self._ask_at = max(now, self._asked_at + FIRST_RETRY)

    @property
    def _heartbeat(self) -> float:
        """Seconds between two pings: as the broker says, sooner where its tokens would not live as long."""
        if self.answer is None:
            return LONGEST_RETRY
        return min(self.answer.heartbeat_interval, max(MIN_TOKEN_LIFE, self.answer.expires_in / 3))
