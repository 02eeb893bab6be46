"""The link over real sockets: who is told what, on which lane, and that nothing is left behind."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.link import request_link
from peer.link.request_link import RequestLink
from schema.envelope import Address, Header, Kind
from schema.identity import PeerId
from schema.relay_messages import Error, RelayErrorCode
from tests.peer.channel.wired import PATIENCE, Wired

SERVER = Address(PeerId("server"))


class Told:
    """A receiver that keeps what it is told; ticks are not kept."""

    def __init__(self) -> None:
        self.words: queue.Queue[tuple[object, ...]] = queue.Queue()
        self.on_envelope = lambda: None

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview, now: float) -> None:
        self.on_envelope()
        self.words.put(("envelope", lane, sender, header, bytes(body)))

    def registered(self, lane: int, now: float) -> None:
        self.words.put(("registered", lane))

    def peer_gone(self, peer: Address, now: float) -> None:
        self.words.put(("gone", peer))

    def refused(self, error: Error, now: float) -> None:
        self.words.put(("refused", error))

    def tick(self, now: float) -> None: ...

    def next(self, kind: str) -> tuple[object, ...]:
        """The next word of that kind; others are passed over."""
        while (word := self.words.get(timeout=PATIENCE))[0] != kind:
            pass
        return word

    def all_registered(self, lanes: int) -> None:
        assert {self.next("registered")[1] for _ in range(lanes)} == set(range(lanes))


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Wired]:
    """A broker and no agent."""
    world = Wired(tmp_path)
    try:
        world.start_broker()
        yield world
    finally:
        world.close()


def started(wired: Wired, name: str, lanes: int = 2) -> tuple[RequestLink, Told]:
    told = Told()
    link = wired.link(name, secrets.randbits(62) + 1, lanes)
    link.start(told)
    told.all_registered(lanes)
    return link, told


def test_an_envelope_arrives_on_the_lane_it_was_sent_on_from_who_sent_it(wired: Wired) -> None:
    laptop, _ = started(wired, "laptop")
    _, told = started(wired, "server")
    for lane in (0, 1):
        assert laptop.send(lane, SERVER, Header(Kind.SEALED, 5, lane), b"body")
        kind, arrived, sender, header, body = told.next("envelope")
        assert (kind, arrived, body) == ("envelope", lane, b"body")
        assert isinstance(sender, Address)
        assert sender.peer == "laptop"
        assert header == Header(Kind.SEALED, 5, lane), "and without the sender's token"


@pytest.mark.parametrize("size", [0, 1, 40_000, 1_000_000])
def test_bodies_of_any_size_pass_whole(wired: Wired, size: int) -> None:
    laptop, _ = started(wired, "laptop")
    _, told = started(wired, "server")
    body = secrets.token_bytes(size)
    assert laptop.send(1, SERVER, Header(Kind.SEALED, 5, 1), body)
    assert told.next("envelope")[4] == body


def test_what_could_not_be_forwarded_is_said_with_its_name(wired: Wired) -> None:
    laptop, told = started(wired, "laptop")
    laptop.send(0, SERVER, Header(Kind.SEALED, 5, 99), b"x")
    error = told.next("refused")[1]
    assert isinstance(error, Error)
    assert (error.code, error.address, error.session, error.counter) == (RelayErrorCode.NO_ROUTE, b"server", 5, 99)


def test_a_peer_that_ends_is_said_to_be_gone(wired: Wired) -> None:
    laptop, told = started(wired, "laptop")
    server, heard = started(wired, "server")
    laptop.send(0, SERVER, Header(Kind.SEALED, 5, 1), b"x")
    heard.next("envelope")
    wired._links.remove(server)
    server.stop()
    gone = told.next("gone")[1]
    assert isinstance(gone, Address)
    assert gone.peer == "server"


def test_nothing_is_sent_before_a_lane_is_registered(wired: Wired) -> None:
    wired.stop_broker()
    link = wired.link("laptop", 7, 2)
    link.start(Told())
    assert not link.send(0, SERVER, Header(Kind.SEALED, 5, 1), b"x")
    assert not link.send_within(0, SERVER, Header(Kind.SEALED, 5, 1), b"x", 60.0)
    assert not link.wait_registered(0.0)


def test_after_a_restart_of_the_broker_every_lane_is_registered_anew(wired: Wired) -> None:
    link, told = started(wired, "laptop", 3)
    wired.stop_broker()
    wired.start_broker()
    told.all_registered(3)
    assert link.wait_registered(PATIENCE)
    assert link.refusal is None


def test_a_broker_that_falls_silent_is_left_for_a_new_connection(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    link, told = started(wired, "laptop", 2)
    # Its own clock only: other links of this process live on after this test, and would wait for an hour.
    monkeypatch.setattr(link, "_clock", lambda: request_link.clock() + 3600)
    told.all_registered(2)
    assert link.registered(0)


def test_topics_are_announced_again_after_a_restart(wired: Wired) -> None:
    topic = secrets.token_bytes(16)
    link, told = started(wired, "server", 1)
    link.announce(topic)
    wired.stop_broker()
    wired.start_broker()
    told.all_registered(1)
    done = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if link.announced(topic):
            return
        done.wait(0.01)
    pytest.fail("the topic was not announced again")


def test_a_receiver_that_breaks_does_not_end_the_link(wired: Wired, caplog: pytest.LogCaptureFixture) -> None:
    laptop, _ = started(wired, "laptop")
    _, told = started(wired, "server")
    told.on_envelope = lambda: 1 // 0  # type: ignore[assignment,return-value]
    laptop.send(0, SERVER, Header(Kind.SEALED, 5, 1), b"first")
    laptop.send(0, SERVER, Header(Kind.SEALED, 5, 2), b"second")
    while caplog.text.count("ZeroDivisionError") < 2:
        threading.Event().wait(0.01)
    told.on_envelope = lambda: None
    laptop.send(0, SERVER, Header(Kind.SEALED, 5, 3), b"third")
    assert told.next("envelope")[4] == b"third"


def test_a_full_queue_says_so_and_takes_again_when_it_drains(wired: Wired) -> None:
    laptop, _ = started(wired, "laptop", 1)
    body = bytes(100_000)
    sent = 0
    while sent < 100_000 and laptop.send(0, SERVER, Header(Kind.SEALED, 5, sent), body):
        sent += 1
    assert 0 < sent < 100_000
    assert laptop.send_within(0, SERVER, Header(Kind.SEALED, 5, sent), body, PATIENCE)


def test_bulk_takes_the_lanes_behind_the_first_in_turn(wired: Wired) -> None:
    assert [wired.link("laptop", 1, 4).bulk_lane() for _ in range(1)] == [1]
    link = wired.link("laptop", 2, 3)
    assert [link.bulk_lane() for _ in range(5)] == [1, 2, 1, 2, 1]
    assert wired.link("laptop", 3, 1).bulk_lane() == 0


def test_what_was_queued_goes_out_though_the_link_stops_at_once(wired: Wired) -> None:
    _, told = started(wired, "server")
    laptop, _ = started(wired, "laptop")
    for counter in range(50):
        assert laptop.send(1, SERVER, Header(Kind.SEALED, 5, counter), bytes(50_000))
    wired._links.remove(laptop)
    laptop.stop()
    assert [told.next("envelope")[3] for _ in range(50)] == [Header(Kind.SEALED, 5, counter) for counter in range(50)]


def test_stopping_leaves_no_thread_and_no_descriptor(wired: Wired) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    threads, open_before = threading.active_count(), descriptors()
    for _ in range(3):
        link, _ = started(wired, "laptop")
        wired._links.remove(link)
        link.stop()
    assert threading.active_count() == threads
    assert descriptors() <= open_before + 2, "but for what the broker has not closed yet"


def test_a_dialing_shows_no_key(wired: Wired) -> None:
    dialing = wired.dialing("laptop")
    assert repr(dialing) == f"Dialing({dialing.endpoint!r})"
