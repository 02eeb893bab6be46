"""The routing core: frames in, frames out. Pure: no socket, clock or randomness, so tests hold it to every promise.

The one rule: a message is forwarded only from a registered connection, under its own token, to a peer that a pair joins
with the sender; and the sender's name on it is the one that was authenticated, whatever the frames say.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from broker.admission import Admission
from broker.config import Limits
from broker.counters import Counters, Flow
from broker.feed_admission import FeedAdmission
from broker.outgoing import Body, Send
from broker.quota import Quota
from broker.refusals import Refusals, say
from broker.routing_table import Instance, RoutingTable
from broker.tokens import TokenStore
from schema.envelope import HEADER_SIZE, NO_TOKEN, TOKEN_SIZE, Address, EnvelopeError, Header, Kind, decode_address
from schema.identity import PeerId
from schema.relay_messages import (
    Announce,
    Announced,
    AuthRequest,
    AuthResponse,
    PeerGone,
    Ping,
    Pong,
    RelayErrorCode,
    RelayInfo,
    RelayLimits,
    RelayMessageError,
    Withdraw,
    decode_relay_message,
)

log = logging.getLogger("broker.relay")

_MISSED_HEARTBEATS: Final = 3
_MAX_CORRESPONDENTS: Final = 1024
"""Instances that one instance is told the end of. Past it, whom it met longest ago is forgotten."""
_MAX_ADDRESSES: Final = 4096
_PREFIX: Final = 4
"""Bytes of a header that say version, kind and nothing else."""
_TOKEN_AT: Final = HEADER_SIZE - TOKEN_SIZE
_KINDS: Final = {Header(kind).encode()[:_PREFIX]: kind for kind in Kind}
_ROUTE_SIZE: Final = 5
"""Bytes of the ids that libzmq itself gives connections, of which the first is 0: zmq_socket(3), ZMQ_ROUTER."""


class Relay:
    """The state of one broker process and what it does with each message."""

    def __init__(
        self,
        admission: Admission,
        limits: Limits,
        tokens: TokenStore,
        feed: FeedAdmission,
        *,
        counters: Counters,
        info: RelayInfo,
    ) -> None:
        """`info` is what the relay says of itself to every peer that registers."""
        self._admission = admission
        self._limits = limits
        self._tokens = tokens
        self._feed = feed
        self._info = info
        self.table: Final = RoutingTable(limits.max_instances)
        self._refusals = Refusals(counters)
        self._quota = Quota(limits.messages_per_second, limits.bytes_per_second, limits.burst_seconds)
        self._flows: dict[tuple[PeerId, PeerId], Flow] = {}
        """(sender, destination) of every pair, both ways: who is not in it may not talk."""
        for client, agent in admission.pairs:
            self._flows[client, agent] = counters.to_agent
            self._flows[agent, client] = counters.to_client
        self._addresses: dict[bytes, Address] = {}
        self._max_body: Final = limits.max_message_bytes

    def receive(self, user: str, route: bytes, frames: Sequence[Body], now: float) -> list[Send]:
        """What follows from `frames`, which the connection `route`, authenticated as `user`, sent.

        `route` is the ROUTER's id of the connection. Small frames are `bytes`; one that is not counts as bulk.
        """
        peer = self._admission.peers.get(user)
        if peer is None:
            return self._refusals.stranger(user, route, now)
        wait = self._quota.charge(peer, sum(map(len, frames)), now)
        if len(frames) != 3:
            return self._refusals.malformed(peer, route, "an envelope has 3 frames", now)
        address, header, body = frames
        if not isinstance(address, bytes) or not isinstance(header, bytes) or len(header) != HEADER_SIZE:
            return self._refusals.malformed(peer, route, "the address or the header has a wrong size", now)
        kind = _KINDS.get(header[:_PREFIX])
        if kind is None or (kind is Kind.RELAY) is not (address == b""):
            return self._refusals.malformed(peer, route, "a version or kind that does not fit here", now)
        if wait or len(body) > self._max_body:
            code = RelayErrorCode.RATE_LIMITED if wait else RelayErrorCode.TOO_LARGE
            return self._refusals.refuse(code, peer, route, now, address=address, header=header, retry_after=wait)
        if not address:
            return self._speak(user, route, header, body, now)
        return self._forward(user, route, (address, header, body), now)

    def lost(self, route: bytes) -> list[Send]:
        """The connection `route` is no more."""
        instance = self.table.drop_route(route)
        return [] if instance is None else self._gone([instance], "its connections ended")

    def undeliverable(self, send: Send) -> list[Send]:
        """`send` was taken, but its connection ended first: its sender is told."""
        return self._refusals.undelivered(send, RelayErrorCode.NO_ROUTE)

    def congested(self, send: Send) -> list[Send]:
        """`send` did not fit into the spool, or waited there for too long: its sender is told."""
        return self._refusals.undelivered(send, RelayErrorCode.CONGESTED)

    def revoke(self, peer: PeerId) -> list[Send]:
        """`peer` is no longer authorised: its routes, tokens, topics and subscriptions end, and it is told so."""
        farewell = [self._refusals.farewell(route) for route in self.routes_of(peer)]
        instances = self.table.instances_of(peer)
        for instance in instances:
            self.table.drop_instance(instance)
        self._feed.drop_subscriber(peer)
        return farewell + self._gone(instances, "it is no longer authorised")

    def routes_of(self, peer: PeerId) -> list[bytes]:
        """Every registered connection of `peer`."""
        return [route for instance in self.table.instances_of(peer) for route in instance.lanes.values()]

    def tick(self, now: float) -> list[Send]:
        """What time alone brings: silent instances go, expired tokens and idle quotas are forgotten. Once a second."""
        self._tokens.sweep(now)
        self._quota.sweep(now)
        silent = self.table.silent_since(now - _MISSED_HEARTBEATS * self._limits.heartbeat_seconds)
        for instance in silent:
            self.table.drop_instance(instance)
        return self._gone(silent, "it was silent for too long")

    def charge(self, peer: PeerId, size: int, now: float) -> bool:
        """Charge a publication of `size` bytes to the quota of `peer`: may it pass?"""
        return not self._quota.charge(peer, size, now)

    def _forward(self, user: str, route: bytes, frames: tuple[bytes, bytes, Body], now: float) -> list[Send]:
        """A message from one peer to another."""
        address, header, body = frames
        source = self._sender(user, route, header, now)
        if isinstance(source, RelayErrorCode):
            return self._refuse(source, user, route, now, address=address, header=header)
        destination = self._addresses.get(address) or self._decode_address(address)
        if destination is None:
            return self._refusals.malformed(source.peer, route, "not an address", now)
        flow = self._flows.get((source.peer, destination.peer))
        if flow is None:
            return self._refuse(RelayErrorCode.NOT_PAIRED, user, route, now, address=address, header=header)
        target = self.table.find(destination)
        if target is None:
            return self._refuse(RelayErrorCode.NO_ROUTE, user, route, now, address=address, header=header)
        if target not in source.correspondents:
            _acquaint(source, target)
        flow.add(len(body))
        to = target.route(self.table.lanes[route].index)
        return [Send(to, (source.address, header[:_TOKEN_AT] + NO_TOKEN, body), route, address)]

    def _speak(self, user: str, route: bytes, header: bytes, body: Body, now: float) -> list[Send]:
        """A message to the relay itself."""
        peer = self._admission.peers[user]
        try:
            message = decode_relay_message(body if isinstance(body, bytes) else b"")
        except RelayMessageError as error:
            return self._refusals.malformed(peer, route, str(error), now)
        if isinstance(message, AuthRequest):
            return self._register(user, route, message, header, now)
        instance = self._sender(user, route, header, now)
        if isinstance(instance, RelayErrorCode):
            return self._refuse(instance, user, route, now, header=header)
        if isinstance(message, Ping):
            issued = self._tokens.issue(instance, now)
            return [say(route, Pong(message.echo, issued.token, issued.expires_in))]
        if isinstance(message, Announce):
            code: RelayErrorCode | None = RelayErrorCode.NOT_PAIRED
            if peer in self._admission.agents:
                code = self._feed.announce(peer, instance.address, message.topic)
            if code is not None:
                return self._refuse(code, user, route, now, header=header)
            return [say(route, Announced(message.topic))]
        if isinstance(message, Withdraw):
            self._feed.withdraw(instance.address, message.topic)
            return []
        return self._refusals.malformed(peer, route, f"{type(message).__name__} is for the relay to say", now)

    def _register(self, user: str, route: bytes, request: AuthRequest, header: bytes, now: float) -> list[Send]:
        address = Address(self._admission.peers[user], request.instance)
        if len(route) != _ROUTE_SIZE or route[0] != 0:
            # An id that a peer chose itself could be taken over by another peer when this connection ends.
            why = "a connection that sets a routing id cannot register"
            return self._refusals.malformed(address.peer, route, why, now)
        if not self.table.has_room(address):
            return self._refuse(RelayErrorCode.TOO_MANY, user, route, now, header=header)
        instance, appeared, emptied = self.table.register(user, address, request.lane, route, now)
        if appeared:
            log.info("%s is here, running %.64r", instance.address.decode(), request.software)
        issued = self._tokens.issue(instance, now)
        limits = RelayLimits(self._max_body, self._limits.messages_per_second, self._limits.bytes_per_second)
        heartbeat = self._limits.heartbeat_seconds
        response = AuthResponse(issued.token, issued.expires_in, heartbeat, limits, self._info)
        return [say(route, response), *(self._gone([emptied], "its last lane is another's now") if emptied else ())]

    def _sender(self, user: str, route: bytes, header: bytes, now: float) -> Instance | RelayErrorCode:
        """The instance that sent this over its registered lane under a good token, or why it is not believed."""
        lane = self.table.lanes.get(route)
        if lane is None or lane.user != user:
            return RelayErrorCode.UNREGISTERED
        if not self._tokens.admits(header[_TOKEN_AT:], lane.instance, now):
            return RelayErrorCode.BAD_TOKEN
        lane.instance.last_seen = now
        return lane.instance

    def _refuse(
        self, code: RelayErrorCode, user: str, route: bytes, now: float, *, address: bytes = b"", header: bytes
    ) -> list[Send]:
        peer = self._admission.peers[user]
        return self._refusals.refuse(code, peer, route, now, address=address, header=header)

    def _gone(self, instances: Iterable[Instance], why: str) -> list[Send]:
        """These instances were taken from the table: whom they exchanged messages with is told."""
        sends: list[Send] = []
        for instance in instances:
            log.info("%s is gone: %s", instance.address.decode(), why)
            self._tokens.forget(instance)
            self._feed.drop_instance(instance.address)
            for other in instance.correspondents:
                other.correspondents.pop(instance, None)
                if other.lanes:
                    sends.append(say(other.route(0), PeerGone(instance.address)))
        return sends

    def _decode_address(self, frame: bytes) -> Address | None:
        try:
            address = decode_address(frame)
        except EnvelopeError:
            return None
        if address is not None:
            if len(self._addresses) >= _MAX_ADDRESSES:
                self._addresses.clear()
            self._addresses[frame] = address
        return address


def _acquaint(one: Instance, other: Instance) -> None:
    """Each is told when the other is gone; past the bound, whom one met longest ago is forgotten."""
    for mine, its in ((one, other), (other, one)):
        if len(mine.correspondents) >= _MAX_CORRESPONDENTS:
            oldest = next(iter(mine.correspondents))
            del mine.correspondents[oldest]
            oldest.correspondents.pop(mine, None)
        mine.correspondents[its] = None
