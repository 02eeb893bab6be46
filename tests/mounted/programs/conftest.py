"""One stack for all tests of this directory, with two mounts; each test has a directory of its own in the export."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stack.world import DESKTOP, LAPTOP, Stack, stack_in

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Places:
    """The same directory, seen from three sides; empty at first."""

    laptop: Path
    """On the mount of one client."""
    desktop: Path
    """On the mount of another client."""
    server: Path
    """At the agent, without us."""


@dataclass(frozen=True)
class World:
    stack: Stack
    laptop: Path
    desktop: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Broker, agent, and a mount of each of two clients."""
    with stack_in(tmp_path_factory.mktemp("programs")) as stack:
        stack.start()
        yield World(stack, stack.mount(LAPTOP).path, stack.mount(DESKTOP).path)


@pytest.fixture
def places(world: World) -> Places:
    """A new directory."""
    name = f"test-{next(_numbers)}"
    (world.stack.export / name).mkdir()
    return Places(world.laptop / name, world.desktop / name, world.stack.export / name)


@pytest.fixture(autouse=True)
def logs(world: World) -> Iterator[None]:
    """What the programs logged during a test, for pytest to show when it failed."""
    before = {program.name: len(program.said) for program in world.stack.programs}
    yield
    for program in world.stack.programs:
        print(f"--- {program.name}\n{program.said[before[program.name] :]}")
