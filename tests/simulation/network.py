"""The wires between peers and relay, and what a hostile relay does to what it forwards. All times are virtual."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from schema.envelope import Header, decode_header

Frames = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Weather:
    """Probabilities for each envelope that the relay forwards, and of each trouble in a second."""

    drop: float = 0.03
    repeat: float = 0.05
    hold: float = 0.03
    flip: float = 0.01
    congest: float = 0.02
    forge: float = 0.005
    cut: float = 0.02
    broker_restart: float = 0.01
    agent_restart: float = 0.008
    sleep: float = 0.008


CALM = Weather(*[0.0] * 10)


class Clock:
    """Virtual time: events in order, and a digest of all that happened."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._digest = hashlib.blake2b(digest_size=16)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do `action` at the time `when`."""
        heapq.heappush(self._events, (when, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do `action` in `seconds`."""
        self.at(self.now + seconds, action)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Do `action` again and again."""

        def again() -> None:
            action()
            self.after(seconds, again)

        self.after(seconds * self.random.random(), again)

    def run_until(self, when: float) -> None:
        """Let everything happen up to the time `when`."""
        while self._events and self._events[0][0] <= when:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = when

    def note(self, *what: object) -> None:
        """Take `what` into the digest."""
        self._digest.update(repr((self.now, *what)).encode())

    @property
    def digest(self) -> str:
        """Equal for two runs in which the same happened at the same times."""
        return self._digest.hexdigest()


class Wire:
    """One connection, in order both ways as TCP is; what is under way when it is cut is lost."""

    def __init__(self, clock: Clock, route: bytes, user: str, deliver: Callable[[Frames], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self.route = route
        self.user = user
        self.up = True
        self._free_at = {True: 0.0, False: 0.0}

    def to_peer(self, frames: Frames) -> None:
        """The relay sends `frames` to the peer."""
        self._carry(True, lambda: self._deliver(frames))

    def to_relay(self, action: Callable[[], None]) -> None:
        """The relay gets something to do by what the peer sends."""
        self._carry(False, action)

    def _carry(self, down: bool, action: Callable[[], None]) -> None:
        arrival = max(self._free_at[down], self._clock.now + self._clock.random.uniform(0.001, 0.03))
        self._free_at[down] = arrival
        self._clock.at(arrival, lambda: action() if self.up else None)


def flipped(frames: Frames, chance: random.Random) -> Frames:
    """`frames` with one bit of the body or of the header's numbers changed."""
    address, header, body = frames
    if body and chance.random() < 0.7:
        at = chance.randrange(len(body))
        return address, header, body[:at] + bytes([body[at] ^ 1 << chance.randrange(8)]) + body[at + 1 :]
    known = decode_header(header)
    bit = 1 << chance.randrange(32)
    changed = Header(known.kind, known.session ^ (bit if chance.random() < 0.5 else 0), known.counter ^ bit)
    return address, changed.encode(), body
