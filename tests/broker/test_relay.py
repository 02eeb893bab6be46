"""What the routing core promises, one promise a test."""

from __future__ import annotations

import pytest

from broker.config import Limits
from broker.feed_admission import FeedVerdict
from broker.relay import _MAX_ADDRESSES, _MAX_CORRESPONDENTS
from schema.envelope import HEADER_SIZE, NO_TOKEN, Header, Kind, decode_header
from schema.identity import PeerId
from schema.relay_messages import (
    Announced,
    AuthRequest,
    Error,
    PeerGone,
    Ping,
    Pong,
    RelayErrorCode,
    Withdraw,
    encode_relay_message,
)
from tests.broker.worlds import World, certificate, code, message_of, only, refusal, route, user

TOPIC = b"t" * 16
C, A, A2, P = route(1), route(2), route(3), route(4)
AGENT_1 = b"server/000000000000000b"
CLIENT_1 = b"laptop/000000000000000a"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pair(world: World) -> World:
    world.register("laptop", 10, C)
    world.register("server", 11, A)
    return world


def test_a_message_arrives_with_its_true_sender_and_without_its_token(pair: World) -> None:
    send = only(pair.send("laptop", C, b"server", b"sealed"))
    address, header, body = send.frames
    assert (send.route, address, body) == (A, CLIENT_1, b"sealed")
    assert decode_header(header) == Header(Kind.SEALED, 9, 5, NO_TOKEN)


def test_the_answer_goes_to_the_very_instance_that_asked(pair: World) -> None:
    pair.register("laptop", 12, P)
    assert only(pair.send("server", A, CLIENT_1)).route == C
    assert only(pair.send("server", A, b"laptop/000000000000000c")).route == P


def test_without_an_instance_the_newest_answers(pair: World) -> None:
    pair.register("server", 99, A2)
    assert only(pair.send("laptop", C, b"server")).route == A2
    assert only(pair.send("laptop", C, AGENT_1)).route == A


@pytest.mark.parametrize("kind", [Kind.INITIATION, Kind.RESPONSE, Kind.SEALED, Kind.UNKNOWN_SESSION])
def test_every_kind_between_peers_is_forwarded(pair: World, kind: Kind) -> None:
    header = Header(kind, token=pair.tokens_of[C]).encode()
    assert only(pair.relay.receive(user("laptop"), C, [b"server", header, b""], pair.now)).route == A


def test_lanes_lead_to_the_same_lane_and_wrap_around(world: World) -> None:
    for lane in range(4):
        world.register("laptop", 10, route(10 + lane), lane)
    for lane in range(2):
        world.register("server", 11, route(20 + lane), lane)
    reached = [only(world.send("laptop", route(10 + lane), b"server")).route for lane in range(4)]
    assert reached == [route(20), route(21), route(20), route(21)]
    assert only(world.send("server", route(21), CLIENT_1)).route == route(11)


def test_a_pair_is_needed_and_presence_is_not_told_without_one(world: World) -> None:
    world.register("phone", 1, P)
    absent = refusal(world.send("phone", P, b"server"))
    world.register("server", 11, A)
    present = refusal(world.send("phone", P, b"server"))
    assert absent == present
    assert present.code is RelayErrorCode.NOT_PAIRED
    assert (present.address, present.session, present.counter) == (b"server", 9, 5)


def test_clients_and_agents_are_not_paired_among_themselves(pair: World) -> None:
    pair.register("nas", 3, A2)
    assert code(pair.send("laptop", C, b"phone")) is RelayErrorCode.NOT_PAIRED
    assert code(pair.send("server", A, b"nas")) is RelayErrorCode.NOT_PAIRED
    assert code(pair.send("laptop", C, b"laptop")) is RelayErrorCode.NOT_PAIRED


def test_who_is_not_there_cannot_be_reached(pair: World) -> None:
    error = refusal(pair.send("laptop", C, b"nas"))
    assert error.code is RelayErrorCode.NO_ROUTE
    assert error.retry_after > 0
    assert code(pair.send("laptop", C, b"server/00000000000000ff")) is RelayErrorCode.NO_ROUTE


def test_an_unregistered_connection_is_told_to_register(world: World) -> None:
    assert code(world.send("laptop", C, b"server")) is RelayErrorCode.UNREGISTERED
    assert code(world.say("laptop", C, Ping())) is RelayErrorCode.UNREGISTERED


