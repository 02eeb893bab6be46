"""Which connections lead to which running program of which peer.

The one rule: a route belongs to the user that registered it, and leads nowhere once its instance is dropped. A route is
the id that libzmq's ROUTER gave a connection, which no later connection gets again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schema.envelope import Address
from schema.identity import PeerId


class Instance:
    """One running program of a peer: its lanes, when it was last heard, and whom it exchanged messages with."""

    __slots__ = ("address", "correspondents", "lanes", "last_seen", "number", "peer")

    def __init__(self, peer: PeerId, number: int, now: float) -> None:
        self.peer: Final = peer
        self.number: Final = number
        self.address: Final = Address(peer, number).encode()
        self.lanes: dict[int, bytes] = {}
        """Lane index -> route."""
        self.last_seen = now
        self.correspondents: dict[Instance, None] = {}
        """Least recently met first."""

    def route(self, lane: int) -> bytes:
        """The route of lane `lane`; with fewer lanes than that, of lane ``lane mod count``."""
        route = self.lanes.get(lane)
        if route is None:
            indices = sorted(self.lanes)
            route = self.lanes[indices[lane % len(indices)]]
        return route


class Lane:
    """One registered connection."""

    __slots__ = ("index", "instance", "user")

    def __init__(self, instance: Instance, index: int, user: str) -> None:
        self.instance: Final = instance
        self.index: Final = index
        self.user: Final = user


class Registration(NamedTuple):
    """What registering a lane did: its instance, is that new, and the instance that lost its last lane by it."""

    instance: Instance
    appeared: bool
    emptied: Instance | None


class RoutingTable:
    """Every registered lane, by route, and every live instance, by peer."""

    def __init__(self, max_instances: int) -> None:
        """At most `max_instances` live instances of one peer."""
        self._max_instances: Final = max_instances
        self.lanes: Final[dict[bytes, Lane]] = {}
        self._instances: dict[PeerId, dict[int, Instance]] = {}
        """Per peer: number -> instance, the newest last."""

    def has_room(self, address: Address) -> bool:
        """Is the instance at `address` there, or may its peer have one more?"""
        numbered = self._instances.get(address.peer, {})
        return address.instance in numbered or len(numbered) < self._max_instances

    def register(self, user: str, address: Address, index: int, route: bytes, now: float) -> Registration:
        """Make `route` lane `index` of the instance at `address`, in place of whatever either was before.

        The caller has asked `has_room`.
        """
        numbered = self._instances.setdefault(address.peer, {})
        instance = numbered.get(address.instance)
        appeared = instance is None
        if instance is None:
            instance = numbered[address.instance] = Instance(address.peer, address.instance, now)
        replaced = instance.lanes.get(index)
        if replaced is not None and replaced != route:
            del self.lanes[replaced]
        known = self.lanes.get(route)
        instance.lanes[index] = route
        instance.last_seen = now
        self.lanes[route] = Lane(instance, index, user)
        emptied = None
        if known is not None and (known.instance is not instance or known.index != index):
            emptied = self._unlink(known)
        return Registration(instance, appeared, emptied)

    def find(self, address: Address) -> Instance | None:
        """The live instance at `address`; with instance 0, the one that appeared last."""
        numbered = self._instances.get(address.peer)
        if not numbered:
            return None
        if address.instance:
            return numbered.get(address.instance)
        return numbered[next(reversed(numbered))]

    def drop_route(self, route: bytes) -> Instance | None:
        """Forget one lane. Gives its instance when that was the last one: it is gone then."""
        lane = self.lanes.pop(route, None)
        return None if lane is None else self._unlink(lane)

    def drop_instance(self, instance: Instance) -> None:
        """Forget an instance and all of its lanes."""
        for route in instance.lanes.values():
            del self.lanes[route]
        instance.lanes.clear()
        self._forget(instance)

    def instances_of(self, peer: PeerId) -> list[Instance]:
        """The live instances of `peer`, oldest first."""
        return list(self._instances.get(peer, {}).values())

    def silent_since(self, then: float) -> list[Instance]:
        """The instances that were last heard before `then`."""
        return [
            instance
            for numbered in self._instances.values()
            for instance in numbered.values()
            if instance.last_seen < then
        ]

    @property
    def live_peers(self) -> int:
        """Peers with at least one live instance."""
        return len(self._instances)

    @property
    def live_instances(self) -> int:
        """Live instances of all peers."""
        return sum(len(numbered) for numbered in list(self._instances.values()))

    def _unlink(self, lane: Lane) -> Instance | None:
        instance = lane.instance
        del instance.lanes[lane.index]
        if instance.lanes:
            return None
        self._forget(instance)
        return instance

    def _forget(self, instance: Instance) -> None:
        numbered = self._instances[instance.peer]
        del numbered[instance.number]
        if not numbered:
            del self._instances[instance.peer]
