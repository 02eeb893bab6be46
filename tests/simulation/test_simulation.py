"""Hundreds of seeded worlds. A seed that fails is run again by `python -m pytest tests/simulation --seed N`."""

from __future__ import annotations

import pytest

from tests.simulation.network import CALM, Weather
from tests.simulation.world import World

SEEDS = 100
BATCH = 10


def _run(seed: int, weather: Weather | None = None) -> str:
    world = World(seed, weather)
    try:
        return world.run()
    except AssertionError as error:
        pytest.fail(f"at {world.now:.3f} s of the world with seed {seed} (run it again with --seed {seed}): {error}")


def test_what_was_promised_holds_in_the_world_of_the_seed(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    _run(0 if seed is None else seed)


@pytest.mark.parametrize("first", range(1, SEEDS, BATCH))
def test_what_was_promised_holds_in_every_world(request: pytest.FixtureRequest, first: int) -> None:
    if request.config.getoption("--seed", default=None) is not None:
        pytest.skip("one seed was asked for")
    for seed in range(first, first + BATCH):
        _run(seed)


def test_one_seed_is_one_world() -> None:
    assert _run(7) == _run(7)
    assert _run(7) != _run(8)


def test_in_calm_weather_nothing_fails() -> None:
    world = World(1, CALM)
    world.run()
    assert len(world.calls) > 100
    assert not [call for call in world.calls if call.failed and call.pending.answer.code != "EINTR"]
