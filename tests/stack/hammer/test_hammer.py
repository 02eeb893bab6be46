"""The hammer for a few seconds; `python -m tests.stack.hammer` runs it for as long as you like."""

from __future__ import annotations

import errno

from tests.stack.hammer.campaign import Outcome, hammer
from tests.stack.hammer.faults import BOUND_AMONG_FAULTS, Faults, settings_for_faults
from tests.stack.world import Stack

SEED, SECONDS = 7, 5.0
BOUND = 3.0
"""Seconds that attributes may be late here, where the machine may be anybody's."""


def _explained(outcome: Outcome) -> None:
    print("\n".join((f"seed {SEED}", *outcome.lines())))
    assert not outcome.report.unexplained
    assert not outcome.differences
    assert sum(outcome.report.looks.values()) > 100


def test_every_look_is_explained(stack: Stack) -> None:
    stack.start()
    outcome = hammer(stack, SEED, SECONDS, bound=BOUND)
    _explained(outcome)
    # The kernel looks a name up twice when it finds it gone, and may be late both times.
    stale = str(errno.ESTALE)
    assert not [trouble for trouble in outcome.troubles if stale not in trouble.error]


def test_every_look_is_explained_though_broker_and_agent_fail(stack: Stack) -> None:
    settings_for_faults(stack)
    stack.start()
    _explained(hammer(stack, SEED, SECONDS, bound=BOUND_AMONG_FAULTS, disturb=Faults(SEED, stopped=1.0)))
