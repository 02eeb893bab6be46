"""From a change on the agent's disk to a client's subscriber, through a real broker; and who cannot read it."""

from __future__ import annotations

import dataclasses
import os
import queue
import secrets

import pytest

from peer.agent.access_policy import AccessRules, ClientRule
from peer.agent.dispatcher import Dispatcher
from peer.agent.feeding import FeedOutlet, watch_exports
from peer.channel.packing import unpack
from peer.errors import FrameRefused, OperationFailed
from peer.link.publisher import Publisher
from peer.link.subscriber import Subscriber
from peer.session.feed_cipher import FeedOpener
from schema.changes import Changed, decode_batch
from schema.paths import parse
from schema.requests import CreateDir, FetchChanges, FollowChanges, GetMetadata
from tests.peer.agent.feed_reader import until
from tests.peer.channel.wired import ME, PATIENCE, Wired


class Follower:
    """A client that asks where the feed is, subscribes, and applies what it can open."""

    def __init__(self, wired, name, path):
        self.requester = wired.client(name)
        self.path = path
        self.frames = queue.Queue()
        dialing = dataclasses.replace(wired.dialing(name), endpoint=wired.broker.endpoints[2])
        self.subscriber = Subscriber(dialing, lambda topic, body, now: self.frames.put((topic, body)), silence=2.0)
        self.subscriber.start()
        self.follow()

    def follow(self):
        self.following = self.requester.call(FollowChanges(self.path), ME)
        self.opener = FeedOpener(self.following.key, self.following.topic)
        self.subscriber.follow(self.following.topic)

    def next_batch(self):
        while True:
            topic, body = self.frames.get(timeout=PATIENCE)
            if topic == self.following.topic:
                return decode_batch(unpack(self.opener.open(body)))

    def until_told(self, path):
        """The first change of `path`; what was missed is fetched."""
        following = self.following.next_number
        while True:
            batch = self.next_batch()
            assert batch.epoch == self.following.epoch
            if batch.first > following:
                batch = self.requester.call(FetchChanges(self.path, batch.epoch, following), ME).batch
                assert batch.first == following
            for number, change in enumerate(batch.changes, batch.first):
                if number == following:
                    following += 1
                    if isinstance(change, Changed) and change.path == path:
                        self.following = type(self.following)(
                            self.following.topic, self.following.key, batch.epoch, following, self.following.heartbeat
                        )
                        return change


class Server:
    """An agent with its files, behind `wired`'s broker."""

    def __init__(self, wired, export, rules):
        self.export = export
        self.top = parse(os.fsencode(export))
        self.dispatcher = Dispatcher(rules, boot=7)
        wired.handler = self.dispatcher
        wired.start_agent()
        dialing = dataclasses.replace(wired.dialing("server"), endpoint=wired.broker.endpoints[1])
        self.publisher = Publisher(dialing)
        self.watcher, _ = watch_exports(
            self.dispatcher,
            FeedOutlet(wired._agent_link, self.publisher),
            heartbeat=0.2,
            key_of=wired.trust.trusted.get,
            random=secrets.token_bytes,
        )
        self.watcher.start()
        until("the watches are in place", lambda: self.watcher.settled)

    def path(self, *names):
        return (*self.top, *names)


@pytest.fixture
def wired(tmp_path):
    world = Wired(tmp_path)
    world.start_broker()
    yield world
    world.close()


@pytest.fixture
def server(wired, tmp_path):
    export = tmp_path / "export"
    (export / "shared").mkdir(parents=True)
    (export / "own").mkdir()
    top = parse(os.fsencode(export))
    server = Server(wired, export, AccessRules((top,), clients=(ClientRule("phone", ((*top, b"shared"),)),)))
    yield server
    server.watcher.stop()
    wired.stop_agent()
    server.publisher.stop()
    server.dispatcher.close()


@pytest.fixture
def follow(wired, server):
    followers = []

    def follow(name="laptop", path=()):
        follower = Follower(wired, name, path or server.top)
        followers.append(follower)
        return follower

    yield follow
    for follower in followers:
        follower.subscriber.stop()


