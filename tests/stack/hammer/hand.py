"""What each process of the hammer has: a number, a tree, a log, and chance.

The one rule: every event goes to the log by `note`, as it happened.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.stack.hammer.history import Event, Trouble


@dataclass(frozen=True)
class Hand:
    """A process at work on `tree`, which is called `root` in its log."""

    process: int
    root: str
    tree: Path
    note: Callable[[Event], None]
    rng: random.Random

    def trouble(self, operation: str, name: str, start: int, failure: OSError) -> None:
        """What was begun at `start` failed in a way that says nothing of `name`."""
        self.note(Trouble(self.process, self.root, name, operation, start, time.monotonic_ns(), repr(failure)))
