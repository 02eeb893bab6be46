"""Follows an agent's change feed for a mount: hears it, asks for what is missing, and begins anew when it is lost.

The one rule: a change is in the cache before anybody else hears of it, so that a question which the news provokes finds
the new answer. The thread that hears never asks; a thread of its own does, one question at a time, and later after
each that failed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from peer.channel.packing import unpack
from peer.errors import FrameRefused, OperationFailed
from peer.filesystem import FileSystem
from peer.mount.coherence import State
from peer.mount.coherent_cache import CoherentCache
from peer.mount.knowledge import Applied
from peer.session.feed_cipher import FeedOpener
from schema.changes import ChangeBatch, ChangeBatchError, decode_batch
from schema.replies import Following
from schema.requests import Caller, FetchChanges, FollowChanges

_log: Final = logging.getLogger(__name__)

Path = tuple[bytes, ...]

LOOK_EVERY: Final = 0.05
"""Seconds between two looks at whether something is missing."""
_NAP: Final = 0.5
"""Seconds between them at most, while nothing is: only an answer, not the feed itself, may say otherwise meanwhile."""
PROBE_AFTER: Final = 30.0
"""Seconds after which the agent is asked how far its feed is, and what its clock shows."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_STOP_DEADLINE: Final = 2.0
_STALE: Final = "ESTALE"


class FeedFollower:
    """What keeps `known` true. `filesystem` is the agent, uncached; times are those of `clock`.

    `subscribe(topic)` has the frames of a topic given to `frame`. `told(applied)` hears of each change that has been
    applied, `lost()` that no copy of anything is to be trusted until asked for again, `followed()` that the feed is
    followed anew, so that verifying what is known makes sense; none of them may block.
    """

    def __init__(
        self,
        filesystem: FileSystem,
        known: CoherentCache,
        path: Path,
        caller: Caller,
        *,
        clock: Callable[[], float],
        subscribe: Callable[[bytes], None],
        told: Callable[[Applied], None],
        lost: Callable[[], None],
        followed: Callable[[], None] = lambda: None,
    ) -> None:
        self._filesystem: Final = filesystem
        self._known: Final = known
        self._path: Final = path
        self._caller: Final = caller
        self._clock: Final = clock
        self._subscribe: Final = subscribe
        self._told: Final = told
        self._lost: Final = lost
        self._followed: Final = followed
        self._lock: Final = threading.Lock()
        self._feed: tuple[bytes, FeedOpener] | None = None
        self._asked_at = 0.0
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE
        self._trusted = False
        self._stopping = False
        self._wake: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name="feed-follower", daemon=True)

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking; a question on its way is not waited for beyond a short deadline."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_DEADLINE)

    def frame(self, topic: bytes, body: bytes, now: float) -> None:
        """A publication has arrived. What is forged, malformed, late or of another topic is dropped."""
        feed = self._feed
        if feed is None or topic != feed[0]:
            return
        try:
            with self._lock:  # one thread hears at a time
                self.heard(decode_batch(unpack(feed[1].open(body))), now)
        except (FrameRefused, ChangeBatchError) as error:
            _log.debug("dropped a frame of the change feed: %s", error)

    def heard(self, batch: ChangeBatch, heard_at: float) -> None:
        """A batch of the feed, that is proven to be one."""
        self._tell(self._known.take(batch, heard_at))
        if self._known.state is not State.CURRENT:
            self._wake.set()

    def _tell(self, changes: list[Applied]) -> None:
        for applied in changes:
            self._told(applied)

    def step(self) -> None:
        """Do what is to be done by now: one question to the agent at most."""
        now = self._clock()
        self._watch_trust()
        if now < self._not_before:
            return
        try:
            self._ask(now)
        except OperationFailed as failure:
            if failure.code == _STALE:
                self._known.lose()
            self._not_before = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            _log.debug("the change feed cannot be followed now: %s", failure)
        else:
            self._pause = _FIRST_PAUSE

    def _ask(self, now: float) -> None:
        if self._known.state is State.LOST or self._known.silent:
            self._asked_at = now
            self._follow(self._filesystem.follow_changes(FollowChanges(self._path), self._caller), now)
            return
        missing = self._known.missing()
        if missing is None and now - self._asked_at >= PROBE_AFTER:
            missing = self._known.next_number
        if missing is not None:
            self._asked_at = now
            request = FetchChanges(self._path, missing.epoch, missing.first)
            batch = self._filesystem.fetch_changes(request, self._caller).batch
            self._tell(self._known.fetched(batch, now))

    def _follow(self, following: Following, asked_at: float) -> None:
        feed = self._feed
        if feed is None or feed[0] != following.topic:
            self._feed = following.topic, FeedOpener(following.key, following.topic)
            self._subscribe(following.topic)
        self._known.follow(following, asked_at)
        self._lost()
        self._followed()

    def _watch_trust(self) -> None:
        trusted = self._clock() <= self._known.trusted_until
        if self._trusted and not trusted:
            self._lost()
        self._trusted = trusted

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.step()
            except Exception:  # noqa: BLE001 - logged with its traceback; without this thread nothing would be trusted again
                _log.exception("unexpected failure while following the change feed")
            self._wake.wait(self._nap())
            self._wake.clear()

    def _nap(self) -> float:
        """Seconds until the next look: nobody tells when trust ends by time, nor when a gap has lasted too long."""
        return max(LOOK_EVERY, min(_NAP, self._known.trusted_until - self._clock()))
