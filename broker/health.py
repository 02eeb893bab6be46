"""Is the loop turning? And the small HTTP server that says so, beside the metrics.

The one rule: health is a fact about the loop, not about the thread that answers: a stalled loop is reported, by a 503.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from broker.errors import StartupError
from schema.settings import split_address

log = logging.getLogger("broker.health")

_STALLED: Final = 5.0
"""Seconds without a turn of the loop after which it counts as stalled; an idle one turns four times a second."""
_REQUEST_TIMEOUT: Final = 5.0
_MAX_REQUESTS: Final = 16
"""Answered at a time; more are turned away."""


class Pulse:
    """When the loop started, turned last, and how long its longest turn was since that was last asked."""

    def __init__(self, now: float) -> None:
        self.started: Final = now
        self.turned = now
        self.longest = 0.0
        self.peers = 0
        """Live peers, as of the last turn."""

    def turn(self, began: float, ended: float, peers: int) -> None:
        """A turn of the loop, its waiting not counted, took from `began` to `ended`."""
        self.turned = ended
        self.longest = max(self.longest, ended - began)
        self.peers = peers

    def take_longest(self) -> float:
        """Seconds of the longest turn since this was called last."""
        longest, self.longest = self.longest, 0.0
        return longest

    def report(self, now: float) -> dict[str, Any]:
        """What ``/health`` says."""
        age = now - self.turned
        return {
            "status": "stalled" if age > _STALLED else "ok",
            "peers": self.peers,
            "uptime_seconds": round(now - self.started, 3),
            "last_turn_seconds_ago": round(age, 3),
        }


class HealthServer:
    """``GET /health`` and ``GET /metrics`` on one address, in a thread of its own."""

    def __init__(self, address: str, pulse: Pulse, metrics: Callable[[], bytes]) -> None:
        """Bind to `address` (HOST:PORT). Raises `StartupError`."""
        host, port = split_address(address)
        try:
            self._server = _Server((host, port), pulse, metrics)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartupError(
                f"metrics.address: cannot listen on {address}: {reason}; choose another or stop what has it"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT that is bound."""
        host, port = self._server.server_address[:2]
        name = str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; waits half a second at most for the thread."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(0.5)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], pulse: Pulse, metrics: Callable[[], bytes]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.pulse = pulse
        self.metrics = metrics
        self._free = threading.BoundedSemaphore(_MAX_REQUESTS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  the base class's signature
        log.debug("a request for health or metrics from %s was cut off: %s", client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT
    server: _Server

    def do_GET(self) -> None:
        """Answer the two paths there are."""
        if self.path == "/health":
            report = self.server.pulse.report(time.monotonic())
            self._answer(
                200 if report["status"] == "ok" else 503, "application/json", json.dumps(report).encode() + b"\n"
            )
        elif self.path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4; charset=utf-8", self.server.metrics())
        else:
            self._answer(404, "text/plain", b"there is /health and /metrics\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Say what this is, not which Python runs it."""
        return "remotefs-broker"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        log.debug(format, *args)
