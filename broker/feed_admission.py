"""The change-feed plane's rules: who owns a topic, who may publish under it, who may subscribe to it. Pure.

The one rule: a publication passes only under a topic that its own peer announced and still holds, and a subscription
is set only for exactly one topic whose owner is paired with the subscriber.

A topic stays its peer's after it was withdrawn or the agent is gone (bounded, the oldest forgotten first), so nobody
can take it over while old subscriptions to it linger in the XPUB socket. After a restart of the broker, subscribers
come back before the agents have announced: a subscription to a topic not heard of yet is set and noted as *early*. If
the owner then turns out not to be paired with an early subscriber, `stale` asks the server to open its XPUB anew:
everyone subscribes again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

from broker.outgoing import Body
from schema.identity import PeerId
from schema.limits import MAX_TOPIC, MIN_TOPIC
from schema.relay_messages import RelayErrorCode

_MAX_EARLY: Final = 64
"""Subscriptions of one peer to topics not heard of. A program has a few; the rest are guesses."""
_SUBSCRIBE: Final = 1
_CANCEL: Final = 0


class FeedVerdict(enum.Enum):
    """What to do with something that arrived on the feed plane. The value is its name in the metrics."""

    PASS = "pass"  # noqa: S105  a verdict, not a password
    """Forward this publication."""
    SET = "set"
    """Set this subscription for the connection it came from."""
    UNSET = "unset"
    """Cancel it."""
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    FOREIGN_TOPIC = "foreign-topic"
    """Published under a topic that its sender does not hold."""
    NOT_PAIRED = "not-paired"
    NOT_AUTHORISED = "not-authorised"
    """The certificate was removed while the connection was up."""
    TOO_MANY = "too-many"
    RATE_LIMITED = "rate-limited"
    INTRUSION = "intrusion"
    """A message where only subscriptions may come: no honest subscriber can send one."""


class FeedAdmission:
    """Topics, their owners, and the subscriptions that need remembering."""

    def __init__(self, paired: Callable[[PeerId, PeerId], bool], max_topics: int, max_body: int) -> None:
        """`paired(client, agent)`; `max_topics` of one agent are remembered; `max_body` bytes in one publication."""
        self._paired = paired
        self._max_topics: Final = max_topics
        self._max_body: Final = max_body
        self._owners: dict[bytes, PeerId] = {}
        self._live: dict[bytes, bytes] = {}
        """Topic -> address of the instance that announced it."""
        self._withdrawn: set[bytes] = set()
        self._topics_of: dict[PeerId, dict[bytes, None]] = {}
        self._early: dict[bytes, set[PeerId]] = {}
        self._subscribers: set[PeerId] = set()
        self.stale = False
        """A subscription is set that should not be: open the XPUB socket anew, then call `reopened`."""

    def announce(self, peer: PeerId, instance: bytes, topic: bytes) -> RelayErrorCode | None:
        """The instance (its address) of `peer` will publish under `topic`. None when admitted, else why not.

        Subscriptions match by prefix in ZeroMQ, so a topic that begins another peer's, or the reverse, is taken too.
        """
        owner = self._owners.get(topic)
        if owner is None and any(
            known != peer and (taken.startswith(topic) or topic.startswith(taken))
            for taken, known in self._owners.items()
        ):
            return RelayErrorCode.TOPIC_TAKEN
        if owner is not None and owner != peer:
            return RelayErrorCode.TOPIC_TAKEN
        topics = self._topics_of.setdefault(peer, {})
        if owner is None and len(topics) >= self._max_topics and not self._forget_one(topics):
            return RelayErrorCode.TOO_MANY
        topics.pop(topic, None)
        topics[topic] = None
        self._owners[topic] = peer
        self._live[topic] = instance
        self._withdrawn.discard(topic)
        self._settle_early(peer, topic)
        return None

    def withdraw(self, instance: bytes, topic: bytes) -> None:
        """The instance at this address needs its `topic` no more; another's stays as it is.

        What it published there last may still be on its way, and passes until another topic needs the room.
        """
        if self._live.get(topic) == instance:
            self._withdrawn.add(topic)

    def publication(self, peer: PeerId | None, frames: Sequence[Body]) -> FeedVerdict:
        """What to do with frames that `peer` (None: no longer authorised) published."""
        if peer is None:
            return FeedVerdict.NOT_AUTHORISED
        if len(frames) != 2 or not isinstance(frames[0], bytes):
            return FeedVerdict.MALFORMED
        if len(frames[1]) > self._max_body:
            return FeedVerdict.TOO_LARGE
        if frames[0] not in self._live or self._owners[frames[0]] != peer:
            return FeedVerdict.FOREIGN_TOPIC
        return FeedVerdict.PASS

    def subscription(self, peer: PeerId | None, frames: Sequence[Body]) -> FeedVerdict:
        """What to do with what an XPUB socket received: ``0x01 topic`` subscribes, ``0x00 topic`` cancels (RFC 29)."""
        frame = frames[0] if len(frames) == 1 else None
        if not isinstance(frame, bytes) or not frame or frame[0] not in (_SUBSCRIBE, _CANCEL):
            return FeedVerdict.INTRUSION
        topic = frame[1:]
        if frame[0] == _CANCEL:
            return FeedVerdict.UNSET
        if peer is None:
            return FeedVerdict.NOT_AUTHORISED
        if not MIN_TOPIC <= len(topic) <= MAX_TOPIC:
            return FeedVerdict.MALFORMED
        owner = self._owners.get(topic)
        if owner is not None:
            if not self._paired(peer, owner):
                return FeedVerdict.NOT_PAIRED
        elif any(known.startswith(topic) for known in self._owners):
            return FeedVerdict.NOT_PAIRED  # the beginning of a topic is not a topic
        elif not self._note_early(peer, topic):
            return FeedVerdict.TOO_MANY
        self._subscribers.add(peer)
        return FeedVerdict.SET

    def drop_instance(self, instance: bytes) -> None:
        """The agent instance at this address is gone: nothing passes under its topics any more."""
        for topic in [topic for topic, holder in self._live.items() if holder == instance]:
            del self._live[topic]
            self._withdrawn.discard(topic)

    def drop_subscriber(self, peer: PeerId) -> None:
        """`peer` was revoked: its subscriptions have to go, which only a new XPUB socket can do."""
        if peer in self._subscribers:
            self.stale = True

    def reopened(self) -> None:
        """The XPUB socket is new: no subscription is set."""
        self.stale = False
        self._early.clear()
        self._subscribers.clear()

    @property
    def live_topics(self) -> int:
        """Topics under which publications pass."""
        return len(self._live) - len(self._withdrawn)

    def _forget_one(self, topics: dict[bytes, None]) -> bool:
        for topic in topics:
            if topic not in self._live or topic in self._withdrawn:
                del topics[topic]
                del self._owners[topic]
                self._live.pop(topic, None)
                self._withdrawn.discard(topic)
                return True
        return False

    def _note_early(self, peer: PeerId, topic: bytes) -> bool:
        noted = self._early.get(topic, set())
        if peer not in noted:
            if sum(peer in peers for peers in self._early.values()) >= _MAX_EARLY:
                return False
            self._early.setdefault(topic, noted).add(peer)
        return True

    def _settle_early(self, agent: PeerId, topic: bytes) -> None:
        for noted, peers in self._early.items():
            if topic.startswith(noted) and not all(self._paired(peer, agent) for peer in peers):
                self.stale = True
        self._early.pop(topic, None)
