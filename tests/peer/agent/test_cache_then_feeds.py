"""The cache has dropped what is told before a feed looks, and keeps nothing until the feed has looked."""

from __future__ import annotations

import os

import pytest

from peer.agent.access_policy import AccessRules
from peer.agent.cache_then_feeds import CacheThenFeeds
from peer.agent.metadata_cache import MetadataCache
from schema.requests import Caller, CreateLink, ListDir, RenamePath, SetMetadata
from tests.peer.agent.conftest import components, needs_root
from tests.peer.agent.feed_reader import ask, until
from tests.peer.agent.feed_world import CLIENT, World
from tests.peer.agent.test_metadata_cache import HOME, ONE, OTHER, attributes, entry, fill

TELLINGS = [
    ("changed", ((*HOME, b"a"), HOME)),
    ("appeared", ((*HOME, b"a"),)),
    ("renamed", ((*HOME, b"a"), OTHER, {})),
    ("renamed", (OTHER, (*HOME, b"a"), {})),
    ("swept", ((*HOME, b"a"),)),
    ("begin_epoch", ("a reason",)),
]


class Feeds:
    """Looks as a feed does; fails at will."""

    def __init__(self, cache):
        self.cache, self.seen, self.fails = cache, [], False

    def marks(self):
        return {}

    def heartbeat(self):
        raise AssertionError

    def __getattr__(self, kind):
        def told(*arguments, **more):
            known = self.cache.known(ONE, HOME, 0.0)
            self.seen.append((kind, arguments, b"a" in known.attributes))
            self.cache.keep(known, None, [entry(b"a")], 0.0)
            self.seen.append(b"a" in attributes(self.cache))
            if self.fails:
                raise RuntimeError

        return told


@pytest.mark.parametrize(("kind", "arguments"), TELLINGS)
@pytest.mark.parametrize("fails", [False, True])
def test_first_the_cache_then_the_feeds(kind, arguments, fails):
    cache = MetadataCache()
    feeds = Feeds(cache)
    feeds.fails = fails
    fill(cache, ONE, HOME, b"a")
    told = CacheThenFeeds(cache, feeds)
    if fails:
        with pytest.raises(RuntimeError):
            getattr(told, kind)(*arguments)
    else:
        getattr(told, kind)(*arguments)
    ((called, given, dropped_late), kept_early) = feeds.seen
    assert (called, given[: len(arguments)], dropped_late, kept_early) == (kind, arguments, False, False)
    fill(cache, ONE, HOME, b"a")
    assert attributes(cache) == [b"a"], "kept again"
    told.linked()
    assert attributes(cache) == []


@pytest.fixture(params=[True, False], ids=["followed", "nobody follows"])
def known(request, world):
    """The directory d with the file f, known to the agent; what is kept of d."""
    directory = world.export / "d"
    directory.mkdir()
    (directory / "f").touch()
    world.start()
    if request.param:
        world.follow()
    status = directory.stat()

    def known():
        return sorted(world.dispatcher.cache.known((status.st_dev, status.st_ino), world.path("d"), 0.0).attributes)

    until("all is told", world.quiet)
    world.ask(ListDir(world.path("d")))
    assert known() == [b"f"]
    return known


@pytest.mark.parametrize("kind", ["chmod", "rename", "rename above", "link"])
def test_what_a_client_changes_is_dropped_before_it_is_answered(world, known, monkeypatch, kind):
    monkeypatch.setattr(world.watcher, "_take", lambda _: None)  # whatever inotify tells
    f, g = world.path("d", "f"), world.path("g")
    world.ask(
        {
            "chmod": SetMetadata(f, mode=0o600),
            "rename": RenamePath(f, g),
            "rename above": RenamePath(world.path("d"), g),
            "link": CreateLink(f, g),
        }[kind]
    )
    assert known() == []


@needs_root
def test_rights_are_the_callers_whatever_is_known(start, export):
    world = World(start(AccessRules((components(export),), preserve_identity=True)), export)
    directory = export / "d"
    directory.mkdir()
    (directory / "f").write_bytes(b"x")
    os.chmod(export.parent, 0o755)
    world.start()
    try:
        somebody = Caller(4321, 4321, (), 0o022)
        for mode, expected in ((0o755, "all"), (0o744, "names"), (0o711, "EACCES"), (0o700, "EACCES"), (0o755, "all")):
            directory.chmod(mode)
            until("all is told", world.quiet)
            world.ask(ListDir(world.path("d")))  # as root: all is known then
            hits = world.dispatcher.cache.counts().hits
            answer = ask(world.dispatcher, CLIENT, ListDir(world.path("d")), somebody)
            if expected == "EACCES":
                assert answer.code == "EACCES"
            else:
                (only,) = answer.entries
                assert (only.metadata is not None) == (expected == "all")
                assert (world.dispatcher.cache.counts().hits > hits) == (expected == "all")
    finally:
        world.watcher.stop()
