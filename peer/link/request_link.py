"""The pool of lanes between a peer and its broker, and the one thread that listens on all of them.

Lane 0 is for what is small and urgent; bulk takes the others, so that metadata never waits behind it. Callers send from
their own threads; what arrives is handed to the `Receiver` on the link's thread, which must not block there.

The one rule: nothing is kept for later. What cannot be sent now is said to be unsent, and whoever asked decides.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import zmq

from peer.link.lane import Dialing, Lane
from peer.link.registration import Registration
from schema.envelope import Address, EnvelopeError, Header, Kind, decode_address, decode_header
from schema.pace import Pace
from schema.relay_messages import (
    Announce,
    Announced,
    Error,
    PeerGone,
    RelayMessageError,
    Withdraw,
    decode_relay_message,
)

_log = logging.getLogger(__name__)

URGENT_LANE: Final = 0
DEFAULT_LANES: Final = 4
UPKEEP: Final = 0.1
"""Seconds between two looks at timers, here and in the receiver, while messages keep coming."""
LONGEST_WAIT: Final = 0.25
"""Seconds that the link's thread sleeps at most, so that timers of those above are never later than this."""
FLUSH: Final = 1.0
"""Seconds for which `stop` lets what is queued go out."""
SEND_WAIT: Final = 0.002
LONGEST_SEND_WAIT: Final = 0.05
"""Seconds between two attempts to send into a full queue: doubled from the first to the longest."""
_COMPLAINTS_EVERY: Final = 1.0


def clock() -> float:
    """Seconds of a clock that never jumps and runs on while the machine sleeps, as clock_gettime(2) CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Receiver(Protocol):
    """Who is behind a link. Every method is called on the link's thread, must not block, and must not raise."""

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        """An envelope came from `sender`, as the broker says."""

    def registered(self, lane: int, now: float) -> None:
        """The lane can send (again): what was sent on it before may be lost."""

    def peer_gone(self, peer: Address, now: float) -> None:
        """The broker lost the last connection of a peer."""

    def refused(self, error: Error, now: float) -> None:
        """The broker refused an envelope of ours."""

    def tick(self, now: float) -> None:
        """Time goes on; called at least every `LONGEST_WAIT` seconds."""


