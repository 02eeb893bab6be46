"""One process of the hammer: `python -m tests.stack.hammer.worker ORDERS`, a JSON object with the fields of `Orders`.

The one rule: all chance comes from the seed; what it does not decide is how the processes meet.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.stack.hammer.changes import Changes
from tests.stack.hammer.hand import Hand
from tests.stack.hammer.history import Event, written
from tests.stack.hammer.ledger import Ledger
from tests.stack.hammer.looks import Looks


@dataclass(frozen=True)
class Orders:
    """What a process is to do: on `tree`, called `root` in the log, from `begin` until `end` (CLOCK_MONOTONIC, ns).

    `changing`: the share of its operations that change something. `repeated`: see `Changes`.
    """

    process: int
    root: str
    tree: str
    log: str
    ledger: str
    seed: int
    begin: int
    end: int
    changing: float
    repeated: bool

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.stack.hammer.worker", json.dumps(dataclasses.asdict(self))]


_PAUSE = 0.01
"""Seconds between operations, at most."""


def work(orders: Orders) -> None:
    """Change and look until it is time to stop; the log is complete as far as it got, whatever ends the process."""
    os.umask(0)
    rng = random.Random(f"{orders.seed}.{orders.process}")
    with Path(orders.log).open("w", buffering=1) as log:

        def note(event: Event) -> None:
            log.write(f"{written(event)}\n")

        hand = Hand(orders.process, orders.root, Path(orders.tree), note, rng)
        looks = Looks(hand)
        changes = Changes(hand, Ledger(Path(orders.ledger)), repeated=orders.repeated)
        time.sleep(max(0.0, (orders.begin - time.monotonic_ns()) / 1e9))
        while time.monotonic_ns() < orders.end:
            if rng.random() < orders.changing:
                changes.any()
            else:
                looks.any()
            time.sleep(rng.random() * _PAUSE)


if __name__ == "__main__":
    work(Orders(**json.loads(sys.argv[1])))