def test_a_route_is_good_for_the_user_who_registered_it_only(pair: World) -> None:
    token = pair.tokens_of[C]
    header = Header(Kind.SEALED, token=token).encode()
    sends = pair.relay.receive(user("phone"), C, [b"nas", header, b""], pair.now)
    assert code(sends) is RelayErrorCode.UNREGISTERED


def test_a_connection_that_chose_its_routing_id_cannot_register(world: World) -> None:
    for chosen in (b"mine", b"\x01abcd", b"\0abcde", b"\0abc", b""):
        assert code(world.say("laptop", chosen, AuthRequest(1))) is RelayErrorCode.MALFORMED
        world.now += 1
    assert not world.relay.table.lanes


@pytest.mark.parametrize("token", [NO_TOKEN, b"\xff" * 16])
def test_a_token_that_was_never_given_is_refused(pair: World, token: bytes) -> None:
    assert code(pair.send("laptop", C, b"server", token=token)) is RelayErrorCode.BAD_TOKEN


def test_a_token_of_another_peer_or_instance_is_refused(pair: World) -> None:
    pair.register("laptop", 77, P)
    assert code(pair.send("laptop", C, b"server", token=pair.tokens_of[A])) is RelayErrorCode.BAD_TOKEN
    assert code(pair.send("laptop", C, b"server", token=pair.tokens_of[P])) is RelayErrorCode.BAD_TOKEN


def test_a_token_expires_and_a_ping_in_time_renews_it(pair: World) -> None:
    start = pair.now
    old = pair.tokens_of[C]
    pair.now = start + pair.limits.token_seconds - 1
    pong = message_of(only(pair.say("laptop", C, Ping(3))))
    assert isinstance(pong, Pong)
    assert pong.echo == 3
    assert pong.token != old
    assert only(pair.send("laptop", C, b"server", token=old)).route == A, "the previous one is good until it expires"
    pair.now = start + pair.limits.token_seconds
    assert code(pair.send("laptop", C, b"server", token=old)) is RelayErrorCode.BAD_TOKEN
    pair.register("server", 11, A)
    assert only(pair.send("laptop", C, b"server", token=pong.token)).route == A


def test_the_answer_to_registering_says_what_the_limits_are(world: World) -> None:
    response = world.register("laptop", 10, C)
    assert response.limits.max_message == world.limits.max_message_bytes
    assert response.expires_in == world.limits.token_seconds
    assert response.relay.epoch == 7


def test_a_body_over_the_limit_is_refused(world: World) -> None:
    small = world.limited(max_message_bytes=4096)
    small.register("laptop", 10, C)
    small.register("server", 11, A)
    assert only(small.send("laptop", C, b"server", b"x" * 4096)).route == A
    assert code(small.send("laptop", C, b"server", b"x" * 4097)) is RelayErrorCode.TOO_LARGE


def test_who_sends_too_much_is_refused_until_later(world: World) -> None:
    slow = world.limited(messages_per_second=10, burst_seconds=1.0)
    slow.register("laptop", 10, C)
    slow.register("server", 11, A)
    for _ in range(9):
        assert only(slow.send("laptop", C, b"server")).route == A
    error = refusal(slow.send("laptop", C, b"server"))
    assert error.code is RelayErrorCode.RATE_LIMITED
    assert only(slow.send("server", A, CLIENT_1)).route == C, "the quota of one peer is not another's"
    slow.now += error.retry_after
    assert only(slow.send("laptop", C, b"server")).route == A


def test_instances_of_one_peer_are_bounded(world: World) -> None:
    few = world.limited(max_instances=2)
    few.register("laptop", 1, route(1))
    few.register("laptop", 2, route(2))
    assert code(few.say("laptop", route(3), AuthRequest(3))) is RelayErrorCode.TOO_MANY
    few.register("laptop", 2, route(3), 1)


def test_peers_hear_of_the_end_of_those_they_talked_to_and_of_no_others(pair: World) -> None:
    pair.register("nas", 3, A2)
    pair.send("laptop", C, b"server")
    assert pair.relay.lost(A2) == []
    gone = only(pair.relay.lost(A))
    assert (gone.route, message_of(gone)) == (C, PeerGone(AGENT_1))
    assert code(pair.send("laptop", C, b"server")) is RelayErrorCode.NO_ROUTE


