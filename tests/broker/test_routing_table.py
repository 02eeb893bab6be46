"""Routes, lanes and instances, and a model that must agree with the table whatever happens."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.routing_table import RoutingTable
from schema.envelope import Address
from schema.identity import PeerId

PEER, OTHER = PeerId("laptop"), PeerId("phone")


def test_the_newest_instance_is_the_default_and_the_older_takes_over_again() -> None:
    table = RoutingTable(8)
    first = table.register("u", Address(PEER, 5), 0, b"r1", 0.0).instance
    second = table.register("u", Address(PEER, 3), 0, b"r2", 1.0).instance
    assert table.find(Address(PEER)) is second
    assert table.find(Address(PEER, 5)) is first
    assert table.find(Address(OTHER)) is None
    assert table.find(Address(PEER, 9)) is None
    assert table.drop_route(b"r2") is second
    assert table.find(Address(PEER)) is first


def test_a_lane_registered_anew_replaces_its_route() -> None:
    table = RoutingTable(8)
    instance = table.register("u", Address(PEER, 5), 0, b"r1", 0.0).instance
    again = table.register("u", Address(PEER, 5), 0, b"r2", 1.0)
    assert (again.instance, again.appeared, again.emptied) == (instance, False, None)
    assert list(table.lanes) == [b"r2"]
    assert table.drop_route(b"r1") is None
    assert instance.route(0) == b"r2"


def test_has_room_counts_instances_of_the_peer_alone() -> None:
    table = RoutingTable(1)
    table.register("u", Address(PEER, 5), 0, b"r1", 0.0)
    assert table.has_room(Address(PEER, 5))
    assert not table.has_room(Address(PEER, 6))
    assert table.has_room(Address(OTHER, 6))


def test_silence_is_measured_from_the_last_word() -> None:
    table = RoutingTable(8)
    instance = table.register("u", Address(PEER, 5), 0, b"r1", 10.0).instance
    assert table.silent_since(10.0) == []
    assert table.silent_since(10.1) == [instance]
    instance.last_seen = 11.0
    assert table.silent_since(10.1) == []


class Agreement(RuleBasedStateMachine):
    """The table against a dict: route -> (peer, instance, lane)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RoutingTable(3)
        self.model: dict[bytes, tuple[PeerId, int, int]] = {}

    @rule(
        peer=st.sampled_from([PEER, OTHER]),
        number=st.integers(1, 4),
        lane=st.integers(0, 2),
        route=st.sampled_from([b"a", b"b", b"c", b"d"]),
    )
    def register(self, peer: PeerId, number: int, lane: int, route: bytes) -> None:
        address = Address(peer, number)
        if not self.table.has_room(address):
            return
        before = {(peer, number) for peer, number, _ in self.model.values()}
        self.model = {r: held for r, held in self.model.items() if held != (peer, number, lane)}
        self.model[route] = (peer, number, lane)
        after = {(peer, number) for peer, number, _ in self.model.values()}
        result = self.table.register("u", address, lane, route, 0.0)
        assert result.appeared is ((peer, number) not in before)
        emptied = result.emptied
        assert ({(emptied.peer, emptied.number)} if emptied else set()) == before - after

    @rule(route=st.sampled_from([b"a", b"b", b"c", b"d"]))
    def drop(self, route: bytes) -> None:
        held = self.model.pop(route, None)
        gone = self.table.drop_route(route)
        last = held is not None and all(other[:2] != held[:2] for other in self.model.values())
        assert (gone is not None) is last

    @rule(peer=st.sampled_from([PEER, OTHER]), number=st.integers(1, 4))
    def drop_instance(self, peer: PeerId, number: int) -> None:
        instance = self.table.find(Address(peer, number))
        if instance is not None:
            self.table.drop_instance(instance)
            self.model = {r: held for r, held in self.model.items() if held[:2] != (peer, number)}

    @invariant()
    def agrees(self) -> None:
        held = {r: (lane.instance.peer, lane.instance.number, lane.index) for r, lane in self.table.lanes.items()}
        assert held == self.model
        assert self.table.live_instances == len({held[:2] for held in self.model.values()})
        assert self.table.live_peers == len({held[0] for held in self.model.values()})
        for peer, number, lane in self.model.values():
            instance = self.table.find(Address(peer, number))
            assert instance is not None
            assert self.model[instance.route(lane)] == (peer, number, lane)


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
