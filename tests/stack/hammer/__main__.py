"""`python -m tests.stack.hammer --seconds 60 --seed 7`: the hammer for as long as you like.

The one rule: the seed is said first, so that whatever follows can be tried again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.stack.hammer.campaign import hammer
from tests.stack.hammer.faults import BOUND_AMONG_FAULTS, Faults, settings_for_faults
from tests.stack.world import stack_in

BOUND = 1.5
"""Seconds that attributes may be late while nothing fails: the kernel's second and a loaded machine."""


def main() -> int:
    """The number of what could not be explained, as an exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.hammer", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--bound", type=float, help="seconds that attributes may be late")
    parser.add_argument("--faults", action="store_true", help="broker and agent are killed and stopped meanwhile")
    parser.add_argument("--keep", type=Path, help="an empty directory to work in, which stays")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = asked.keep or Path(temporary)
        home.mkdir(exist_ok=True)
        with stack_in(home) as stack:
            if asked.faults:
                settings_for_faults(stack)
            stack.start()
            bound = asked.bound or (BOUND_AMONG_FAULTS if asked.faults else BOUND)
            disturb = Faults(asked.seed) if asked.faults else None
            outcome = hammer(stack, asked.seed, asked.seconds, bound=bound, disturb=disturb)
        for line in outcome.lines():
            print(line)
    return min(len(outcome.report.unexplained) + len(outcome.differences), 100)


if __name__ == "__main__":
    sys.exit(main())
