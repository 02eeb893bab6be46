"""A relay that drops, repeats, reorders and holds back the change feed: nothing stale is ever said to be current."""

from __future__ import annotations

import os
import time

import pytest

from peer.mount.coherence import MISSED_HEARTBEATS
from peer.mount.freshness import NAME
from tests.stack.processes import PATIENCE

pytestmark = pytest.mark.timeout(120)
HEARTBEAT = GRACE = 0.1
BELIEVED = MISSED_HEARTBEATS * HEARTBEAT + GRACE
"""Seconds for which a feed that says nothing is believed."""
NOTICED = 1.5
"""Seconds within which an agent that has to share its processors has published what it was told of."""
FILES = 4


def claims_to_be_current(path):
    return os.getxattr(path, NAME).startswith(b"current")


class Edits:
    """Files that are edited on the remote machine, each edit a byte longer than the one before."""

    def __init__(self, export, mount):
        self._export, self._mount = export, mount
        self._shown = [0] * FILES
        for number in range(FILES):
            self._edit(number, 0)

    def go_on(self, seconds):
        """Edit for so long. What is shown never goes back, is right in the end, and is not called current when old."""
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until:
            number = (number + 1) % FILES
            self._edit(number, self._shown[number] + 1)
            done = time.monotonic()
            while self._shown[number] < self._size:
                self._look(number, done)

    def _edit(self, number, size):
        name = self._export / str(number)
        if size % 2:
            draft = self._export / "draft"
            draft.write_bytes(b"x" * size)
            draft.replace(name)
        else:
            with name.open("ab") as file:
                file.write(b"x" * (size - (name.stat().st_size)))
        self._size = size

    def _look(self, number, done):
        began, path = time.monotonic(), self._mount / str(number)
        current = claims_to_be_current(path)
        shown = path.stat().st_size
        assert shown in (self._shown[number], self._size)
        self._shown[number] = shown
        assert began < done + PATIENCE, "an edit is not seen"
        if current and shown < self._size and began > done + BELIEVED + NOTICED:
            assert not claims_to_be_current(path), "what is long past is said to be current"


@pytest.mark.parametrize(
    ("fault", "seconds"), [("silence", 3), ("drop", 2), ("repeat", 2), ("reorder", 2), ("hold_back", 9)]
)
def test_what_a_relay_does_to_the_feed_delays_it_at_worst(stack, fault, seconds):
    stack.let_the_broker_lie()
    stack.write_agent(feed={"heartbeat_seconds": HEARTBEAT})
    stack.write_client("laptop", attribute_seconds=GRACE)
    stack.start()
    edits = Edits(stack.export, stack.mount().path)
    edits.go_on(0.2)
    stack.orders.write_text(f"{fault} 1")
    edits.go_on(seconds)
    stack.orders.write_text("")
    edits.go_on(0.2)