def test_a_change_on_disk_reaches_the_subscriber(server, follow):
    laptop = follow()
    laptop.next_batch()
    (server.export / "own" / "f").write_text("text")
    changed = laptop.until_told(server.path(b"own", b"f"))
    status = (server.export / "own" / "f").stat()
    assert changed.metadata.inode == status.st_ino
    answer = laptop.requester.call(GetMetadata(server.path(b"own", b"f")), ME)
    assert answer.as_of.epoch == laptop.following.epoch
    assert answer.as_of.number >= laptop.following.next_number - 1


def test_what_another_client_does_reaches_the_subscriber(server, follow):
    laptop, phone = follow(), follow("phone", server.path(b"shared"))
    laptop.next_batch()
    phone.requester.call(CreateDir(server.path(b"shared", b"new"), 0o755), ME)
    assert laptop.until_told(server.path(b"shared", b"new")).metadata is not None
    assert phone.until_told(server.path(b"shared", b"new")).metadata is not None


def test_clients_who_see_different_directories_have_different_feeds(server, follow):
    laptop, phone = follow(), follow("phone", server.path(b"shared"))
    assert phone.following.topic != laptop.following.topic
    assert phone.following.key != laptop.following.key
    (server.export / "own" / "secret").touch()
    (server.export / "shared" / "plain").touch()
    phone.until_told(server.path(b"shared", b"plain"))
    kept = phone.requester.call(FetchChanges(phone.path, phone.following.epoch, 1), ME).batch
    assert kept.changes
    assert all(change.path[: len(phone.path)] == phone.path for change in kept.changes)
    with pytest.raises(OperationFailed, match="EACCES"):
        phone.requester.call(FollowChanges(server.top), ME)


def test_a_client_whose_right_is_withdrawn_reads_no_further(wired, server, follow):
    laptop, phone = follow(), follow("phone", server.path(b"shared"))
    before = laptop.following
    laptop.next_batch()
    del wired.trust.trusted["phone"]
    until("the phone's session is over", lambda: len(wired.responder._core) == 1)
    (server.export / "shared" / "later").touch()
    laptop.until_told(server.path(b"shared", b"later"))
    while phone.following.epoch == (batch := phone.next_batch()).epoch:
        pass
    assert batch.changes == (), "the last word under the old key is that there is another epoch"
    (server.export / "shared" / "secret").touch()
    laptop.until_told(server.path(b"shared", b"secret"))
    while not phone.frames.empty():
        _topic, body = phone.frames.get()
        with pytest.raises(FrameRefused):
            phone.opener.open(body)
    assert laptop.following.topic == before.topic, "its feed is another: nobody lost a right to it"
    until("the relay is told that the phone's feed ended", lambda: wired.broker.relay._feed.live_topics == 1)
    wired.trust.trusted["phone"] = wired.keys["phone"].certificate.identity_key
    anew = server.dispatcher._answers._feeds.follow("phone")
    assert anew.topic != phone.following.topic
    until("it may publish there", lambda: wired._agent_link.announced(anew.topic))


def test_who_may_stay_is_told_to_follow_anew(wired, server, follow):
    wired.trust.trusted["tablet"] = wired.keys["stranger"].certificate.identity_key
    laptop = follow()
    feeds = server.dispatcher._answers._feeds
    tablet = feeds.follow("tablet")
    assert tablet.topic == laptop.following.topic, "they see the same and share a feed"
    laptop.next_batch()
    wired.trust.trusted["tablet"] = b"replaced"
    while laptop.next_batch().epoch == tablet.epoch:
        pass
    laptop.follow()
    assert laptop.following.topic != tablet.topic
    assert laptop.following.key != tablet.key
    until("the old topic is withdrawn", lambda: wired.broker.relay._feed.live_topics == 1)
    (server.export / "own" / "f").touch()
    assert laptop.until_told(server.path(b"own", b"f"))
    with pytest.raises(OperationFailed, match="EACCES"):
        feeds.follow("stranger")


def test_the_feed_outlives_a_restart_of_the_broker(wired, server, follow):
    laptop = follow()
    laptop.next_batch()
    wired.stop_broker()
    (server.export / "own" / "missed").touch()
    wired.start_broker()
    assert laptop.until_told(server.path(b"own", b"missed"))
    (server.export / "own" / "after").touch()
    assert laptop.until_told(server.path(b"own", b"after"))


def test_changes_that_are_not_kept_are_stale(server, follow):
    laptop = follow()
    with pytest.raises(OperationFailed, match="ESTALE"):
        laptop.requester.call(FetchChanges(server.top, laptop.following.epoch + 1, 1), ME)
