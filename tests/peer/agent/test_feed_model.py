"""A client that applies the feed and keeps answers by their `as_of` is right about all it knows, whatever happens.

Two names, three deep, changed behind the agent's back and through it at once, and asked for in between; the answers
arrive at once or late. `REMOTEFS_SEEDS=1000` runs that many worlds.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest

from schema.replies import Failure, Metadata
from schema.requests import CreateDir, CreateFile, DeleteFile, GetMetadata, RemoveDir, RenamePath
from tests.peer.agent.feed_reader import Replica
from tests.peer.agent.feed_world import exchange

SEEDS = int(os.environ.get("REMOTEFS_SEEDS", "12"))
EXCHANGE = 2


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_known_is_never_wrong_in_the_end(world, seed):
    world.start()
    reader = world.follow()
    replica, chance = Replica(), random.Random(seed)
    late = []
    for _ in range(12):
        for _ in range(chance.randrange(1, 16)):
            step(world, chance)
            if chance.random() < 0.5:
                late.append(look(world, some_path(chance)))
            if chance.random() < 0.5:
                reader.read()
                replica.catch_up(reader.numbered)
            while late and chance.random() < 0.5:
                replica.learn(*late.pop())
        world.settle(reader)
        replica.catch_up(reader.numbered)
        while late:
            replica.learn(*late.pop())
        assert {path: seen for path, seen in replica.wrong().items() if not path[-1].startswith(b"beacon")} == {}


def some_path(chance):
    return tuple(chance.choice(("a", "b")) for _ in range(chance.randrange(1, 4)))


def look(world, path):
    """What the agent says of `path`: the path, its inode or None, and as of when."""
    answer = world.ask(GetMetadata(world.path(*path)))
    if isinstance(answer, Metadata):
        return world.path(*path), answer.metadata.inode, answer.as_of
    assert isinstance(answer, Failure)
    return world.path(*path), None, answer.as_of if answer.code == "ENOENT" else None


def step(world, chance):
    """One change, by a local program or by a client; many are refused."""
    one, other = some_path(chance), some_path(chance)
    here, there = world.export.joinpath(*one), world.export.joinpath(*other)
    path, to = world.path(*one), world.path(*other)
    steps = (
        here.mkdir,
        here.mkdir,
        lambda: os.makedirs(here),
        lambda: here.write_text("x" * chance.randrange(100)),
        lambda: here.rename(there),
        lambda: here.rename(there),
        lambda: shutil.rmtree(here) if here.is_dir() else here.unlink(),
        lambda: exchange(here, there),
        lambda: world.ask(CreateDir(path, 0o755)),
        lambda: world.ask(CreateFile(path, os.O_WRONLY, 0o644)),
        lambda: world.ask(RenamePath(path, to)),
        lambda: world.ask(RenamePath(path, to, EXCHANGE)),
        lambda: world.ask(RemoveDir(path)),
        lambda: world.ask(DeleteFile(path)),
    )
    try:
        chance.choice(steps)()
    except (OSError, AssertionError):
        return
