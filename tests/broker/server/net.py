"""A real broker on loopback and peers that speak to it with bare ZeroMQ sockets, honest or not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils import z85

from broker.config import BrokerTable, Limits, MetricsTable, Pair, SecurityTable, Settings
from broker.server import Server
from schema.envelope import NO_TOKEN, Header, Kind, decode_header
from schema.identity import Certificate, PeerId, PublicKey, encode_certificate, encode_key
from schema.relay_messages import (
    AuthRequest,
    AuthResponse,
    RelayMessage,
    decode_relay_message,
    encode_relay_message,
)

PATIENCE = 10.0
"""Seconds after which something that should have happened has not."""


class Keys:
    """One CURVE key pair."""

    def __init__(self) -> None:
        self.public85, self.secret85 = zmq.curve_keypair()

    @property
    def public(self) -> PublicKey:
        return PublicKey(z85.decode(self.public85))


def until(true: Callable[[], bool]) -> None:
    """Wait for something that becomes true, or fail."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Connection:
    """A DEALER and what one says over it."""

    def __init__(self, socket: zmq.Socket[bytes], address: bytes) -> None:
        self.socket = socket
        self.address = address
        self.token = NO_TOKEN

    def tell(self, message: RelayMessage) -> None:
        header = Header(Kind.RELAY, token=self.token).encode()
        self.socket.send_multipart([b"", header, encode_relay_message(message)])

    def ask(self, message: RelayMessage) -> RelayMessage:
        self.tell(message)
        return self.hear()

    def register(self, instance: int = 1, lane: int = 0) -> AuthResponse:
        response = self.ask(AuthRequest(instance, lane))
        assert isinstance(response, AuthResponse), response
        self.token = response.token
        self.address = self.address.partition(b"/")[0] + b"/%016x" % instance
        return response

    def send(self, to: bytes, body: bytes = b"sealed", counter: int = 1) -> None:
        self.socket.send_multipart([to, Header(Kind.SEALED, 1, counter, self.token).encode(), body])

    def receive(self, patience: float = PATIENCE) -> list[bytes]:
        """The next message, from a peer or the broker."""
        assert self.socket.poll(int(patience * 1000)), "nothing came"
        return self.socket.recv_multipart()

    def hear(self) -> RelayMessage:
        """The next message, which must be the broker's."""
        address, header, body = self.receive()
        assert address == b""
        assert decode_header(header).kind is Kind.RELAY
        return decode_relay_message(body)

    def silent(self, seconds: float = 0.3) -> bool:
        return not self.socket.poll(int(seconds * 1000))


class Net:
    """A broker of its own, with certificates for some peers, and every socket that a test opened."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.authorized = home / "authorized"
        self.authorized.mkdir()
        self.context: zmq.Context[Any] = zmq.Context()
        self.relay_keys = Keys()
        self.keys: dict[str, Keys] = {}
        self._server: Server | None = None
        self._sockets: list[zmq.Socket[bytes]] = []
        key_file = home / "relay.key"
        secret = encode_key(z85.decode(self.relay_keys.secret85))
        key_file.write_text(f'version = 1\nid = "relay"\ntransport_secret = "{secret}"\n')
        key_file.chmod(0o600)
        self.settings = Settings(
            BrokerTable("relay", "tcp://127.0.0.1:*"),
            SecurityTable(key_file, self.authorized),
            (Pair("laptop", "server"), Pair("phone", "nas")),
            Limits(heartbeat_seconds=1.0),
            MetricsTable(""),
        )
        for name in ("laptop", "phone", "server", "nas"):
            self.authorize(name)

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def authorize(self, name: str) -> None:
        """Give `name` new keys, and certify them."""
        self.keys[name] = Keys()
        self.certify(name)

    def certify(self, name: str) -> None:
        """Put the certificate of the keys that `name` has where the broker looks."""
        text = encode_certificate(Certificate(PeerId(name), self.keys[name].public))
        (self.authorized / f"{name}.cert").write_text(text)

    def revoke(self, name: str) -> None:
        (self.authorized / f"{name}.cert").unlink()

    def start(self, **limits: Any) -> Server:
        """Start the broker, with other limits."""
        changed = msgspec.structs.replace(self.settings.limits, **limits)
        self.settings = msgspec.structs.replace(self.settings, limits=changed)
        server = self.build()
        server.start()
        return server

    def build(self) -> Server:
        """Make the broker without turning its loop."""
        self._server = Server(self.settings)
        return self._server

    def stop_server(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def restart_on_the_same_ports(self) -> Server:
        requests, feed_in, feed_out = self.server.endpoints
        self.stop_server()
        self.settings = msgspec.structs.replace(self.settings, broker=BrokerTable("relay", requests, feed_in, feed_out))
        return self.start()

    def open(self, kind: int, keys: Keys, plane: int, **options: Any) -> zmq.Socket[bytes]:
        """A socket of `kind`, connected to plane 0 (requests), 1 (feed in) or 2 (feed out)."""
        socket = self.bare(kind)
        socket.curve_serverkey = self.relay_keys.public85
        socket.curve_publickey, socket.curve_secretkey = keys.public85, keys.secret85
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(self.server.endpoints[plane])
        return socket

    def bare(self, kind: int) -> zmq.Socket[bytes]:
        """A socket of `kind` that knows no key and is connected to nothing."""
        socket: zmq.Socket[bytes] = self.context.socket(kind)
        socket.linger = 0
        socket.reconnect_ivl = 50
        self._sockets.append(socket)
        return socket

    def monitor(self, socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
        """What happens to the connection of `socket`."""
        monitor = socket.get_monitor_socket(events)
        self._sockets.append(monitor)
        return monitor

    def connect(self, name: str, **options: Any) -> Connection:
        """A DEALER of the peer `name`."""
        return Connection(self.open(zmq.DEALER, self.keys[name], 0, **options), name.encode())

    def registered(self, name: str, instance: int = 1, lane: int = 0, **options: Any) -> Connection:
        connection = self.connect(name, **options)
        connection.register(instance, lane)
        return connection

    def publisher(self, name: str) -> zmq.Socket[bytes]:
        return self.open(zmq.PUB, self.keys[name], 1)

    def subscriber(self, name: str, *topics: bytes) -> zmq.Socket[bytes]:
        socket = self.open(zmq.SUB, self.keys[name], 2)
        for topic in topics:
            socket.subscribe(topic)
        return socket

    def close(self) -> None:
        self.stop_server()
        self.context.destroy(linger=0)