class RequestLink:
    """The connection of one program instance to the broker.

    `instance` (63 random bits) tells the programs of one peer id apart. `receiver` is set once, before `start`.
    """

    def __init__(self, dialing: Dialing, *, instance: int, lanes: int = DEFAULT_LANES, software: str = "") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.lanes: Final = [
            Lane(self._context, dialing, Registration(instance, lane, software), self._wake) for lane in range(lanes)
        ]
        self._endpoint = dialing.endpoint
        self._clock = clock
        self._bulk = itertools.count()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen, name="link", daemon=True)
        self._poller = select.poll()
        self._monitors: set[int] = set()
        self._connections: dict[int, int] = {}
        """Descriptor -> lane."""
        self._readable: list[int] = []
        """Lanes that may have something to receive."""
        self._topics: set[bytes] = set()
        self._announced: set[bytes] = set()
        self._receiver: Receiver | None = None
        self._reported: str | None = None
        self._complaints = Pace(_COMPLAINTS_EVERY)

    def start(self, receiver: Receiver) -> None:
        """Connect and listen from now on."""
        self._receiver = receiver
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection; what is still queued has `FLUSH` seconds to go out."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        for lane in self.lanes:
            lane.close(round(1000 * FLUSH))
        self._context.term()
        os.close(self._woken)

    def bulk_lane(self) -> int:
        """The next lane for bulk, in turn; the only lane where there is one."""
        others = len(self.lanes) - 1
        return 1 + next(self._bulk) % others if others else URGENT_LANE

    def registered(self, lane: int) -> bool:
        """Whether the lane can send now."""
        return self.lanes[lane].registered

    def send(self, lane: int, destination: Address, header: Header, body: bytes | bytearray | memoryview) -> bool:
        """Send an envelope without waiting. False when it was not sent: not registered, or too much is queued."""
        return self.lanes[lane].send(destination.encode(), header, body)

    def send_within(
        self, lane: int, destination: Address, header: Header, body: bytes | bytearray | memoryview, seconds: float
    ) -> bool:
        """As `send`, waiting up to `seconds` for room in the queue of a registered lane."""
        if self.send(lane, destination, header, body):
            return True
        deadline = self._clock() + seconds
        pause = SEND_WAIT
        while self.registered(lane) and self._clock() < deadline and not self._stopping.wait(pause):
            if self.send(lane, destination, header, body):
                return True
            pause = min(2 * pause, LONGEST_SEND_WAIT)
        return False

    def announce(self, topic: bytes) -> None:
        """Have the broker admit our publications under `topic`, again after each registration."""
        self._topics.add(topic)
        self.lanes[URGENT_LANE].tell_relay([Announce(topic)])

    def retract(self, topic: bytes) -> None:
        """We publish under `topic` no more."""
        self._topics.discard(topic)
        self._announced.discard(topic)
        self.lanes[URGENT_LANE].tell_relay([Withdraw(topic)])

    def announced(self, topic: bytes) -> bool:
        """Whether the broker has taken `topic`."""
        return topic in self._announced

    def wait_registered(self, seconds: float) -> bool:
        """Wait until the urgent lane is registered. False when it is not after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.lanes[URGENT_LANE].registered, seconds)

    @property
    def refusal(self) -> Error | None:
        """Why the broker does not register us, when it said so."""
        return self.lanes[URGENT_LANE].registration.refusal

    def _listen(self) -> None:
        receiver = self._receiver
        if receiver is None:
            raise RuntimeError("a link is started with its receiver")
        deliveries = [
            functools.partial(self._guarded, self._deliver, receiver, index) for index in range(len(self.lanes))
        ]
        self._watch()
        upkeep_at = 0.0
        while not self._stopping.is_set():
            now = self._clock()
            if now >= upkeep_at:
                upkeep_at = now + UPKEEP
                for lane in self.lanes:
                    self._guarded(self._keep_alive, lane, now)
                self._guarded(receiver.tick, now)
            for index in self._readable:
                self.lanes[index].receive(deliveries[index])
            if self._wait(upkeep_at):
                upkeep_at = 0.0

    def _watch(self) -> None:
        """Know every descriptor to wait for."""
        self._poller = select.poll()
        self._poller.register(self._woken, select.POLLIN)
        self._monitors = set()
        self._connections = {}
        for index, lane in enumerate(self.lanes):
            connection, events = lane.descriptors
            self._poller.register(connection, select.POLLIN)
            self._poller.register(events, select.POLLIN)
            self._connections[connection] = index
            self._monitors.add(events)
        self._readable = list(self._connections.values())

    def _wait(self, upkeep_at: float) -> bool:
        """Sleep until there is something to do; True when it is about a connection itself."""
        now = self._clock()
        due = min(lane.registration.next_tick(now) for lane in self.lanes)
        seconds = max(upkeep_at - now, min(due, LONGEST_WAIT), 0.0)
        ready = [descriptor for descriptor, _ in self._poller.poll(1000 * seconds)]
        if self._woken in ready:
            # A sender took some lane's edge away: which one is not said, so all are looked at.
            os.eventfd_read(self._woken)
            self._readable = list(self._connections.values())
        else:
            self._readable = [self._connections[descriptor] for descriptor in ready if descriptor in self._connections]
        return not self._monitors.isdisjoint(ready)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def _keep_alive(self, lane: Lane, now: float) -> None:
        lane.follow(now)
        registration = lane.registration
        if registration.silent(now):
            _log.warning("no word from the broker at %s: connecting again", self._endpoint)
            lane.reconnect()
            self._watch()
        messages = registration.tick(now)
        if messages:
            lane.tell_relay(messages)
        self._report(self.refusal)
        if lane.malformed and self._complaints.allows("frames", now):
            _log.warning("dropped %d messages that are no envelopes", lane.malformed)
            lane.malformed = 0

    def _report(self, refusal: Error | None) -> None:
        """Say once why we are not registered."""
        message = refusal.message if refusal else None
        if message and message != self._reported:
            _log.warning("not registered: %s", message)
        self._reported = message

    def _deliver(self, receiver: Receiver, index: int, address: bytes, header_frame: bytes, body: memoryview) -> None:
        now = self._clock()
        lane = self.lanes[index]
        try:
            sender = decode_address(address)
            header = decode_header(header_frame)
            if sender is not None:
                lane.registration.heard(now)
                receiver.envelope(index, sender, header, body, now)
            elif header.kind is Kind.RELAY:
                self._relay_says(receiver, index, lane, body, now)
        except (EnvelopeError, RelayMessageError) as error:
            if self._complaints.allows("malformed", now):
                _log.warning("dropped a malformed message: %s", error)

    def _relay_says(self, receiver: Receiver, index: int, lane: Lane, body: memoryview, now: float) -> None:
        message = decode_relay_message(body)
        if lane.registration.receive(message, now):
            self._on_registered(receiver, index, now)
        elif not lane.registered:
            lane.tell_relay(lane.registration.tick(now))
        if isinstance(message, PeerGone):
            gone = decode_address(message.address)
            if gone is not None:
                receiver.peer_gone(gone, now)
        elif isinstance(message, Announced):
            self._announced.add(message.topic)
        elif isinstance(message, Error):
            receiver.refused(message, now)

    def _on_registered(self, receiver: Receiver, index: int, now: float) -> None:
        if index == URGENT_LANE:
            self._announced.clear()
            self.lanes[index].tell_relay([Announce(topic) for topic in tuple(self._topics)])
            _log.info("registered with the broker at %s", self._endpoint)
            with self._changed:
                self._changed.notify_all()
        receiver.registered(index, now)

    def _guarded(self, call: Callable[..., object], *arguments: object) -> None:
        """One message that breaks its receiver must not end the thread that all others depend on."""
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001 - it is logged with its traceback, and the thread lives
            _log.exception("unexpected failure on the link's thread")
