"""Answers libzmq's question whether a connection may be made: the ZeroMQ Authentication Protocol, RFC 27.

The one rule: only CURVE, only keys that admission knows; whatever is not understood is refused, and no key is logged,
only fingerprints.

A refusal has status 300, *temporary*: who is admitted changes while we run. libzmq then lets the handshake run out and
the peer's socket tries again by itself, so a peer that came before its certificate gets in when that appears. After a
400 a libzmq client never tries again on that socket (seen with 4.3.5).

It lives in the server's own loop, without a thread: admission then needs no lock, and an answer never comes from
certificates older than those the loop routes by. Handshakes wait for a turn of the loop, well under their deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import zmq

from broker.counters import Counters
from schema.identity import KEY_SIZE, fingerprint
from schema.pace import Pace

log = logging.getLogger("broker.zap")

ENDPOINT: Final = "inproc://zeromq.zap.01"
_VERSION: Final = b"1.0"
_MAX_TURN: Final = 64
_FRAMES: Final = 7
"""version, request id, domain, address, identity, mechanism, credentials: one frame of those for CURVE."""

Decide = Callable[[str, bytes], str | None]
"""(domain, 32 bytes of public key) -> the User-Id to write into every frame of the connection, None to refuse it."""


class ZapHandler:
    """The answering end of ZAP in one ZeroMQ context. Bind it before any socket that asks."""

    def __init__(self, context: zmq.Context[Any], decide: Decide, counters: Counters) -> None:
        self.socket: Final = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)
        self._decide = decide
        self._counters = counters
        self._log_lines = Pace(10.0)

    def answer(self, now: float) -> None:
        """Answer what has been asked, a bounded number of questions at a time. Never waits."""
        for _ in range(_MAX_TURN):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if b"" not in frames:
                continue
            split = frames.index(b"") + 1
            reply = self.reply(frames[split:], now)
            if reply is not None:
                self.socket.send_multipart(frames[:split] + reply, zmq.NOBLOCK)

    def reply(self, request: list[bytes], now: float) -> list[bytes] | None:
        """The reply frames to a request's frames; None for what is not ZAP at all."""
        if len(request) < 2 or request[0] != _VERSION:
            return None
        user = None
        seen = "no CURVE key"
        address = "?"
        if len(request) == _FRAMES and request[5] == b"CURVE" and len(request[6]) == KEY_SIZE:
            domain, address = request[2].decode("ascii", "replace"), request[3].decode("ascii", "replace")
            user = self._decide(domain, request[6])
            seen = fingerprint(request[6])
        self._counters.authentications["accepted" if user else "refused"] += 1
        if user is None:
            if self._log_lines.allows(address, now):
                log.warning("refused a connection from %s: %s is not authorised", address, seen)
            return [_VERSION, request[1], b"300", b"not authorised", b"", b""]
        log.debug("admitted %s from %s", user, address)
        return [_VERSION, request[1], b"200", b"OK", user.encode(), b""]

    def close(self) -> None:
        """Stop answering."""
        self.socket.close()
