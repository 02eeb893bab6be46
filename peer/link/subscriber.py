"""A client's end of the change-feed plane: a SUB connection to the broker and the thread that listens on it.

The one rule: what is delivered is exactly a topic that is followed and one body, within bounds; what it says, whether
it is new and whether something is missing is for whoever can open it to say.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final

import zmq

from peer.link.lane import Dialing
from peer.link.request_link import clock
from schema.pace import Pace

_log = logging.getLogger(__name__)

SILENCE: Final = 15.0
"""Seconds without a word on any topic after which the connection is made anew."""
_COMPLAINTS_EVERY: Final = 10.0

Deliver = Callable[[bytes, bytes, float], None]
"""Takes topic, body and the time of `clock`; called on the subscriber's thread, where it must not block."""


class Subscriber:
    """A connection that follows topics, made again by itself when it breaks or stays silent."""

    def __init__(self, dialing: Dialing, deliver: Deliver, *, silence: float = SILENCE) -> None:
        """`dialing` leads to the broker's side for subscribers; `silence` should be several heartbeats of the feed."""
        self._dialing: Final = dialing
        self._deliver: Final = deliver
        self._silence: Final = silence
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._woken: Final = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock: Final = threading.Lock()
        self._wanted: frozenset[bytes] = frozenset()
        self._stopping = threading.Event()
        self._complaints = Pace(_COMPLAINTS_EVERY)
        self._thread = threading.Thread(target=self._listen, name="change feed", daemon=True)

    def start(self) -> None:
        """Connect and listen from now on."""
        self._thread.start()

    def follow(self, topic: bytes) -> None:
        """Deliver what comes under `topic`. The broker must have paired us with its agent."""
        with self._lock:
            self._wanted |= {topic}
        self._wake()

    def unfollow(self, topic: bytes) -> None:
        """Deliver nothing more under `topic`, from the next look of the thread on."""
        with self._lock:
            self._wanted -= {topic}
        self._wake()

    def stop(self) -> None:
        """Stop listening and close the connection."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._context.term()
        os.close(self._woken)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            socket = self._connect()
            try:
                self._follow_on(socket)
            finally:
                socket.close()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        self._dialing.apply(socket)
        socket.connect(self._dialing.endpoint)
        return socket

    def _follow_on(self, socket: zmq.Socket[bytes]) -> None:
        """Listen on `socket` until it has been silent for too long, or to the end."""
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._woken, zmq.POLLIN)
        followed: frozenset[bytes] = frozenset()
        heard_at = clock()
        while not self._stopping.is_set():
            wanted = self._wanted
            for topic in wanted - followed:
                socket.subscribe(topic)
            for topic in followed - wanted:
                socket.unsubscribe(topic)
            if not followed:
                heard_at = clock()
            followed = wanted
            patience = heard_at + self._silence - clock() if followed else self._silence
            if patience <= 0:
                _log.warning("no word from the broker at %s: connecting again", self._dialing.endpoint)
                return
            ready = dict(poller.poll(round(1000 * patience)))
            if self._woken in ready:
                os.eventfd_read(self._woken)
            if socket in ready and self._take(socket, followed):
                heard_at = clock()

    def _take(self, socket: zmq.Socket[bytes], followed: frozenset[bytes]) -> bool:
        """Deliver what has arrived. Whether anything came that may be delivered."""
        heard = False
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return heard
            now = clock()
            if len(frames) != 2 or frames[0] not in followed:
                # A subscription matches by prefix, and the relay may send what it likes.
                if self._complaints.allows("frames", now):
                    _log.warning("dropped a publication that nobody asked for")
                continue
            heard = True
            try:
                self._deliver(frames[0], frames[1], now)
            except Exception:  # noqa: BLE001 - it is logged with its traceback, and the thread lives
                _log.exception("unexpected failure on the change feed's thread")
