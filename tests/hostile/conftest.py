"""A broker and an agent on loopback, for hostile peers to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer.channel.wired import Wired


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Wired]:
    world = Wired(tmp_path)
    try:
        world.start_broker()
        world.start_agent()
        yield world
    finally:
        world.close()
