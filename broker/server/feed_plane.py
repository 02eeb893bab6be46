"""The change-feed plane: agents PUB to our XSUB, clients SUB to our XPUB, and each frame passes `FeedAdmission`.

The one rule: nothing is forwarded by libzmq itself (no ``zmq_proxy``), and nothing is subscribed by libzmq itself: the
XPUB is *manual* (ZMQ_XPUB_MANUAL), so that a subscription which is refused is not set.

Upstream we subscribe to everything, once. Passing subscriptions on would tell every agent the topics of all the others,
and an agent that has no client's session publishes nothing anyway.

In manual mode libzmq applies a subscription to "the connection read from last", and takes that from a queue which a
message that is no subscription throws out of step (seen with 4.3.5: such a message of A, and B's subscription is set
for A). No SUB socket sends such a message. When one comes, or a subscription must be withdrawn, the XPUB is closed and
opened anew: all connect and subscribe again within a moment, and subscribers mend the gap by its sequence numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import zmq

from broker.admission import Admission
from broker.counters import Counters
from broker.errors import StartupError
from broker.feed_admission import FeedAdmission, FeedVerdict
from broker.outgoing import Body
from broker.server.sockets import FEED_IN, FEED_OUT, bind, bound_to
from schema.identity import PeerId
from schema.pace import Pace

log = logging.getLogger("broker.feed")

_MAX_TURN: Final = 128
_BANISHMENT: Final = 600.0
"""Seconds for which the subscriber plane stays closed to a peer that sent what only an attack sends."""
_EVERYTHING: Final = b"\x01"


class FeedPlane:
    """The two sockets of the plane."""

    def __init__(
        self,
        open_socket: Callable[[int, str], zmq.Socket[bytes]],
        admission: Admission,
        feed: FeedAdmission,
        counters: Counters,
        charge: Callable[[PeerId, int, float], bool],
    ) -> None:
        """`open_socket(kind, domain)` opens one of the broker's sockets.

        `charge(peer, bytes, now)` says whether the peer's quota lets a publication pass.
        """
        self._open_socket = open_socket
        self._admission = admission
        self._feed = feed
        self._counters = counters
        self._charge = charge
        self._banished: dict[PeerId, float] = {}
        self._log_lines = Pace(10.0)
        self.inward: Final = open_socket(zmq.XSUB, FEED_IN)
        self.outward: zmq.Socket[bytes] | None = None
        self._outward_endpoint = ""

    def bind(self, feed_in: str, feed_out: str) -> tuple[str, str]:
        """Listen on both endpoints and give them back with their ports. Raises `StartupError`."""
        inward = bind(self.inward, feed_in)
        self.inward.send(_EVERYTHING)
        self._outward_endpoint = feed_out
        self.outward = self._open_outward()
        self._outward_endpoint = bound_to(self.outward)
        return inward, self._outward_endpoint

    def admits_subscriber(self, peer: PeerId, now: float) -> bool:
        """May this peer connect to the subscriber side at all?"""
        return self._banished.get(peer, now) <= now

    def publications(self, now: float) -> None:
        """Forward what agents published, a bounded number at a time."""
        for _ in range(_MAX_TURN):
            try:
                frames = self.inward.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            peer = self._peer_of(frames[0])
            content: list[Body] = [frames[0].bytes, *frames[1:]]
            verdict = self._feed.publication(peer, content)
            if verdict is FeedVerdict.PASS and peer is not None:
                size = len(frames[1])
                if self._charge(peer, size, now):
                    self._publish(frames, size)
                    continue
                verdict = FeedVerdict.RATE_LIMITED
            self._refused(verdict, peer, now)

    def subscriptions(self, now: float) -> None:
        """Set or refuse what clients subscribed to, a bounded number at a time."""
        for _ in range(_MAX_TURN):
            if self.outward is None:
                return
            try:
                frames = self.outward.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            peer = self._peer_of(frames[0])
            verdict = self._feed.subscription(peer, [frame.bytes for frame in frames])
            if verdict is FeedVerdict.SET:
                self.outward.setsockopt(zmq.SUBSCRIBE, frames[0].bytes[1:])
            elif verdict is FeedVerdict.UNSET:
                self.outward.setsockopt(zmq.UNSUBSCRIBE, frames[0].bytes[1:])
            else:
                self._refused(verdict, peer, now)
            if verdict is FeedVerdict.INTRUSION:
                # Before anything else is read: the next subscription could be set for the wrong connection.
                if peer is not None:
                    self._banished[peer] = now + _BANISHMENT
                self._close_outward()

    def mend(self, now: float) -> None:
        """Open the subscriber side anew where that is called for. To be called in every turn of the loop."""
        if self._feed.stale:
            self._close_outward()
        if self.outward is None:
            try:
                self.outward = self._open_outward()
            except StartupError as error:
                # The old listener's port is not free yet; it will be in one of the next turns.
                if self._log_lines.allows("reopen", now):
                    log.info("subscribers have to wait: %s", error)

    def close(self) -> None:
        """Close both sockets."""
        self.inward.close()
        if self.outward is not None:
            self.outward.close()

    def _publish(self, frames: list[zmq.Frame], size: int) -> None:
        if self.outward is None:
            self._counters.dropped["no-subscriber-side"] += 1
            return
        # An XPUB drops what a subscriber's full queue does not take; it never says EAGAIN.
        self.outward.send_multipart(frames, zmq.NOBLOCK, copy=False)
        self._counters.feed.add(size)

    def _open_outward(self) -> zmq.Socket[bytes]:
        socket = self._open_socket(zmq.XPUB, FEED_OUT)
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        try:
            bind(socket, self._outward_endpoint)
        except StartupError:
            socket.close()
            raise
        return socket

    def _close_outward(self) -> None:
        if self.outward is not None:
            log.info("subscribers are asked to connect again")
            self.outward.close()
            self.outward = None
        self._feed.reopened()

    def _peer_of(self, frame: zmq.Frame) -> PeerId | None:
        try:
            user = frame.get("User-Id")
        except zmq.ZMQError:
            return None  # a cancellation that libzmq makes up when a connection ends comes from nobody
        return self._admission.peers.get(str(user))

    def _refused(self, verdict: FeedVerdict, peer: PeerId | None, now: float) -> None:
        self._counters.feed_refused[verdict.value] += 1
        if self._log_lines.allows((peer, verdict), now):
            log.warning("refused a publication or subscription of %s: %s", peer or "a revoked peer", verdict.value)
