"""The broker, but for what it does to the change feed: `python -m tests.stack.lying_broker CONFIG.toml ORDERS`.

The file ORDERS says what is done to publications from now on: a fault of `FAULTS` and a seed; empty is nothing.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zmq

from broker.__main__ import main
from broker.server import loop
from broker.server.feed_plane import FeedPlane

Publication = list[zmq.Frame]

MIXED: Final = 6
"""Publications that are mixed up at a time."""


def drop(held: list[Publication], chance: random.Random) -> list[Publication]:
    """Two of three are lost."""
    return [each for each in _taken(held) if chance.random() < 1 / 3]


def repeat(held: list[Publication], chance: random.Random) -> list[Publication]:
    """Each comes up to three times."""
    return [each for each in _taken(held) for _ in range(chance.randrange(1, 4))]


def reorder(held: list[Publication], chance: random.Random) -> list[Publication]:
    """They are kept until there are some, and come in any order."""
    if len(held) < MIXED:
        return []
    taken = _taken(held)
    chance.shuffle(taken)
    return taken


def hold_back(held: list[Publication], chance: random.Random) -> list[Publication]:
    """All come, in order, later and later, and never is it silent for long."""
    return [held.pop(0)] if chance.random() < 2 / 3 else []


def silence(held: list[Publication], chance: random.Random) -> list[Publication]:
    """Nothing comes."""
    _taken(held)
    return []


FAULTS: Final[dict[str, Callable[[list[Publication], random.Random], list[Publication]]]] = {
    fault.__name__: fault for fault in (drop, repeat, reorder, hold_back, silence)
}


def _taken(held: list[Publication]) -> list[Publication]:
    taken = held[:]
    held.clear()
    return taken


class LyingFeedPlane(FeedPlane):
    """A feed plane that follows the orders in the file `orders`."""

    orders: Path
    _heard = ""
    _chance = random.Random()

    def _publish(self, frames: Publication, size: int) -> None:
        heard = self.orders.read_text()
        if heard != self._heard:
            self._heard, self._held = heard, []
            self._chance = random.Random(heard)
        if not heard:
            super()._publish(frames, size)
            return
        self._held.append(frames)
        for each in FAULTS[heard.split()[0]](self._held, self._chance):
            super()._publish(each, size)

    _held: list[Publication] = []  # noqa: RUF012 - replaced with the first order


if __name__ == "__main__":
    LyingFeedPlane.orders = Path(sys.argv.pop())
    loop.FeedPlane = LyingFeedPlane  # type: ignore[misc]
    main()
