"""Following a feed: what is asked for, when it is asked again, and what is dropped."""

from __future__ import annotations

import itertools

import pytest

from peer.channel.packing import pack_encoded
from peer.errors import OperationFailed
from peer.mount.coherence import Coherence, State
from peer.mount.coherent_cache import CoherentCache
from peer.mount.feed_follower import PROBE_AFTER, FeedFollower
from peer.mount.metadata_cache import MetadataCache
from peer.session.feed_cipher import FeedSealer
from schema.changes import ChangeBatch, Changed, encode_batch
from schema.replies import Changes, Following
from schema.requests import FetchChanges, FollowChanges
from tests.peer.mount.samples import FILE
from tests.simulation.coherence.remote import NOBODY

TOPIC, KEY = b"t" * 32, b"k" * 32
BOOTED = -40.0
"""When the agent's clock showed 0."""
CHANGE = Changed((b"a",), FILE)


class Agent:
    """Answers from a script, and notes what it was asked."""

    def __init__(self, clock):
        self.clock = clock
        self.asked = []
        self.epoch = 7
        self.number = 4
        self.topic = TOPIC
        self.failure = None

    def _ask(self, request):
        self.asked.append(request)
        if self.failure is not None:
            raise OperationFailed(self.failure)

    def follow_changes(self, request, caller):
        self._ask(request)
        return Following(self.topic, KEY, self.epoch, self.number + 1, 2.0, self.clock() - BOOTED)

    def fetch_changes(self, request, caller):
        self._ask(request)
        changes = (CHANGE,) * (self.number + 1 - request.first)
        return Changes(ChangeBatch(self.epoch, request.first, changes, self.clock() - BOOTED))


class Client:
    def __init__(self):
        self.now = 100.0
        self.agent = Agent(lambda: self.now)
        self.sealer = FeedSealer(KEY, TOPIC)
        self.known = CoherentCache(Coherence(grace=1.0), MetadataCache(ttl=5.0), lambda: self.now)
        self.topics, self.told, self.lost = [], [], []
        self.follower = FeedFollower(
            self.agent,
            self.known,
            (b"export",),
            NOBODY,
            clock=lambda: self.now,
            subscribe=self.topics.append,
            told=self.told.append,
            lost=lambda: self.lost.append(self.now),
        )

    def frame(self, *changes, first, epoch=7):
        body = self.sealer.seal(pack_encoded(encode_batch(ChangeBatch(epoch, first, changes, self.now - BOOTED))))
        self.follower.frame(TOPIC, body, self.now)

    def asks(self):
        asked, self.agent.asked = self.agent.asked, []
        return asked


@pytest.fixture
def client():
    client = Client()
    client.follower.step()
    client.asks()
    return client


def test_it_begins_by_following():
    client = Client()
    client.follower.step()
    assert client.asks() == [FollowChanges((b"export",))]
    assert client.topics == [TOPIC]
    assert client.known.trust


def test_what_is_heard_is_applied_and_then_told(client):
    client.frame(CHANGE, first=5)
    assert [each.change for each in client.told] == [CHANGE]
    assert client.known.moment.number == 5


@pytest.mark.parametrize("body", [b"", b"x" * 40, b"\0" * 2_000_000])
def test_what_is_no_frame_is_dropped(client, body):
    client.follower.frame(TOPIC, body, client.now)
    client.follower.frame(b"another topic 12", body, client.now)
    assert client.told == []
    assert client.known.trust


def test_a_frame_counts_once(client):
    body = client.sealer.seal(pack_encoded(encode_batch(ChangeBatch(7, 5, (CHANGE,), client.now - BOOTED))))
    for _ in range(2):
        client.follower.frame(TOPIC, body, client.now)
    assert len(client.told) == 1


def test_what_is_missing_is_asked_for(client):
    client.agent.number = 6
    client.frame(CHANGE, first=6)
    client.now += 0.1
    client.follower.step()
    assert client.asks() == [FetchChanges((b"export",), 7, 5)]
    assert [each.change for each in client.told] == [CHANGE, CHANGE]


def test_what_is_not_kept_any_more_has_it_follow_again(client):
    client.agent.number = 6
    client.frame(CHANGE, first=6)
    client.agent.failure = "ESTALE"
    client.now += 0.1
    client.follower.step()
    assert client.known.state is State.LOST
    client.agent.failure = None
    client.now += 1.0
    client.asks()
    client.follower.step()
    assert client.asks() == [FollowChanges((b"export",))]
    assert client.known.trust


def test_silence_has_it_follow_again_and_another_topic_is_subscribed(client):
    client.agent.topic = b"u" * 32
    client.now += 6.5
    client.follower.step()
    assert client.topics == [TOPIC, b"u" * 32]


def test_who_fails_waits_longer_each_time(client):
    client.known.lose()
    client.agent.failure = "ETIMEDOUT"
    times = []
    for _ in range(400):
        client.follower.step()
        if client.asks():
            times.append(client.now)
        client.now += 0.1
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) < 12
    assert max(pauses) < 11
    assert pauses[0] < pauses[-1]


def test_a_relay_that_only_passes_on_old_news_is_found_out(client):
    client.now += PROBE_AFTER + 1
    client.frame(first=5)  # a heartbeat that was held back: the agent is further
    client.agent.number = 6
    client.follower.step()
    assert client.asks() == [FetchChanges((b"export",), 7, 5)]
    assert client.known.moment.number == 6


def test_who_has_copies_is_told_when_nothing_is_trusted_any_more(client):
    client.follower.step()
    client.lost.clear()
    client.known.lose()
    client.agent.failure = "ETIMEDOUT"
    client.follower.step()
    assert client.lost == [client.now]


def test_its_thread_ends():
    client = Client()
    client.follower.start()
    client.follower.stop()
    assert not client.follower._thread.is_alive()
