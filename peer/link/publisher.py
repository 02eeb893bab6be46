"""The agent's end of the change-feed plane: a PUB connection to the broker.

The one rule: publishing never waits. What the broker does not take is dropped; subscribers notice by the numbers inside
and ask for what they miss.
"""

from __future__ import annotations

import threading

import zmq

from peer.link.lane import Dialing


class Publisher:
    """A connection that publishes, made again by itself when it breaks. Thread-safe."""

    def __init__(self, dialing: Dialing) -> None:
        """`dialing` leads to the broker's side for publishers. Topics are announced on the request plane."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._lock = threading.Lock()
        self._socket: zmq.Socket[bytes] | None = self._context.socket(zmq.PUB)
        dialing.apply(self._socket)
        self._socket.connect(dialing.endpoint)

    def publish(self, topic: bytes, body: bytes) -> None:
        """Send `body` under `topic`, if there is a way and room on it."""
        with self._lock:
            if self._socket is not None:
                # A PUB socket drops what does not fit; it never says EAGAIN (zmq_socket(3)).
                self._socket.send_multipart([topic, body], zmq.NOBLOCK)

    def stop(self) -> None:
        """Close the connection; what is published later goes nowhere."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        self._context.term()
