"""Publisher and subscriber on a real broker: what is followed arrives, whatever restarts; nothing else does."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import queue
import threading

import pytest
import zmq

from peer.link.publisher import Publisher
from peer.link.subscriber import Subscriber
from tests.peer.channel.wired import PATIENCE, Wired

TOPIC, OTHER = b"t" * 32, b"o" * 32


class Plane:
    """The agent `server` publishing under `TOPIC`, and subscribers of its clients."""

    def __init__(self, home):
        self.wired = Wired(home)
        self.wired.start_broker()
        self.wired.start_agent()
        self.wired._agent_link.announce(TOPIC)
        self.publisher = Publisher(self.dialing("server", 1))
        self._subscribers = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self._thread.start()

    def dialing(self, name, plane):
        return dataclasses.replace(self.wired.dialing(name), endpoint=self.wired.broker.endpoints[plane])

    def subscribe(self, name="laptop", deliver=None, **arguments):
        """Where what comes under `TOPIC` arrives."""
        arrived = queue.Queue()
        take = deliver or (lambda topic, body, now: arrived.put((topic, body)))
        subscriber = Subscriber(self.dialing(name, 2), take, **arguments)
        self._subscribers.append(subscriber)
        subscriber.start()
        subscriber.follow(TOPIC)
        return subscriber, arrived

    def _publish(self):
        number = 0
        while not self._stopping.wait(0.05):
            number += 1
            self.publisher.publish(TOPIC, b"%d" % number)
            self.publisher.publish(OTHER, b"never announced")

    def close(self):
        self._stopping.set()
        self._thread.join(PATIENCE)
        for subscriber in self._subscribers:
            subscriber.stop()
        self.publisher.stop()
        self.publisher.publish(TOPIC, b"goes nowhere")
        self.wired.close()


@pytest.fixture
def plane(tmp_path):
    plane = Plane(tmp_path)
    yield plane
    plane.close()


def test_what_is_published_arrives_in_order(plane):
    _, arrived = plane.subscribe()
    numbers = [int(arrived.get(timeout=PATIENCE)[1]) for _ in range(5)]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_only_what_is_followed_arrives(plane):
    subscriber, arrived = plane.subscribe()
    subscriber.follow(OTHER)
    for _ in range(5):
        assert arrived.get(timeout=PATIENCE)[0] == TOPIC, "nobody announced the other"
    _second, more = plane.subscribe()
    more.get(timeout=PATIENCE)
    subscriber.unfollow(TOPIC)
    for _ in range(5):
        more.get(timeout=PATIENCE)
    while not arrived.empty():
        arrived.get()
    for _ in range(3):
        more.get(timeout=PATIENCE)
    assert arrived.empty()


def test_a_receiver_that_breaks_does_not_end_the_thread(plane, caplog):
    seen = queue.Queue()

    def break_once(topic, body, now):
        seen.put(body)
        if seen.qsize() == 1:
            raise ValueError("broken")

    plane.subscribe(deliver=break_once)
    seen.get(timeout=PATIENCE)
    assert seen.get(timeout=PATIENCE)
    assert "broken" in caplog.text


def test_a_subscriber_comes_back_after_the_broker(plane):
    _, arrived = plane.subscribe()
    arrived.get(timeout=PATIENCE)
    plane.wired.stop_broker()
    while not arrived.empty():
        arrived.get()
    plane.wired.start_broker()
    assert arrived.get(timeout=PATIENCE)[0] == TOPIC


def test_who_is_not_authorised_hears_nothing_until_it_is(plane):
    plane.wired.revoke("phone")
    _, heard = plane.subscribe()
    heard.get(timeout=PATIENCE)
    plane.wired.stop_broker()
    plane.wired.start_broker()
    _, arrived = plane.subscribe("phone")
    while not heard.empty():
        heard.get()
    for _ in range(5):
        heard.get(timeout=PATIENCE)
    assert arrived.empty()
    plane.wired.authorize("phone")
    assert arrived.get(timeout=PATIENCE)[0] == TOPIC


class Mute:
    """A subscriber side that takes connections and says what the test wants, if anything."""

    def __init__(self, dialing):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.socket.bind("tcp://127.0.0.1:*")
        self.dialing = dataclasses.replace(dialing, endpoint=self.socket.last_endpoint.decode())

    def subscription(self):
        assert self.socket.poll(1000 * PATIENCE)
        return self.socket.recv()

    def close(self):
        self.context.destroy(linger=0)


class Plain:
    """A `Dialing` without CURVE: the far end is the test itself."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def apply(self, socket):
        socket.linger = 0


@pytest.fixture
def mute(plane):
    mute = Mute(plane.dialing("laptop", 2))
    yield mute
    mute.close()


def test_silence_makes_the_connection_anew(mute, caplog):
    subscriber = Subscriber(Plain(mute.dialing.endpoint), lambda *_: None, silence=0.2)
    subscriber.start()
    with contextlib.ExitStack() as stack:
        stack.callback(subscriber.stop)
        subscriber.follow(TOPIC)
        assert mute.subscription() == b"\x01" + TOPIC
        while mute.subscription() != b"\x01" + TOPIC:
            pass
    assert "connecting again" in caplog.text


def test_frames_that_are_no_publication_are_dropped(mute, caplog):
    arrived = queue.Queue()
    subscriber = Subscriber(Plain(mute.dialing.endpoint), lambda *frames: arrived.put(frames[:2]))
    subscriber.start()
    with contextlib.ExitStack() as stack, caplog.at_level(logging.WARNING):
        stack.callback(subscriber.stop)
        subscriber.follow(TOPIC)
        mute.subscription()
        mute.socket.send_multipart([TOPIC])
        mute.socket.send_multipart([TOPIC + b"longer", b"body"])
        mute.socket.send_multipart([TOPIC, b"body", b"more"])
        mute.socket.send_multipart([TOPIC, b"good"])
        assert arrived.get(timeout=PATIENCE) == (TOPIC, b"good")
        assert arrived.empty()
    assert caplog.text.count("dropped") == 1
