"""An export whose own directory is moved, removed or replaced: what is served is what was exported by its name."""

from __future__ import annotations

import shutil

import pytest

from peer.agent import watcher as watcher_module
from schema.replies import Failure
from schema.requests import ListDir
from tests.peer.agent.feed_reader import until


def test_a_root_that_is_moved_is_still_the_export(world, tmp_path):
    (world.export / "d").mkdir()
    world.start()
    reader = world.follow()
    elsewhere = tmp_path / "elsewhere"
    world.export.rename(elsewhere)
    world.export.mkdir()
    (world.export / "not served").touch()
    (elsewhere / "d" / "f").touch()
    reader.wait_for_path(world.path("d", "f"))
    assert not isinstance(world.stat("d", "f"), Failure)
    assert isinstance(world.stat("not served"), Failure), "what took its name was never exported"
    until("it is covered", lambda: world.stat("d", "f").as_of is not None)


def test_a_root_that_is_removed_is_empty_until_it_is_there_again(world, monkeypatch):
    monkeypatch.setattr(watcher_module, "_FIRST_PAUSE", 0.01)
    (world.export / "d").mkdir()
    world.start()
    reader = world.follow()
    shutil.rmtree(world.export)
    reader.wait_for_path(world.path("d"), gone=True)
    assert is_absent(world, "d")
    assert world.ask(ListDir(world.top)).entries == ()
    made = world.export.parent / "made"
    made.mkdir()
    (made / "f").touch()
    made.rename(world.export)
    until("it is served", lambda: not is_absent(world, "f"))
    until("a new epoch says so", lambda: world.watcher.counters.epochs == 1)
    until("it is covered", lambda: world.stat("f").as_of is not None)
    reader = world.follow()
    (world.export / "g").touch()
    reader.wait_for_path(world.path("g"))


def test_what_a_link_leads_to_does_not_become_the_export(world, tmp_path):
    world.start()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "f").touch()
    shutil.rmtree(world.export)
    world.export.symlink_to(secret)
    for root in world.dispatcher.roots.values():
        with pytest.raises(OSError, match="symbolic link"):
            root.renew()
    assert is_absent(world, "f")


def is_absent(world, name):
    answer = world.stat(name)
    return isinstance(answer, Failure) and answer.code == "ENOENT"
