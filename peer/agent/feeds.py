"""The change feeds of an agent: one for each distinct set of directories that a client may see.

The one rule: a feed speaks of nothing that one of its followers may not see. When a follower's right ends, the feed
goes on under another topic and key in a new epoch; all who still may follow are told so by the last word under the old.

A feed begins with its first follower and ends when the last one's right does: an agent whose clients follow nothing
seals and looks at nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from peer.agent.access_policy import AccessPolicy
from peer.agent.change_feed import ChangeFeed, Cover, Look
from peer.agent.change_listener import Marks, Path
from peer.channel.packing import Padding, pack_encoded
from peer.errors import OperationFailed
from peer.session.feed_cipher import FeedSealer
from schema.attributes import FileMetadata
from schema.changes import FEED_KEY_SIZE, ChangeBatch, Moment, encode_batch
from schema.limits import MAX_TOPIC
from schema.replies import Changes, Following

_log = logging.getLogger(__name__)

_EPOCH_BYTES: Final = 7
"""Random bytes of an epoch: under 2**63."""

KeyOf = Callable[[str], bytes | None]
"""The identity key that is pinned for a client now; None for one that is not trusted."""


class Outlet(Protocol):
    """The way to the relay. Nothing here waits."""

    def announce(self, topic: bytes) -> None:
        """We will publish under `topic`."""

    def retract(self, topic: bytes) -> None:
        """No more."""

    def publish(self, topic: bytes, body: bytes) -> None:
        """Send a sealed batch."""


class FeedCounts(NamedTuple):
    """What was published since the start, by how many feeds, and for how many clients."""

    feeds: int
    followers: int
    batches: int
    changes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Seal:
    """What a feed is published under, in `epoch` and no other."""

    topic: bytes
    key: bytes
    sealer: FeedSealer
    epoch: int


class ScopedFeed:
    """The feed of those who may see what is at and below `roots`."""

    def __init__(
        self,
        roots: tuple[Path, ...],
        look: Look,
        cover: Cover,
        outlet: Outlet,
        *,
        random: Callable[[int], bytes],
        clock: Callable[[], float],
        padding: Padding,
    ) -> None:
        self._roots: Final = roots
        self._clock: Final = clock
        self._outlet: Final = outlet
        self._random: Final = random
        self._padding: Final = padding
        self._withdrawn = False
        self._ending = self._ended = False
        self.batches = self.changes = self.bytes = 0
        self.followers: Final[dict[str, bytes]] = {}
        self.core: Final = ChangeFeed(look, cover, self._publish, lambda: int.from_bytes(random(_EPOCH_BYTES), "big"))
        self._seal = self._new_seal(self.core.moment.epoch)
        outlet.announce(self._seal.topic)

    def following(self, heartbeat: float) -> Following:
        """Where the feed is, and how far."""
        while True:
            seal, moment = self._seal, self.core.moment
            if moment.epoch == seal.epoch:
                sent = self._clock()
                return Following(seal.topic, seal.key, moment.epoch, moment.number + 1, heartbeat, sent)

    def since(self, epoch: int, first: int) -> ChangeBatch | None:
        """See `ChangeFeed.since`."""
        batch = self.core.since(epoch, first)
        return None if batch is None else self._stamped(batch)

    def replace_seal(self) -> None:
        """Go on under another topic and key, in a new epoch."""
        self._withdrawn = True
        self.core.begin_epoch()

    def end(self) -> None:
        """Nobody follows any more: say so as the last word, and nothing after it."""
        self._ending = True
        self.replace_seal()

    def changed(self, paths: Iterable[Path], left: Collection[Path], written: Collection[Path], *, own: bool) -> None:
        """See `Feeds`."""
        seen = [path for path in paths if self._sees(path)]
        if seen:
            self.core.changed(*seen, left=left, written=written, own=own)

    def appeared(self, path: Path, own: int | None) -> None:
        """See `Feeds`."""
        if self._sees(path):
            self.core.appeared(path, own=own)
        else:
            self._doubt_below(path)

    def renamed(self, source: Path, destination: Path, mark: int, *, own: bool) -> None:
        """See `Feeds`. A name that comes from where its followers see nothing is new to them."""
        if self._sees(source) and self._sees(destination):
            self.core.renamed(source, destination, mark, own=own)
            return
        for path in (source, destination):
            self._doubt_below(path)
        if self._sees(source):
            self.core.changed(source)
        elif self._sees(destination):
            self.core.appeared(destination)

    def swept(self, path: Path) -> None:
        """See `Feeds`."""
        if self._sees(path):
            self.core.swept(path)
        else:
            self._doubt_below(path)

    def _sees(self, path: Path) -> bool:
        return any(path[: len(root)] == root for root in self._roots)

    def _doubt_below(self, path: Path) -> None:
        """Something happened to a directory above what is seen."""
        for root in self._roots:
            if len(root) > len(path) and root[: len(path)] == path:
                self.core.swept(root)

    def _stamped(self, batch: ChangeBatch) -> ChangeBatch:
        return msgspec.structs.replace(batch, sent=self._clock())

    def _new_seal(self, epoch: int) -> _Seal:
        topic, key = self._random(MAX_TOPIC), self._random(FEED_KEY_SIZE)
        return _Seal(topic, key, FeedSealer(key, topic), epoch)

    def _publish(self, batch: ChangeBatch) -> None:
        """Called by the core with its lock held, for the first time after `__init__`."""
        if self._ended:
            return
        seal = self._seal
        body = pack_encoded(encode_batch(self._stamped(batch)), self._padding)
        frame = seal.sealer.seal(body)
        self.batches += 1
        self.changes += len(batch.changes)
        self.bytes += len(frame)
        self._outlet.publish(seal.topic, frame)
        if batch.epoch == seal.epoch:
            return
        if self._withdrawn:
            self._outlet.retract(seal.topic)
        self._ended = self._ending
        if self._ended or not self._withdrawn:
            self._seal = _Seal(seal.topic, seal.key, seal.sealer, batch.epoch)
            return
        self._withdrawn = False
        self._seal = self._new_seal(batch.epoch)
        self._outlet.announce(self._seal.topic)


class Feeds:
    """All feeds of an agent. Thread-safe."""

    def __init__(
        self,
        policy: AccessPolicy,
        look: Look,
        cover: Cover,
        outlet: Outlet,
        *,
        heartbeat: float,
        key_of: KeyOf,
        random: Callable[[int], bytes],
        clock: Callable[[], float],
        padding: Padding,
    ) -> None:
        """`heartbeat` in seconds; `look` and `cover` as in `ChangeFeed`; `random(n)` gives n bytes fit for keys.

        `clock` gives seconds, never jumps, and runs on while the machine sleeps. `padding` is for the batches.
        """
        self._policy: Final = policy
        self._look: Final = look
        self._cover: Final = cover
        self._outlet: Final = outlet
        self._heartbeat: Final = heartbeat
        self._key_of: Final = key_of
        self._random: Final = random
        self._clock: Final = clock
        self._padding: Final = padding
        self._lock: Final = threading.Lock()
        self._by_scope: dict[tuple[Path, ...], ScopedFeed] = {}

    # --- for clients

    def follow(self, client: str) -> Following:
        """Where the feed of what `client` may see is. Raises `OperationFailed` (EACCES) for one that is not trusted."""
        key = self._key_of(client)
        scope = self._policy.visible(client)
        if key is None or not scope:
            raise OperationFailed("EACCES", f"there is no change feed for {client}")
        with self._lock:
            feed = self._by_scope.get(scope)
            if feed is None:
                feed = ScopedFeed(
                    scope,
                    self._look,
                    self._cover,
                    self._outlet,
                    random=self._random,
                    clock=self._clock,
                    padding=self._padding,
                )
                self._by_scope = {**self._by_scope, scope: feed}
            feed.followers[client] = key
        return feed.following(self._heartbeat)

    def fetch(self, client: str, epoch: int, first: int) -> Changes:
        """A part of the feed that `client` follows. Raises `OperationFailed` (ESTALE) when it is not kept any more."""
        feed = self._of(client)
        batch = None if feed is None else feed.since(epoch, first)
        if batch is None:
            raise OperationFailed("ESTALE", "these changes are not kept any more: follow the feed anew")
        return Changes(batch)

    def moment(self, client: str) -> Moment | None:
        """How far the feed of `client` has come; None when there is none. To be taken before looking."""
        feed = self._of(client)
        return None if feed is None else feed.core.moment

    def answered(self, client: str, told: Iterable[tuple[Path, FileMetadata | None]]) -> None:
        """`client` is about to be told, in an answer with a moment, what is at these paths; None: nothing."""
        feed = self._of(client)
        if feed is not None:
            feed.core.answered(told)

    def listed(self, client: str, path: Path) -> None:
        """`client` is about to be told, in an answer with a moment, names in the directory `path`."""
        feed = self._of(client)
        if feed is not None:
            feed.core.listed(path)

    def counts(self) -> FeedCounts:
        """What was published so far."""
        feeds = self._by_scope.values()
        return FeedCounts(
            feeds=len(feeds),
            followers=sum(len(feed.followers) for feed in feeds),
            batches=sum(feed.batches for feed in feeds),
            changes=sum(feed.changes for feed in feeds),
            bytes=sum(feed.bytes for feed in feeds),
        )

    # --- what happened

    def marks(self) -> Marks:
        """How far each feed has looked."""
        return {feed: feed.core.mark for feed in self._by_scope.values()}

    def changed(
        self, *paths: Path, left: Collection[Path] = (), written: Collection[Path] = (), own: bool = False
    ) -> None:
        """See `ChangeFeed.changed`."""
        for feed in self._by_scope.values():
            feed.changed(paths, left, written, own=own)

    def appeared(self, path: Path, own: Marks | None = None) -> None:
        """A directory is new at `path`; `own` are the marks from before a client's request that made it."""
        for feed in self._by_scope.values():
            feed.appeared(path, None if own is None else own.get(feed, 0))

    def renamed(self, source: Path, destination: Path, marks: Marks, *, own: bool = False) -> None:
        """A name moved since `marks` were taken, with all below it; `own`: since a client asked for it."""
        for feed in self._by_scope.values():
            feed.renamed(source, destination, marks.get(feed, 0), own=own)

    def swept(self, path: Path) -> None:
        """Anything may have happened at and below `path`."""
        for feed in self._by_scope.values():
            feed.swept(path)

    def begin_epoch(self, reason: str) -> None:
        """Anything may have happened anywhere."""
        for feed in self._by_scope.values():
            moment = feed.core.begin_epoch()
            _log.info("change feed: epoch %016x begins: %s", moment.epoch, reason)

    def heartbeat(self) -> None:
        """Say how far each feed is, and end those that somebody follows who may not any more."""
        for feed in self._by_scope.values():
            if self._withdraw(feed):
                feed.core.heartbeat()

    def _withdraw(self, feed: ScopedFeed) -> bool:
        """Whether `feed` goes on, once those who may not read it any more are gone."""
        with self._lock:
            gone = [client for client, key in feed.followers.items() if self._key_of(client) != key]
            for client in gone:
                del feed.followers[client]
            if not feed.followers:
                self._by_scope = {scope: other for scope, other in self._by_scope.items() if other is not feed}
                feed.end()
            elif gone:
                feed.replace_seal()
        if not feed.followers:
            _log.warning("change feed: ended, nobody is left who may read it: %s may not read on", ", ".join(gone))
            return False
        if gone:
            epoch = feed.core.moment.epoch
            _log.warning("change feed: epoch %016x begins, sealed anew: %s may not read on", epoch, ", ".join(gone))
        return True

    def _of(self, client: str) -> ScopedFeed | None:
        return self._by_scope.get(self._policy.visible(client))
