"""A stack for each test, which starts of it what it wants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.hands import Hands
from tests.stack.world import Stack, stack_in


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Keys and settings; nothing is started. Without /dev/fuse, tests are skipped outside CI and fail in it."""
    if not os.environ.get("CI") and not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse")
    with stack_in(tmp_path) as stack:
        yield stack


@pytest.fixture
def hands(stack: Stack) -> Iterator[Hands]:
    """A process that holds files for the test; it ends before the mounts do."""
    hands = Hands()
    yield hands
    hands.close()
