"""The change-feed plane on real sockets: who may publish under a topic and who hears it."""

from __future__ import annotations

import time

import msgspec
import pytest
import zmq

from broker.config import Pair
from schema.identity import PeerId
from schema.relay_messages import Announce, Announced, PeerGone
from tests.broker.server.net import PATIENCE, Connection, Net, until

TOPIC = b"topic-of-server-0001"
OTHER = b"topic-of-nas-9999999"


def announced(net: Net, name: str, topic: bytes, instance: int = 1) -> Connection:
    connection = net.registered(name, instance)
    assert connection.ask(Announce(topic)) == Announced(topic)
    return connection


def heard(publisher: zmq.Socket[bytes], subscriber: zmq.Socket[bytes], topic: bytes) -> list[bytes]:
    """Publish until the subscriber hears something: a new PUB or SUB needs a moment to be connected."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        publisher.send_multipart([topic, b"change"])
        if subscriber.poll(20):
            return subscriber.recv_multipart()
    raise AssertionError("nothing was heard")


def test_a_publication_reaches_the_paired_subscriber(net: Net) -> None:
    net.start()
    agent = announced(net, "server", TOPIC)
    assert heard(net.publisher("server"), net.subscriber("laptop", TOPIC), TOPIC) == [TOPIC, b"change"]
    until(lambda: net.server.counters.feed.messages > 0)
    assert agent.silent(0.05)


def test_an_unpaired_peer_cannot_subscribe_however_it_asks(net: Net) -> None:
    net.start()
    announced(net, "server", TOPIC)
    spy = net.subscriber("phone", TOPIC, TOPIC[:16], TOPIC[:4], b"", TOPIC + b"x")
    until(lambda: net.server.counters.feed_refused.total() >= 4)
    assert net.server.counters.feed_refused == {"not-paired": 2, "malformed": 2}
    heard(net.publisher("server"), net.subscriber("laptop", TOPIC), TOPIC)
    assert not spy.poll(200)


def test_a_topic_of_another_cannot_be_published_under(net: Net) -> None:
    net.start()
    announced(net, "server", TOPIC)
    announced(net, "nas", OTHER)
    subscriber, true, forger = net.subscriber("laptop", TOPIC), net.publisher("server"), net.publisher("nas")
    heard(true, subscriber, TOPIC)
    while subscriber.poll(100):
        subscriber.recv_multipart()

    def refused() -> bool:
        forger.send_multipart([TOPIC, b"forged"])
        return net.server.counters.feed_refused["foreign-topic"] > 0

    until(refused)
    assert not subscriber.poll(200)


def test_a_client_cannot_publish(net: Net) -> None:
    net.start()
    announced(net, "server", TOPIC)
    forger = net.publisher("laptop")

    def refused() -> bool:
        forger.send_multipart([TOPIC, b"forged"])
        return net.server.counters.feed_refused["foreign-topic"] > 0

    until(refused)


@pytest.mark.parametrize("frames", [[TOPIC], [TOPIC, b"a", b"b"], [b""]])
def test_publications_of_another_shape_are_refused(net: Net, frames: list[bytes]) -> None:
    net.start()
    announced(net, "server", TOPIC)
    publisher = net.publisher("server")

    def refused() -> bool:
        publisher.send_multipart(frames)
        return net.server.counters.feed_refused["malformed"] > 0

    until(refused)


def test_topics_die_with_their_agent(net: Net) -> None:
    net.start()
    agent = announced(net, "server", TOPIC)
    publisher, subscriber = net.publisher("server"), net.subscriber("laptop", TOPIC)
    heard(publisher, subscriber, TOPIC)
    agent.socket.close()
    until(lambda: net.server.relay.table.live_peers == 0)
    before = net.server.counters.feed.messages

    def refused() -> bool:
        publisher.send_multipart([TOPIC, b"late"])
        return net.server.counters.feed_refused["foreign-topic"] > 0

    until(refused)
    assert net.server.counters.feed.messages == before
    announced(net, "server", TOPIC, 2)
    heard(publisher, subscriber, TOPIC)


def test_a_revoked_subscriber_hears_no_more_and_others_come_back(net: Net) -> None:
    net.settings = msgspec.structs.replace(net.settings, pairs=(*net.settings.pairs, Pair("phone", "server")))
    net.start(handshake_seconds=0.3)
    announced(net, "server", TOPIC)
    publisher, laptop, phone = net.publisher("server"), net.subscriber("laptop", TOPIC), net.subscriber("phone", TOPIC)
    heard(publisher, laptop, TOPIC)
    heard(publisher, phone, TOPIC)
    net.revoke("phone")
    until(lambda: "phone" not in net.server.admission.peers.values())
    # The plane was opened anew in that turn of the loop; what phone had in its own queue does not count.
    heard(publisher, laptop, TOPIC)
    while phone.poll(100):
        phone.recv_multipart()
    while laptop.poll(100):
        laptop.recv_multipart()
    heard(publisher, laptop, TOPIC)
    assert not phone.poll(300)


def test_a_revoked_agent_is_not_heard_any_more(net: Net) -> None:
    net.start()
    agent = announced(net, "server", TOPIC)
    publisher, subscriber = net.publisher("server"), net.subscriber("laptop", TOPIC)
    heard(publisher, subscriber, TOPIC)
    laptop = net.registered("laptop")
    laptop.send(b"server")
    agent.receive()
    net.revoke("server")
    assert laptop.hear() == PeerGone(agent.address)

    def refused() -> bool:
        publisher.send_multipart([TOPIC, b"late"])
        return net.server.counters.feed_refused["not-authorised"] > 0

    until(refused)


def test_subscribers_that_are_back_before_their_agent_hear_it_when_it_comes(net: Net) -> None:
    net.start()
    announced(net, "server", TOPIC)
    publisher, subscriber = net.publisher("server"), net.subscriber("laptop", TOPIC)
    heard(publisher, subscriber, TOPIC)
    net.restart_on_the_same_ports()

    def subscribed_again() -> bool:
        while subscriber.poll(1):  # a SUB tells its subscriptions to a new connection when it is polled
            subscriber.recv_multipart()
        return net.server._feed._early == {TOPIC: {"laptop"}}

    until(subscribed_again)
    announced(net, "server", TOPIC, 2)
    assert heard(publisher, subscriber, TOPIC) == [TOPIC, b"change"]


def test_an_unpaired_peer_that_subscribes_early_is_thrown_out_when_the_topic_appears(net: Net) -> None:
    net.start()
    spy, subscriber = net.subscriber("phone", TOPIC, TOPIC[:16]), net.subscriber("laptop", TOPIC)
    until(lambda: net.server._feed._early == {TOPIC: {"phone", "laptop"}, TOPIC[:16]: {"phone"}})
    announced(net, "server", TOPIC)
    heard(net.publisher("server"), subscriber, TOPIC)
    assert not spy.poll(300)


def test_a_message_that_is_no_subscription_cannot_steal_one(net: Net) -> None:
    """The attack that ZMQ_XPUB_MANUAL is open to: throw libzmq's idea of "who subscribed last" out of step.

    The loop is turned by hand, so that all three messages wait at the XPUB when it is read.
    """
    server = net.build()
    server._feed.announce(PeerId("server"), b"server/1", TOPIC)
    plane = server._plane

    def connected(name: str, kind: int) -> zmq.Socket[bytes]:
        """Open a socket and turn what answers ZAP until its handshake is done."""
        socket = net.open(kind, net.keys[name], 2)
        monitor = net.monitor(socket, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        deadline = time.monotonic() + PATIENCE
        while not monitor.poll(10):
            assert time.monotonic() < deadline
            server._zap.answer(0.0)
        return socket

    def arrived() -> None:
        """Nothing tells when a message waits behind another at an XPUB: give it time, let the socket take it in."""
        time.sleep(0.5)
        assert plane.outward is not None
        assert plane.outward.poll(0)

    thief, victim = connected("phone", zmq.XSUB), connected("laptop", zmq.SUB)
    thief.send(b"no subscription")
    arrived()
    victim.subscribe(TOPIC)
    arrived()
    thief.send(b"\x01" + OTHER)
    arrived()
    old = plane.outward
    plane.subscriptions(0.0)

    def reopened() -> bool:
        plane.mend(0.0)
        return plane.outward is not None

    until(reopened)
    assert plane.outward is not old, "the socket that is out of step is gone"
    assert plane.outward is not None
    plane.outward.send_multipart([TOPIC, b"change"])
    assert not thief.poll(200)
    assert not plane.admits_subscriber(PeerId("phone"), 599.0)
    assert plane.admits_subscriber(PeerId("phone"), 600.0)


def test_the_plane_goes_on_for_others_after_an_intrusion(net: Net) -> None:
    net.start(handshake_seconds=0.3)
    announced(net, "server", TOPIC)
    publisher, subscriber = net.publisher("server"), net.subscriber("laptop", TOPIC)
    heard(publisher, subscriber, TOPIC)
    net.open(zmq.XSUB, net.keys["phone"], 2).send(b"no subscription")
    until(lambda: net.server.counters.feed_refused["intrusion"] > 0)
    while subscriber.poll(100):
        subscriber.recv_multipart()
    heard(publisher, subscriber, TOPIC)


def test_a_subscriber_that_does_not_read_loses_publications_and_nobody_else_does(net: Net) -> None:
    net.start(feed_queue=8)
    announced(net, "server", TOPIC)
    publisher = net.publisher("server")
    sleeper = net.open(zmq.SUB, net.keys["laptop"], 2, rcvhwm=1, rcvbuf=8192)
    sleeper.subscribe(TOPIC)
    reader = net.subscriber("laptop", TOPIC)
    heard(publisher, reader, TOPIC)
    heard(publisher, sleeper, TOPIC)
    body = bytes(200_000)
    received = 0
    for _ in range(60):
        publisher.send_multipart([TOPIC, body])
        while reader.poll(1000):
            if reader.recv_multipart()[1] == body:
                received += 1
                break
    assert received == 60
