"""Opening the broker's ZeroMQ sockets, every one with CURVE and an authentication that fails closed.

The one rule: no socket leaves here without its own ZAP domain enforced: were the handler ever missing, libzmq would
refuse each connection instead of letting each in (ZMQ_ZAP_ENFORCE_DOMAIN, zmq_setsockopt(3)).
"""

from __future__ import annotations

import errno
import re
from typing import Any, Final

import zmq

from broker.config import Limits
from broker.errors import StartupError

REQUESTS: Final = "requests"
FEED_IN: Final = "feed-in"
FEED_OUT: Final = "feed-out"

_SLACK: Final = 1024
"""Bytes over the largest body that a frame may have before its connection is cut: CURVE's own, and some to be told."""
_HEARTBEAT_MS: Final = 5_000
_HEARTBEAT_TIMEOUT_MS: Final = 15_000
_BACKLOG: Final = 256
_IPV4: Final = re.compile(r"tcp://\d+\.\d+\.\d+\.\d+:")


def open_socket(
    context: zmq.Context[Any], kind: int, domain: str, *, secret: bytes, limits: Limits, queue: int
) -> zmq.Socket[bytes]:
    """A CURVE server socket of `kind` that asks ZAP about `domain`, with `queue` messages each way per connection."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.curve_server = True
    socket.curve_secretkey = secret
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.linger = 0
    socket.backlog = _BACKLOG
    socket.sndhwm = socket.rcvhwm = queue
    socket.setsockopt(zmq.MAXMSGSIZE, limits.max_message_bytes + _SLACK)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(limits.handshake_seconds * 1000))
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    return socket


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind to `endpoint` and give the endpoint that it became, its port known. Raises `StartupError`."""
    try:
        _bind_any_family(socket, endpoint)
    except zmq.ZMQError as error:
        raise StartupError(f"cannot listen on {endpoint}: {_reason(error)}") from error
    return bound_to(socket)


def bound_to(socket: zmq.Socket[bytes]) -> str:
    """The endpoint that the socket listens on."""
    endpoint = socket.get(zmq.LAST_ENDPOINT)
    return bytes(endpoint).decode().rstrip("\0") if isinstance(endpoint, bytes) else ""


def _bind_any_family(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Where the kernel has IPv6 switched off, ``*`` cannot be bound for both families: then IPv4 alone."""
    socket.ipv6 = not _IPV4.match(endpoint)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or "[" in endpoint:
            raise
        socket.ipv6 = False
        socket.bind(endpoint)


def _reason(error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return "the port is in use: stop what has it, or choose another in [broker]"
    if error.errno == errno.EACCES:
        return "the port needs a privilege this program lacks: choose one above 1023"
    return error.strerror or str(error)