def test_an_instance_lives_while_one_of_its_lanes_does(pair: World) -> None:
    pair.register("server", 11, A2, 1)
    pair.send("laptop", C, b"server")
    assert pair.relay.lost(A) == []
    assert only(pair.send("laptop", C, b"server")).route == A2
    assert message_of(only(pair.relay.lost(A2))) == PeerGone(AGENT_1)


def test_silence_for_three_heartbeats_is_the_end_of_an_instance(pair: World) -> None:
    pair.send("laptop", C, b"server")
    beat = pair.limits.heartbeat_seconds
    for _ in range(3):
        pair.now += beat
        pair.say("laptop", C, Ping())
        assert pair.relay.tick(pair.now) == []
    pair.now += 0.1
    pair.say("laptop", C, Ping())
    assert message_of(only(pair.relay.tick(pair.now))) == PeerGone(AGENT_1)
    assert code(pair.say("server", A, Ping())) is RelayErrorCode.UNREGISTERED


def test_a_revoked_peer_is_cut_off_at_once(pair: World) -> None:
    pair.announce("server", A, TOPIC)
    pair.send("laptop", C, b"server")
    sends = pair.revoke(["server"])
    said = {send.route: message_of(send) for send in sends}
    assert said[C] == PeerGone(AGENT_1)
    assert isinstance(said[A], Error)
    assert code(pair.send("laptop", C, b"server")) is RelayErrorCode.NO_ROUTE
    assert pair.feed.live_topics == 0
    assert len(pair.tokens) == 1
    before = pair.counters.refused["not-authorised"]
    pair.send("server", A, CLIENT_1)
    assert pair.say("server", A, AuthRequest(11)) == [], "answered once, and not for each frame"
    assert pair.counters.refused["not-authorised"] == before + 2


def test_a_replaced_key_ends_the_connections_of_the_old_one(pair: World) -> None:
    revoked = pair.admission.admit_only([certificate("laptop", 1), certificate("server")])
    for peer in revoked:
        pair.relay.revoke(peer)
    assert "laptop" in revoked
    old = pair.relay.receive(user("laptop"), C, [b"server", Header(Kind.SEALED).encode(), b""], pair.now)
    assert code(old) is RelayErrorCode.NOT_PAIRED
    body = encode_relay_message(AuthRequest(10))
    sends = pair.relay.receive(user("laptop", 1), P, [b"", Header(Kind.RELAY).encode(), body], pair.now)
    assert only(sends).route == P


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"server", Header(Kind.SEALED).encode()],
        [b"server", Header(Kind.SEALED).encode(), b"", b""],
        [b"server", b"", b"body"],
        [b"server", b"\0" * HEADER_SIZE, b"body"],
        [b"server", Header(Kind.SEALED).encode() + b"\0", b"body"],
        [b"server", b"\x01\x09" + Header(Kind.SEALED).encode()[2:], b"body"],
        [b"server", b"\x01\x03\0\x01" + Header(Kind.SEALED).encode()[4:], b"body"],
        [b"server", Header(Kind.RELAY).encode(), b"body"],
        [b"", Header(Kind.SEALED).encode(), b"body"],
        [b"", Header(Kind.RELAY).encode(), b""],
        [b"", Header(Kind.RELAY).encode(), b"\x93"],
        [b"", Header(Kind.RELAY).encode(), encode_relay_message(Pong(1, b"x" * 16, 1.0))],
        [b"", Header(Kind.RELAY).encode(), encode_relay_message(Ping()) + b"x" * 5000],
        [memoryview(b"a bulk address"), Header(Kind.SEALED).encode(), b""],
        [b"server", memoryview(Header(Kind.SEALED).encode()), b""],
        [b"", Header(Kind.RELAY).encode(), memoryview(encode_relay_message(Ping()))],
    ],
)
def test_malformed_frames_are_refused_and_counted(pair: World, frames: list[bytes]) -> None:
    if len(frames) > 1 and len(frames[1]) == HEADER_SIZE:
        frames = [frames[0], type(frames[1])(bytes(frames[1][:16]) + pair.tokens_of[C]), *frames[2:]]
    assert code(pair.relay.receive(user("laptop"), C, frames, pair.now)) is RelayErrorCode.MALFORMED
    assert pair.counters.refused["malformed"] == 1


