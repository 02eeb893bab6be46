"""Worlds in which mounts restart with what they knew, and mounts that believe it unasked, which the model notices.

A seed that fails is run again by `python -m pytest tests/simulation/coherence --seed N`; more of them by `--worlds N`.
"""

from __future__ import annotations

import pytest

from peer.mount.kept_metadata.records import KeptDirectory
from peer.mount.metadata_node import unpack
from tests.simulation.coherence.client import Client
from tests.simulation.coherence.restarts import RestartingWorld

WORLDS = 150
ENOUGH = 300
"""Worlds within which a broken part must show."""


def test_every_answer_is_explained_across_restarts(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    worlds = request.config.getoption("--worlds", default=None) or WORLDS
    confirmed = 0
    for each in range(worlds) if seed is None else [seed]:
        world = RestartingWorld(each)
        try:
            world.run()
        except AssertionError as error:
            pytest.fail(f"in the world with seed {each} (run it again with --seed {each}): {error}")
        confirmed += world.confirmed
    assert confirmed or seed is not None, "nothing was ever verified"


def _believe(client: Client, record: KeptDirectory) -> None:
    """What was kept is taken for what is."""
    for kept in record.names:
        client.known.learn((*record.path, kept.name), unpack(kept.packed), None, client.known.asking())


def test_the_model_notices_who_believes_what_was_kept() -> None:
    for seed in range(ENOUGH):
        try:
            RestartingWorld(seed, _believe).run()
        except AssertionError:
            return
    pytest.fail(f"{ENOUGH} worlds do not notice")
