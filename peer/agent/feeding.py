"""Putting the change feed of an agent together: the watcher below, the feeds in the middle, the answers above.

The one rule: looking at a path for the feed goes the way that clients' requests go, through the export that covers it
most closely, but under the agent's own identity and past no client's rules; `Feeds` decides who hears of it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, Protocol

from peer.agent import file_attributes
from peer.agent.access_policy import Path
from peer.agent.cache_then_feeds import CacheThenFeeds
from peer.agent.coherent_answers import CoherentAnswers
from peer.agent.dispatcher import Dispatcher
from peer.agent.feeds import Feeds, KeyOf
from peer.agent.watched_tree import Coverage
from peer.agent.watcher import Watcher
from peer.channel.packing import Padding
from peer.link.publisher import Publisher
from peer.link.request_link import clock
from schema.attributes import FileMetadata

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


class Announcer(Protocol):
    """Who tells the relay of our topics: a `RequestLink`."""

    def announce(self, topic: bytes) -> None:
        """We will publish under `topic`."""

    def retract(self, topic: bytes) -> None:
        """No more."""


class FeedOutlet:
    """Topics are announced on the request plane, batches go out on the plane of the feed."""

    def __init__(self, announcer: Announcer, publisher: Publisher) -> None:
        self.announce: Final = announcer.announce
        self.retract: Final = announcer.retract
        self.publish: Final = publisher.publish


def watch_exports(
    dispatcher: Dispatcher,
    outlet: FeedOutlet,
    *,
    heartbeat: float,
    key_of: KeyOf,
    random: Callable[[int], bytes],
    padding: Padding = Padding.NONE,
) -> tuple[Watcher, Feeds]:
    """Give `dispatcher` its change feeds; `heartbeat` in seconds. The watcher is to be started, and stopped first."""
    exports, roots = dispatcher.policy.exports, dispatcher.roots

    def look(path: Path) -> FileMetadata | None:
        export = next(export for export in exports if path[: len(export)] == export)
        try:
            with roots[export].object(path[len(export) :]) as descriptor:
                return file_attributes.metadata(descriptor)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise

    def cover(path: Path) -> Coverage:
        return watcher.coverage(path)

    feeds = Feeds(
        dispatcher.policy,
        look,
        cover,
        outlet,
        heartbeat=heartbeat,
        key_of=key_of,
        random=random,
        clock=clock,
        padding=padding,
    )
    told = CacheThenFeeds(dispatcher.cache, feeds)
    watcher = Watcher(roots, told, heartbeat=heartbeat)
    dispatcher.follow_feeds(CoherentAnswers(feeds, told, watcher, look), watcher.shows)
    return watcher, feeds
