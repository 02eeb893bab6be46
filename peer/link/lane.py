"""One lane: a DEALER connection to the broker, shared by threads under a lock.

The one rule: the socket is touched only with the lock held, and never waited on with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from peer.link.registration import Registration, Standing
from schema.envelope import Header, Kind
from schema.limits import MAX_MESSAGE
from schema.relay_messages import RelayMessage, encode_relay_message

HIGH_WATER: Final = 256
"""Messages queued in one socket, each way, before the sender must wait."""
HEARTBEAT_MS: Final = 5_000
"""ZMTP heartbeat: finds a connection that died without a word (NAT, sleep) below our own."""
RECONNECT_MS: Final = 100
RECONNECT_MAX_MS: Final = 2_000
_ZERO_COPY_FROM: Final = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialing:
    """How to reach the broker: its endpoint and pinned transport key, our transport keys, a SOCKS5 proxy if any."""

    endpoint: str
    relay_key: bytes
    public_key: bytes
    secret_key: bytes
    socks_proxy: str = ""

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Set the options that every socket of ours has: CURVE, no lingering, heartbeats, bounded queues."""
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = HIGH_WATER
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.relay_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public_key)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret_key)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * HEARTBEAT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        if self.socks_proxy:
            socket.setsockopt_string(zmq.SOCKS_PROXY, self.socks_proxy)

    def __repr__(self) -> str:
        return f"Dialing({self.endpoint!r})"


class Lane:
    """A connection and its registration. Thread-safe; `receive` alone is for the link's own thread."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        dialing: Dialing,
        registration: Registration,
        wake: Callable[[], None],
    ) -> None:
        self._context = context
        self._wake = wake
        self._dialing = dialing
        self.registration: Final = registration
        self._lock = threading.Lock()
        self._socket = self._connect()

    @property
    def registered(self) -> bool:
        """Whether envelopes can be sent now."""
        return self.registration.standing is Standing.REGISTERED

    @property
    def descriptor(self) -> int:
        """The edge-triggered descriptor to wait on; after it wakes, `receive` until there is nothing."""
        with self._lock:
            return int(self._socket.fileno())

    def send(self, address: bytes, header: Header, body: bytes | bytearray | memoryview) -> bool:
        """Queue an envelope with this lane's token. False when the lane is not registered or its queue is full."""
        with self._lock:
            if not self.registered:
                return False
            frame = Header(header.kind, header.session, header.counter, self.registration.token).encode()
            return self._send([address, frame, body])

    def tell_relay(self, messages: list[RelayMessage]) -> None:
        """Send messages to the broker itself; what does not go out now will be said again by the registration."""
        with self._lock:
            frame = Header(Kind.RELAY, token=self.registration.token).encode()
            for message in messages:
                self._send([b"", frame, encode_relay_message(message)])

    def receive(self, deliver: Callable[[list[zmq.Frame]], None]) -> None:
        """Take in everything that has arrived and hand it to `deliver`, which runs without the lock."""
        while True:
            with self._lock:
                try:
                    frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    return
            deliver(frames)

    def readable(self) -> bool:
        """Whether a message waits to be received."""
        with self._lock:
            return self._readable()

    def reconnect(self) -> None:
        """Drop the connection with all that is queued in it and make a new one."""
        with self._lock:
            self._socket.close()
            self._socket = self._connect()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._socket.close()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        self._dialing.apply(socket)
        socket.connect(self._dialing.endpoint)
        return socket

    def _send(self, frames: list[bytes | bytearray | memoryview]) -> bool:
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames[-1]) < _ZERO_COPY_FROM)
        except zmq.Again:
            return False
        finally:
            # Sending lets libzmq take in what has arrived, and with it the edge that the listener sleeps on.
            if self._readable():
                self._wake()
        return True

    def _readable(self) -> bool:
        events = self._socket.getsockopt(zmq.EVENTS)
        return isinstance(events, int) and bool(events & zmq.POLLIN)
