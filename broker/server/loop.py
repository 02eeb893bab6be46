"""The server: its state, its ROUTER, and the loop that drives all parts of the broker.

The one rule: only this thread touches the sockets and the state; the HTTP thread reads numbers and nothing else.

On the ROUTER. It takes no hand-over (ZMQ_ROUTER_HANDOVER would let one authorised peer take another's routing id,
and with it what is meant for the other), and is *mandatory*, so that a full or ended connection is an answer and not a
silent drop. libzmq cannot close one connection of a ROUTER: a revoked peer's stays open until the peer leaves, and
every frame on it is refused, since the User-Id that it was admitted under is no longer known.

A connection's end is heard from the socket's monitor, by the descriptor number that the ROUTER gave for each frame
(ZMQ_SRCFD); without it a killed program would count as present until its heartbeats are missed.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any, Final, cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from broker.admission import Admission, AuthorizedDirectory
from broker.config import Settings
from broker.counters import Counters
from broker.delivery import Delivery
from broker.errors import BrokerError
from broker.feed_admission import FeedAdmission
from broker.health import HealthServer, Pulse
from broker.key_file import TransportKey, read_key_file
from broker.metrics import Gauges, Metrics
from broker.outgoing import Body, Outcome, Send
from broker.relay import Relay
from broker.server.feed_plane import FeedPlane
from broker.server.sockets import FEED_OUT, REQUESTS, bind, open_socket
from broker.spool import Spool
from broker.tokens import MemoryTokenStore
from broker.zap import ZapHandler
from schema.identity import PeerId
from schema.limits import MAX_RELAY_MESSAGE
from schema.relay_messages import RelayInfo

log = logging.getLogger("broker.server")

_IO_THREADS: Final = 2
_MAX_TURN: Final = 256
"""Messages handled before the other sockets get their turn."""
_MAX_FRAMES: Final = 4
"""Frames of one message that are kept: enough to see that there are too many."""
_IDLE_MS: Final = 250
_SPOOLED_MS: Final = 2
"""POLLOUT of a ROUTER says that some connection takes more, not which: the spool is retried by time."""
_HOUSEKEEPING: Final = 1.0
_MAX_FAILURES: Final = 20
"""Turns that failed in a row after which the program ends, to be started afresh by its supervisor."""


class Server:
    """One broker. `start` and `stop` run it in a thread, `run` in the caller's."""

    def __init__(self, settings: Settings, key: TransportKey | None = None) -> None:
        """Open and bind every socket. Raises `BrokerError` when one cannot be had, or the key file cannot be used."""
        limits = settings.limits
        self.key: Final = key or read_key_file(settings.security.key_file, settings.broker.id)
        self.counters: Final = Counters()
        self.admission: Final = Admission(settings.peer_pairs)
        self._directory = AuthorizedDirectory(settings.security.authorized)
        self._admit()
        self._feed = FeedAdmission(self.admission.paired, limits.max_topics, limits.max_message_bytes)
        self._tokens = MemoryTokenStore(limits.token_seconds, secrets.token_bytes)
        info = RelayInfo(settings.broker.id, _version(), secrets.randbits(63))
        self.relay: Final = Relay(self.admission, limits, self._tokens, self._feed, counters=self.counters, info=info)
        self.spool: Final = Spool(
            limits.spool_route_messages, limits.spool_route_bytes, limits.spool_total_bytes, limits.spool_seconds
        )
        self._delivery = Delivery(self.relay, self.spool, self._transmit)
        self.pulse: Final = Pulse(time.monotonic())
        self._descriptors: dict[int, bytes] = {}
        """File descriptor -> route, of every registered connection."""
        self._routes: dict[bytes, int] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._resources = contextlib.ExitStack()
        try:
            self._open(settings)
        except BaseException:
            self._resources.close()
            raise

    def start(self) -> None:
        """Run the loop in a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self.run, name="broker", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the loop and close everything. Raises `TimeoutError` if that takes longer."""
        self._stopping.set()
        if self._thread is None:
            self._resources.close()
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the broker's loop did not end within {timeout} s")

    def run(self, stop_event: threading.Event | None = None) -> None:
        """Turn the loop until `stop_event` is set (or `stop` is called), then close everything."""
        stop = stop_event or self._stopping
        with self._resources:
            if self._health is not None:
                self._health.start()
                log.info("metrics and health are at %s", self._health.address)
            log.info("%s listens on %s, feeds on %s and %s", self.key.certificate.id, *self.endpoints)
            log.info("its certificate is %s", self.key.certificate.fingerprint)
            housekeeping, failures = time.monotonic(), 0
            while not stop.is_set() and not self._stopping.is_set():
                ready = self._poll()
                began = time.monotonic()
                failures = 0 if self._guarded(self._turn, ready, began) else failures + 1
                if began >= housekeeping:
                    housekeeping = began + _HOUSEKEEPING
                    self._guarded(self._keep_house, began)
                if failures >= _MAX_FAILURES:
                    raise BrokerError(f"{failures} turns of the loop failed one after another: see the log")
                self.pulse.turn(began, time.monotonic(), self.relay.table.live_peers)
            log.info("stopped")

    def _open(self, settings: Settings) -> None:
        limits, secret = settings.limits, self.key.secret
        context: zmq.Context[Any] = zmq.Context(_IO_THREADS)
        self._resources.callback(context.term)
        self._zap = ZapHandler(context, self._decide, self.counters)
        self._resources.callback(self._zap.close)
        self._router = open_socket(
            context, zmq.ROUTER, REQUESTS, secret=secret, limits=limits, queue=limits.socket_queue
        )
        self._resources.callback(self._router.close)
        self._router.router_mandatory = True
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._resources.callback(self._monitor.close, 0)
        self._resources.callback(self._router.disable_monitor)
        self._plane = FeedPlane(
            partial(open_socket, context, secret=secret, limits=limits, queue=limits.feed_queue),
            self.admission,
            self._feed,
            self.counters,
            self.relay.charge,
        )
        self._resources.callback(self._plane.close)
        self._poller = zmq.Poller()
        for socket in (self._zap.socket, self._monitor, self._router, self._plane.inward):
            self._poller.register(socket, zmq.POLLIN)
        self._polled_outward: zmq.Socket[bytes] | None = None
        requests, feed_in, feed_out = settings.endpoints
        self._endpoints = (bind(self._router, requests), *self._plane.bind(feed_in, feed_out))
        table = self.relay.table
        gauges = Gauges(
            peers=lambda: table.live_peers,
            instances=lambda: table.live_instances,
            lanes=lambda: len(table.lanes),
            tokens=lambda: len(self._tokens),
            topics=lambda: self._feed.live_topics,
            spool_bytes=lambda: self.spool.bytes,
        )
        self._health: HealthServer | None = None
        if settings.metrics.address:
            page = Metrics(self.counters, gauges, self.pulse).page
            self._health = HealthServer(settings.metrics.address, self.pulse, page)
            self._resources.callback(self._health.stop)

    @property
    def endpoints(self) -> tuple[str, str, str]:
        """Where it listens, ports known: requests, feed in, feed out."""
        return self._endpoints

    @property
    def metrics_address(self) -> str:
        """HOST:PORT of /health and /metrics; empty when off."""
        return self._health.address if self._health else ""

    def _poll(self) -> set[Any]:
        wait = _SPOOLED_MS if self.spool.bytes else _IDLE_MS
        if self._plane.outward is not self._polled_outward:
            if self._polled_outward is not None:
                self._poller.unregister(self._polled_outward)
            if self._plane.outward is not None:
                self._poller.register(self._plane.outward, zmq.POLLIN)
            self._polled_outward = self._plane.outward
        return {socket for socket, _ in self._poller.poll(wait)}

    def _turn(self, ready: set[Any], now: float) -> None:
        if self._zap.socket in ready:
            self._zap.answer(now)
        # What a connection sent before it ended comes first, or its last words would be those of a stranger.
        if self._requests(now) and self._monitor in ready:
            self._hear_of_ends(now)
        if self._plane.inward in ready:
            self._plane.publications(now)
        if self._plane.outward in ready:
            self._plane.subscriptions(now)
        self._plane.mend(now)
        if self.spool.bytes:
            self._delivery.flush(now)

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> bool:
        """One message that finds a fault of ours must not end the service to everybody else."""
        try:
            call(*arguments)
        except Exception:
            log.exception("unexpected failure in a turn of the loop")
            return False
        return True

    def _keep_house(self, now: float) -> None:
        for peer in self._admit():
            self._delivery.revoke(peer, now)
        self._delivery.deliver(self.relay.tick(now), now)

    def _admit(self) -> frozenset[PeerId]:
        certificates = self._directory.changed()
        return frozenset() if certificates is None else self.admission.admit_only(certificates)

    def _decide(self, domain: str, transport_key: bytes) -> str | None:
        user = self.admission.user_of_key(transport_key)
        if user is not None and domain == FEED_OUT:
            peer = self.admission.peers[user]
            return user if self._plane.admits_subscriber(peer, time.monotonic()) else None
        return user

    def _requests(self, now: float) -> bool:
        """Take in what peers sent. True when there is no more for now."""
        router, relay, deliver = self._router, self.relay, self._delivery.deliver
        for _ in range(_MAX_TURN):
            try:
                first = router.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            route = first.bytes
            frames: list[Body] = []
            more = first.more
            while more:
                frame = router.recv(zmq.NOBLOCK, copy=False)
                more = frame.more
                if len(frames) < _MAX_FRAMES:
                    frames.append(frame.bytes if len(frame) <= MAX_RELAY_MESSAGE else frame)
            sends = relay.receive(str(first.get("User-Id")), route, frames, now)
            if route not in self._routes and route in relay.table.lanes:
                self._note_descriptor(first, route, now)
            deliver(sends, now)
        return False

    def _transmit(self, send: Send) -> Outcome:
        address, header, body = send.frames
        socket = self._router
        try:
            socket.send(send.route, zmq.SNDMORE | zmq.NOBLOCK)
        except zmq.Again:
            return Outcome.FULL
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return Outcome.GONE
        # A ROUTER decides by the first frame: what follows it is taken, or dropped when the connection has just ended.
        socket.send(address, zmq.SNDMORE | zmq.NOBLOCK)
        socket.send(header, zmq.SNDMORE | zmq.NOBLOCK)
        if isinstance(body, bytes):
            socket.send(body, zmq.NOBLOCK)
        else:
            socket.send(cast("zmq.Frame", body), zmq.NOBLOCK, copy=False)
        return Outcome.SENT

    def _note_descriptor(self, frame: zmq.Frame, route: bytes, now: float) -> None:
        # An end that is still to be read may be that of an earlier connection with the same number.
        self._hear_of_ends(now)
        descriptor = int(frame.get(zmq.SRCFD))
        self._descriptors[descriptor] = route
        self._routes[route] = descriptor

    def _hear_of_ends(self, now: float) -> None:
        while True:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            route = self._descriptors.pop(event["value"], None)
            if route is not None:
                del self._routes[route]
                self._delivery.lost(route, now)


def _version() -> str:
    try:
        return metadata.version("remotefs")
    except metadata.PackageNotFoundError:
        return "unpackaged"
