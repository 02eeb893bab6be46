"""A broker, agent and clients on loopback for the tests of the adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer.channel.wired import Wired


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Wired]:
    """A broker and an agent that run; clients are the test's."""
    world = Wired(tmp_path)
    try:
        world.start_broker()
        world.start_agent()
        yield world
    finally:
        world.close()
