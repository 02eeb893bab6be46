"""One lane: a DEALER connection to the broker, shared by threads under a lock.

The one rule: the socket is touched only with the lock held, and never waited on with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from peer.link.registration import Registration, Standing
from schema.envelope import Header, Kind
from schema.limits import MAX_MESSAGE
from schema.relay_messages import Error, RelayErrorCode, RelayMessage, encode_relay_message

HIGH_WATER: Final = 256
"""Messages queued in one socket, each way, before the sender must wait."""
HEARTBEAT_MS: Final = 5_000
"""ZMTP heartbeat: finds a connection that died without a word (NAT, sleep) below our own."""
RECONNECT_MS: Final = 100
RECONNECT_MAX_MS: Final = 2_000
_ZERO_COPY_FROM: Final = 32 * 1024

_ENDED_EARLY: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_EVENTS: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | _ENDED_EARLY

Delivery = Callable[[bytes, bytes, memoryview], None]
"""Takes the address, header and body of a message."""


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
    """A connection and its registration. Thread-safe; `receive`, `follow` and `reconnect` are for the link's thread."""

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
        self.malformed = 0
        """Messages that were dropped since they do not have the frames of an envelope."""
        self._lock = threading.Lock()
        self._socket, self._monitor = self._connect()

    @property
    def registered(self) -> bool:
        """Whether envelopes can be sent now."""
        return self.registration.standing is Standing.REGISTERED

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of the connection and of its events, edge-triggered: after one wakes, `receive` or `follow` to the end."""
        with self._lock:
            return int(self._socket.fileno()), int(self._monitor.fileno())

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

    def receive(self, deliver: Delivery) -> None:
        """Take in everything that has arrived and hand it to `deliver`, which runs without the lock.

        What arrives later wakes the descriptor, or the sender that took the edge away from it wakes the listener.
        """
        while True:
            with self._lock:
                try:
                    message = self._receive()
                except zmq.Again:
                    return
            if message is None:
                self.malformed += 1
            else:
                deliver(*message)

    def follow(self, now: float) -> None:
        """Take in what became of the connection, and tell the registration."""
        while True:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))["event"]
            except zmq.Again:
                return
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.registration.connected(now)
            elif event == zmq.EVENT_DISCONNECTED:
                self.registration.disconnected()
            elif event == zmq.EVENT_CLOSED:
                self.registration.unreachable(self._excuse("nobody answers there"))
            else:
                why = "it does not know this peer's transport key, or its own key is not the one that is pinned here"
                self.registration.unreachable(self._excuse(why))

    def reconnect(self) -> None:
        """Drop the connection with all that is queued in it and make a new one."""
        with self._lock:
            self._close(0)
            self._socket, self._monitor = self._connect()
        self.registration.disconnected()

    def close(self, linger_ms: int) -> None:
        """Close the connection; what is queued still goes out for as long as `linger_ms` after that."""
        with self._lock:
            self._close(linger_ms)
            # Whoever is late to send finds a lane that is not registered, and no closed socket.
            self.registration.disconnected()

    def _connect(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        socket = self._context.socket(zmq.DEALER)
        self._dialing.apply(socket)
        monitor = socket.get_monitor_socket(_EVENTS)
        socket.connect(self._dialing.endpoint)
        return socket, monitor

    def _close(self, linger_ms: int) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)

    def _excuse(self, why: str) -> Error:
        return Error(RelayErrorCode.UNREGISTERED, f"the broker at {self._dialing.endpoint} is out of reach: {why}")

    def _receive(self) -> tuple[bytes, bytes, memoryview] | None:
        """One message; None for one that is no envelope. The body, which may be large, stays in ZeroMQ's memory."""
        socket = self._socket
        address = socket.recv(zmq.NOBLOCK)
        if not socket.getsockopt(zmq.RCVMORE):
            return None
        header = socket.recv(zmq.NOBLOCK)
        if not socket.getsockopt(zmq.RCVMORE):
            return None
        body = socket.recv(zmq.NOBLOCK, copy=False)
        if not body.more:
            return address, header, body.buffer
        while socket.getsockopt(zmq.RCVMORE):
            socket.recv(zmq.NOBLOCK)
        return None

    def _send(self, frames: list[bytes | bytearray | memoryview]) -> bool:
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames[-1]) < _ZERO_COPY_FROM)
        except zmq.Again:
            return False
        finally:
            # Sending lets libzmq take in what has arrived, and with it the edge that the listener sleeps on.
            events = self._socket.getsockopt(zmq.EVENTS)
            if isinstance(events, int) and events & zmq.POLLIN:
                self._wake()
        return True
