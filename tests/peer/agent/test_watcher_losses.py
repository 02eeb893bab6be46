"""What was or may have been lost: an overflow, the watch limit, a fault of the watcher itself."""

from __future__ import annotations

import errno

import pytest

from peer.agent import watcher as watcher_module
from peer.agent.inotify import Inotify, InotifyEvent
from schema.requests import (
    ListDir,
)
from tests.peer.agent.feed_reader import Reader, until

IN_Q_OVERFLOW = 0x4000


# --- what was lost


class Faulty(Inotify):
    """An inotify instance that loses what it is told to, and has as many watches as it is told."""

    def __init__(self):
        super().__init__()
        self.overflowing = False
        self.left = 1_000_000

    def read(self):
        if self.overflowing:
            self.overflowing = False
            super().read()
            return [InotifyEvent(-1, IN_Q_OVERFLOW, 0, b"")]
        return super().read()

    def watch(self, directory):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return super().watch(directory)


@pytest.fixture
def faulty(world, monkeypatch):
    monkeypatch.setattr(watcher_module, "_FIRST_PAUSE", 0.01)
    instances = []

    def open_inotify():
        instances.append(Faulty())
        return instances[-1]

    monkeypatch.setattr(world.watcher, "_open_inotify", open_inotify)
    return instances


def test_an_overflow_begins_an_epoch_and_sets_the_watches_anew(world, faulty, caplog):
    (world.export / "d").mkdir()
    world.start()
    reader = world.follow()
    faulty[0].overflowing = True
    (world.export / "lost").mkdir()
    until("a new epoch", lambda: len(reader.epochs) == 2)
    until("the watches are back", lambda: world.watcher.settled)
    assert world.watcher.counters.overflows == 1
    assert "max_queued_events" in caplog.text
    following = world.follow().following
    assert following.epoch != reader.following.epoch
    assert (following.topic, following.key) == (reader.following.topic, reader.following.key)
    again = Reader(world.shelf, following)
    (world.export / "lost" / "found").touch()
    again.wait_for("told in the new epoch", lambda changes: changes)
    assert world.stat("lost", "found").as_of.epoch == following.epoch


def test_the_watch_limit_is_said_and_served(world, faulty, caplog):
    for name in "abcdef":
        (world.export / name).mkdir()
        (world.export / name / "f").touch()
    make = world.watcher._open_inotify

    def scarce():
        instance = make()
        instance.left = 4
        return instance

    world.watcher._open_inotify = scarce
    reader = world.follow()
    world.start()
    assert world.watcher.counters.limits == 3
    assert len(world.watcher) == 4
    assert len(reader.epochs) == 2
    assert "max_user_watches" in caplog.text
    moments = [world.stat(name, "f").as_of for name in "abcdef"]
    assert sum(moment is None for moment in moments) == 3
    assert world.ask(ListDir(world.top)).as_of is None, "attributes of directories in it are not told"
    assert world.stat().as_of is not None


def test_watches_that_there_are_again_are_taken(world, faulty, monkeypatch):
    monkeypatch.setattr(watcher_module, "_LIMIT_PAUSE", 0.01)
    for name in "abcdef":
        (world.export / name / "below").mkdir(parents=True)
    make = world.watcher._open_inotify

    def scarce():
        instance = make()
        instance.left = 4
        return instance

    world.watcher._open_inotify = scarce
    world.start()
    reader = world.follow()
    faulty[0].left = 1000
    until("all are under watch", lambda: len(world.watcher) == 13)
    for name in "abcdef":
        (world.export / name / "below" / "f").touch()
        reader.wait_for_path(world.path(name, "below", "f"))
        until("it is covered", lambda name=name: world.stat(name, "below", "f").as_of is not None)


def test_a_fault_of_the_watcher_is_a_new_epoch(world, faulty, caplog, monkeypatch):
    world.start()
    reader = world.follow()
    monkeypatch.setattr(faulty[0], "read", lambda: 1 / 0)
    (world.export / "x").touch()
    until("a new epoch", lambda: len(reader.epochs) == 2)
    until("the watches are back", lambda: world.watcher.settled)
    assert world.watcher.counters.faults == 1
    assert "ZeroDivisionError" in caplog.text