@pytest.mark.parametrize("address", [b"Server", b"server/1", b"../etc", b"\xff\xfe", b"s" * 200, b"/" * 9])
def test_an_address_that_is_none_is_malformed(pair: World, address: bytes) -> None:
    assert code(pair.send("laptop", C, address)) is RelayErrorCode.MALFORMED


def test_a_flood_of_malformed_frames_is_not_answered_in_kind(pair: World) -> None:
    answers = [pair.relay.receive(user("laptop"), C, [b"x"], pair.now) for _ in range(1000)]
    assert sum(map(len, answers)) == 1
    assert pair.counters.refused["malformed"] == 1000


def test_an_agent_announces_topics_and_a_client_may_not(pair: World) -> None:
    assert message_of(only(pair.announce("server", A, TOPIC))) == Announced(TOPIC)
    assert code(pair.announce("laptop", C, b"u" * 16)) is RelayErrorCode.NOT_PAIRED
    pair.register("nas", 3, A2)
    assert code(pair.announce("nas", A2, TOPIC)) is RelayErrorCode.TOPIC_TAKEN


def test_a_topic_that_is_withdrawn_makes_room_and_only_its_own_agent_may(pair: World) -> None:
    pair.register("nas", 3, A2)
    topics = [b"%016d" % number for number in range(64)]
    for topic in topics:
        assert message_of(only(pair.announce("server", A, topic))) == Announced(topic)
    assert pair.say("nas", A2, Withdraw(topics[3])) == []
    assert code(pair.announce("server", A, b"u" * 16)) is RelayErrorCode.TOO_MANY
    assert pair.say("server", A, Withdraw(topics[5])) == []
    assert pair.feed.publication(PeerId("server"), [topics[5], b"last word"]) is FeedVerdict.PASS
    assert message_of(only(pair.announce("server", A, b"u" * 16))) == Announced(b"u" * 16)
    assert pair.feed.publication(PeerId("server"), [topics[5], b"too late"]) is FeedVerdict.FOREIGN_TOPIC
    assert pair.feed.live_topics == 64


def test_a_route_registered_anew_for_another_instance_leaves_the_first(pair: World) -> None:
    pair.send("laptop", C, b"server")
    sends = pair.say("server", A, AuthRequest(500))
    assert message_of(sends[1]) == PeerGone(AGENT_1)
    assert only(pair.send("laptop", C, b"server")).route == A


def test_undelivered_messages_are_reported_to_their_sender(pair: World) -> None:
    send = only(pair.send("laptop", C, b"server", counter=2**64 - 1))
    error = refusal(pair.relay.congested(send))
    assert (error.code, error.address, error.session, error.counter) == (
        RelayErrorCode.CONGESTED,
        b"server",
        9,
        2**64 - 1,
    )
    assert error.retry_after > 0
    assert code(pair.relay.undeliverable(send)) is RelayErrorCode.NO_ROUTE
    own = only(pair.say("laptop", C, Ping()))
    assert pair.relay.congested(own) == []


def test_memory_of_addresses_and_correspondents_is_bounded() -> None:
    world = World(Limits(max_instances=2000))
    world.register("laptop", 10, C)
    for number in range(5000):
        world.send("laptop", C, b"server/%016x" % (number + 1))
    assert len(world.relay._addresses) <= _MAX_ADDRESSES
    world.register("nas", 11, A)
    for number in range(1200):
        at = route(1000 + number)
        world.register("laptop", 1000 + number, at)
        world.send("laptop", at, b"nas")
    nas = world.relay.table.lanes[A].instance
    assert len(nas.correspondents) == _MAX_CORRESPONDENTS
    told = {send.route for send in world.relay.lost(A)}
    assert told == {route(1000 + number) for number in range(1200 - _MAX_CORRESPONDENTS, 1200)}


def test_traffic_is_counted_by_direction(pair: World) -> None:
    pair.send("laptop", C, b"server", b"12345")
    pair.send("server", A, CLIENT_1, b"123")
    assert (pair.counters.to_agent.messages, pair.counters.to_agent.bytes) == (1, 5)
    assert (pair.counters.to_client.messages, pair.counters.to_client.bytes) == (1, 3)
