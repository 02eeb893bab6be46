"""When the watcher has to think that a new name is another name of a known file, and when what it shows is proven."""

from __future__ import annotations

import os

import pytest
from watchdog.observers.inotify_c import InotifyConstants

from peer.agent.confined_root import ConfinedRoot
from peer.agent.event_names import EventNames
from peer.agent.inotify import InotifyEvent
from peer.agent.new_links import links_made
from peer.agent.watched_tree import WatchedTree
from tests.peer.agent.conftest import components

CREATED, REMOVED, ARRIVED = InotifyConstants.IN_CREATE, InotifyConstants.IN_DELETE, InotifyConstants.IN_MOVED_TO
DIRECTORY = InotifyConstants.IN_ISDIR
CHANGED = InotifyConstants.IN_MODIFY


class Queue:
    def __init__(self):
        self.left = False

    def pending(self):
        return self.left


class Asked:
    """Events of the export, which has the watch 1, and of nothing else."""

    def __init__(self, export):
        self.export, self.queue = export, Queue()
        self.tree = WatchedTree((components(export),))
        self.tree.set_watch(self.tree.exports[components(export)], 1)

    def __call__(self, *events, watch=1):
        raw = [InotifyEvent(watch, mask, 0, name) for mask, name in events]
        with ConfinedRoot(os.fsencode(self.export)) as root:
            return links_made(EventNames(raw), self.tree, {components(self.export): root}, self.queue)


@pytest.fixture
def made(export):
    (export / "new").touch()
    return Asked(export)


def test_a_new_file_is_no_link(made):
    assert not made()
    assert not made((CREATED, b"new"), (CHANGED, b"new"))
    assert not made((CREATED | DIRECTORY, b"sub"), (REMOVED, b"old"), (ARRIVED, b"moved"))


def test_a_name_of_a_file_with_several_may_be_the_new_one(made, export):
    os.link(export / "new", export / "other")
    assert made((CREATED, b"new"))


def test_what_is_gone_may_have_been_a_link(made):
    assert made((CREATED, b"gone"))


@pytest.mark.parametrize("then", [REMOVED, ARRIVED, CREATED])
def test_what_was_something_else_meanwhile_may_have_been_a_link(made, then):
    assert made((CREATED, b"new"), (then, b"new"))
    assert not made((CREATED, b"new"), (then & ~CREATED, b"other"))


def test_what_may_be_something_else_by_now_may_have_been_a_link(made):
    made.queue.left = True
    assert made((CREATED, b"new"))
    assert not made((CHANGED, b"new")), "whatever is on its way is told when it is read"


def test_what_is_not_to_be_found_or_too_much_may_be_links(made, export):
    assert made((CREATED, b"new"), watch=2)
    names = [b"%d" % number for number in range(65)]
    for name in names:
        (export / os.fsdecode(name)).touch()
    assert not made(*((CREATED, name) for name in names[:64]))
    assert made(*((CREATED, name) for name in names))


# --- Watcher.shows


@pytest.fixture
def shown(world):
    """What the watcher says of the directory d."""
    directory = world.export / "d"
    directory.mkdir()
    world.start()
    status = directory.stat()
    return lambda identity=(status.st_dev, status.st_ino): world.watcher.shows(world.path("d"), identity)


def test_a_quiet_directory_under_watch_is_shown(shown, world):
    assert shown()
    assert not shown((0, 0)), "another one: something is mounted there"
    assert not world.watcher.shows(world.path("missing"), (0, 0))


def test_what_was_not_told_yet_is_not_shown(shown, world, monkeypatch):
    monkeypatch.setattr(world.watcher._inotify, "_telling", True)
    assert not shown()
    monkeypatch.undo()
    assert shown()
    monkeypatch.setattr(world.watcher._inotify, "pending", lambda: True)
    assert not shown()


def test_a_doubt_is_not_shown(shown, world, monkeypatch):
    monkeypatch.setattr(world.watcher.doubts, "settle", lambda _: None)
    world.watcher.doubts.raise_for(world.top)
    assert not shown()


def test_a_directory_with_one_that_is_not_watched_is_not_shown(shown, world):
    world.watcher._tree.enter(world.watcher._tree.exports[world.top].children[b"d"], b"unseen")
    assert not shown()


def test_a_queue_that_was_given_up_meanwhile_proves_nothing(shown, world, monkeypatch):
    inotify = world.watcher._inotify

    def quiet():
        world.watcher._inotify = None
        return True

    with monkeypatch.context() as patched:
        patched.setattr(inotify, "quiet", quiet)
        assert not shown()
        assert not shown(), "there is none"
    world.watcher._inotify = inotify
    assert shown()

    def closed():
        raise OSError(9, "closed")

    monkeypatch.setattr(inotify, "quiet", closed)
    assert not shown()
