"""What is done to broker and agent while the hammer runs: killed and started again, stopped and let go on.

The one rule: when it returns, both are up again.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from tests.stack.world import DESKTOP, LAPTOP, Stack

BOUND_AMONG_FAULTS = 8.0
"""Seconds that attributes may be late when the relay stops: until its silence is noticed, and what is granted then."""
STOPPED_AT_MOST = 5.0
"""Seconds."""
_PAUSE_AT_MOST = 2.0


def settings_for_faults(stack: Stack) -> None:
    """Deadlines that a stopped broker outlasts now and then."""
    for client in (LAPTOP, DESKTOP):
        stack.write_client(client, timeouts={"metadata": 3, "data": 4})


class Faults:
    """Faults by a seed: how they meet what the processes do is up to the machine. `stopped`: for so long at most."""

    def __init__(self, seed: int, stopped: float = STOPPED_AT_MOST) -> None:
        self._stopped = stopped
        self._rng = random.Random(f"{seed}.faults")

    def __call__(self, stack: Stack, end: int) -> None:
        """Disturb `stack` until shortly before `end` (CLOCK_MONOTONIC, ns)."""
        faults: tuple[Callable[[Stack], None], ...] = (self._kill_agent, self._kill_broker, self._stop_broker)
        while True:
            time.sleep(self._rng.uniform(_PAUSE_AT_MOST / 2, _PAUSE_AT_MOST))
            if time.monotonic_ns() > end:
                return
            self._rng.choice(faults)(stack)

    def _kill_agent(self, stack: Stack) -> None:
        stack.agent.kill()
        stack.start_agent()

    def _kill_broker(self, stack: Stack) -> None:
        stack.broker.kill()
        stack.start_broker()

    def _stop_broker(self, stack: Stack) -> None:
        stack.broker.signal(signal.SIGSTOP)
        try:
            time.sleep(self._rng.uniform(self._stopped / 10, self._stopped))
        finally:
            stack.broker.signal(signal.SIGCONT)
