"""Who owns a topic, who may publish under it and who may subscribe."""

from __future__ import annotations

import pytest

from broker.feed_admission import _MAX_EARLY, FeedAdmission, FeedVerdict
from schema.identity import PeerId
from schema.relay_messages import RelayErrorCode

LAPTOP, PHONE, SERVER, NAS = PeerId("laptop"), PeerId("phone"), PeerId("server"), PeerId("nas")
PAIRS = {(LAPTOP, SERVER), (PHONE, NAS), (LAPTOP, NAS)}
TOPIC = b"abcdefghijklmnopqrst"
HERE = b"server/0000000000000001"


@pytest.fixture
def feed() -> FeedAdmission:
    return FeedAdmission(lambda client, agent: (client, agent) in PAIRS, max_topics=3, max_body=1000)


def subscribe(feed: FeedAdmission, peer: PeerId | None, topic: bytes) -> FeedVerdict:
    return feed.subscription(peer, [b"\x01" + topic])


def test_only_the_announcer_publishes_and_only_while_it_lives(feed: FeedAdmission) -> None:
    assert feed.publication(SERVER, [TOPIC, b""]) is FeedVerdict.FOREIGN_TOPIC
    assert feed.announce(SERVER, HERE, TOPIC) is None
    assert feed.publication(SERVER, [TOPIC, b""]) is FeedVerdict.PASS
    assert feed.publication(NAS, [TOPIC, b""]) is FeedVerdict.FOREIGN_TOPIC
    assert feed.publication(None, [TOPIC, b""]) is FeedVerdict.NOT_AUTHORISED
    feed.drop_instance(HERE)
    assert feed.publication(SERVER, [TOPIC, b""]) is FeedVerdict.FOREIGN_TOPIC
    assert feed.live_topics == 0


def test_publications_have_two_frames_and_a_bounded_body(feed: FeedAdmission) -> None:
    feed.announce(SERVER, HERE, TOPIC)
    assert feed.publication(SERVER, [TOPIC, bytes(1000)]) is FeedVerdict.PASS
    assert feed.publication(SERVER, [TOPIC, bytes(1001)]) is FeedVerdict.TOO_LARGE
    assert feed.publication(SERVER, [TOPIC]) is FeedVerdict.MALFORMED
    assert feed.publication(SERVER, [TOPIC, b"", b""]) is FeedVerdict.MALFORMED
    assert feed.publication(SERVER, [memoryview(TOPIC), b""]) is FeedVerdict.MALFORMED


def test_a_topic_stays_its_owners_when_the_owner_is_gone(feed: FeedAdmission) -> None:
    feed.announce(SERVER, HERE, TOPIC)
    feed.drop_instance(HERE)
    assert feed.announce(NAS, b"nas/1", TOPIC) is RelayErrorCode.TOPIC_TAKEN
    assert subscribe(feed, PHONE, TOPIC) is FeedVerdict.NOT_PAIRED
    assert feed.announce(SERVER, b"server/2", TOPIC) is None


@pytest.mark.parametrize("topic", [TOPIC[:16], TOPIC + b"u"])
def test_a_topic_that_begins_another_peers_is_taken(feed: FeedAdmission, topic: bytes) -> None:
    feed.announce(SERVER, HERE, TOPIC)
    assert feed.announce(NAS, b"nas/1", topic) is RelayErrorCode.TOPIC_TAKEN
    assert feed.announce(SERVER, HERE, topic) is None


def test_topics_are_bounded_and_dead_ones_make_room(feed: FeedAdmission) -> None:
    for letter in b"abc":
        assert feed.announce(SERVER, HERE, bytes([letter]) * 16) is None
    assert feed.announce(SERVER, HERE, b"d" * 16) is RelayErrorCode.TOO_MANY
    assert feed.announce(SERVER, HERE, b"a" * 16) is None, "one that it has already takes no room"
    feed.drop_instance(HERE)
    assert feed.announce(SERVER, b"server/2", b"d" * 16) is None
    assert feed.live_topics == 1
    assert len(feed._owners) == 3


def test_a_subscription_needs_a_pair_and_the_exact_topic(feed: FeedAdmission) -> None:
    feed.announce(SERVER, HERE, TOPIC)
    assert subscribe(feed, LAPTOP, TOPIC) is FeedVerdict.SET
    assert subscribe(feed, PHONE, TOPIC) is FeedVerdict.NOT_PAIRED
    assert subscribe(feed, NAS, TOPIC) is FeedVerdict.NOT_PAIRED
    assert subscribe(feed, LAPTOP, TOPIC[:-1]) is FeedVerdict.NOT_PAIRED
    assert subscribe(feed, None, TOPIC) is FeedVerdict.NOT_AUTHORISED
    for wrong in (b"", b"short", b"x" * 33):
        assert subscribe(feed, LAPTOP, wrong) is FeedVerdict.MALFORMED


def test_cancelling_is_always_allowed(feed: FeedAdmission) -> None:
    for peer in (LAPTOP, PHONE, None):
        assert feed.subscription(peer, [b"\x00" + TOPIC]) is FeedVerdict.UNSET


@pytest.mark.parametrize("frames", [[b""], [b"\x02abc"], [b"hello"], [b"\x01" + TOPIC, b""], [], [memoryview(b"\x01")]])
def test_what_no_subscriber_sends_is_an_intrusion(feed: FeedAdmission, frames: list[bytes]) -> None:
    assert feed.subscription(LAPTOP, frames) is FeedVerdict.INTRUSION


def test_an_early_subscriber_that_turns_out_unpaired_makes_the_plane_stale(feed: FeedAdmission) -> None:
    assert subscribe(feed, LAPTOP, TOPIC) is FeedVerdict.SET
    feed.announce(SERVER, HERE, TOPIC)
    assert not feed.stale
    assert subscribe(feed, LAPTOP, b"n" * 20) is FeedVerdict.SET
    assert subscribe(feed, SERVER, b"n" * 16) is FeedVerdict.SET
    feed.announce(NAS, b"nas/1", b"n" * 20)
    assert feed.stale, "server may not hear nas, and its early subscription matches by prefix"
    feed.reopened()
    assert not feed.stale
    assert subscribe(feed, SERVER, b"n" * 16) is FeedVerdict.NOT_PAIRED


def test_early_subscriptions_are_bounded_for_each_peer(feed: FeedAdmission) -> None:
    verdicts = [subscribe(feed, LAPTOP, b"%016d" % number) for number in range(_MAX_EARLY + 5)]
    assert verdicts == [FeedVerdict.SET] * _MAX_EARLY + [FeedVerdict.TOO_MANY] * 5
    assert subscribe(feed, LAPTOP, b"%016d" % 0) is FeedVerdict.SET, "one that it has already takes no room"
    assert subscribe(feed, PHONE, b"%016d" % 9999) is FeedVerdict.SET
    feed.reopened()
    assert subscribe(feed, LAPTOP, b"%016d" % 9999) is FeedVerdict.SET, "a new socket holds none of them"


def test_revoking_a_subscriber_makes_the_plane_stale(feed: FeedAdmission) -> None:
    feed.announce(SERVER, HERE, TOPIC)
    feed.drop_subscriber(LAPTOP)
    assert not feed.stale, "it had subscribed to nothing"
    subscribe(feed, LAPTOP, TOPIC)
    feed.drop_subscriber(LAPTOP)
    assert feed.stale
