"""The hammer for a few seconds; `python -m tests.stack.hammer` runs it for as long as you like."""

from __future__ import annotations

from tests.stack.hammer.campaign import hammer
from tests.stack.world import Stack

SEED, SECONDS = 7, 5.0


def test_every_look_is_explained(stack: Stack) -> None:
    stack.start()
    outcome = hammer(stack, SEED, SECONDS, bound=1.5)
    print("\n".join((f"seed {SEED}", *outcome.lines())))
    assert not [why for look, why in outcome.report.unexplained if look.operation in ("read", "mapped")]
    assert not outcome.differences
    assert sum(outcome.report.looks.values()) > 100
