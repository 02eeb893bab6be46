"""Who is told of what happens: the agent's own cache, then the feeds.

The one rule: the cache has dropped what is told of before a feed looks at it, and keeps nothing that was looked at
until the feed has. So what the agent answers as of a number of a feed is no older than what the feed said by then.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from peer.agent.change_listener import Marks, Path
from peer.agent.feeds import Feeds
from peer.agent.metadata_cache import MetadataCache


class CacheThenFeeds:
    """The `ChangeListener` of the watcher and of the operations that clients ask for. Thread-safe."""

    def __init__(self, cache: MetadataCache, feeds: Feeds) -> None:
        self._cache: Final = cache
        self._feeds: Final = feeds
        self.marks: Final = feeds.marks
        self.heartbeat: Final = feeds.heartbeat

    def changed(
        self, *paths: Path, left: Collection[Path] = (), written: Collection[Path] = (), own: bool = False
    ) -> None:
        """See `Feeds`."""
        self._cache.changed(paths, left)
        try:
            self._feeds.changed(*paths, left=left, written=written, own=own)
        finally:
            self._cache.told()

    def appeared(self, path: Path, own: Marks | None = None) -> None:
        """See `Feeds`."""
        self._cache.swept(path)
        try:
            self._feeds.appeared(path, own)
        finally:
            self._cache.told()

    def renamed(self, source: Path, destination: Path, marks: Marks, *, own: bool = False) -> None:
        """See `Feeds`."""
        self._cache.swept(source, destination)
        try:
            self._feeds.renamed(source, destination, marks, own=own)
        finally:
            self._cache.told()

    def swept(self, path: Path) -> None:
        """See `Feeds`."""
        self._cache.swept(path)
        try:
            self._feeds.swept(path)
        finally:
            self._cache.told()

    def linked(self) -> None:
        """Files may have got other names, none knows which. Feeds tell of the new names alone."""
        self._cache.linked()
        self._cache.told()

    def begin_epoch(self, reason: str) -> None:
        """See `Feeds`."""
        self._cache.forget()
        try:
            self._feeds.begin_epoch(reason)
        finally:
            self._cache.told()
