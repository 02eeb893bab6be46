"""An export whose own directory is moved, removed or replaced: the agent stays with the directory it opened."""

from __future__ import annotations

import shutil

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


def test_a_root_that_is_removed_is_empty_and_what_took_its_name_is_not_served(world):
    (world.export / "d").mkdir()
    world.start()
    reader = world.follow()
    shutil.rmtree(world.export)
    reader.wait_for_path(world.path("d"), gone=True)
    world.export.mkdir()
    (world.export / "f").touch()
    for name in ("d", "f"):
        answer = world.stat(name)
        assert isinstance(answer, Failure)
        assert answer.code == "ENOENT"
    assert world.ask(ListDir(world.top)).entries == ()
