"""Transport messages: any order, each once, none forged, none late."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from peer.errors import FrameRefused, SessionExhausted
from peer.session import session as session_module
from peer.session.replay_window import WINDOW
from peer.session.session import REJECT_AFTER_TIME, Session, new_index

Pair = tuple[Session, Session]


def test_both_ways(pair: Pair) -> None:
    ours, theirs = pair
    assert (ours.local_index, ours.remote_index) == (theirs.remote_index, theirs.local_index)
    for number in range(3):
        counter, sealed = ours.seal(b"request")
        assert counter == number
        assert theirs.open(counter, sealed, 0.0) == b"request"
        counter, sealed = theirs.seal(b"reply")
        assert ours.open(counter, sealed, 0.0) == b"reply"
    assert ours.sent == 3


def test_a_body_may_be_longer_than_a_noise_message(pair: Pair) -> None:
    ours, theirs = pair
    body = random.Random(1).randbytes(1 << 20)
    counter, sealed = ours.seal(memoryview(body))
    assert theirs.open(counter, memoryview(sealed), 0.0) == body


def test_messages_may_overtake_each_other_within_the_window(pair: Pair) -> None:
    ours, theirs = pair
    sealed = [ours.seal(str(number).encode()) for number in range(500)]
    random.Random(2).shuffle(sealed)
    for counter, body in sealed:
        assert theirs.open(counter, body, 0.0) == str(counter).encode()
    for counter, body in sealed:
        with pytest.raises(FrameRefused, match="seen before"):
            theirs.open(counter, body, 0.0)


def test_a_message_behind_the_window_is_refused(pair: Pair) -> None:
    ours, theirs = pair
    sealed = [ours.seal(b"x") for _ in range(WINDOW + 1)]
    theirs.open(*sealed[-1], 0.0)
    with pytest.raises(FrameRefused, match="too old"):
        theirs.open(*sealed[0], 0.0)
    assert theirs.open(*sealed[1], 0.0) == b"x"


def test_a_forgery_is_refused_and_moves_no_window(pair: Pair) -> None:
    ours, theirs = pair
    counter, sealed = ours.seal(b"body")
    for forged_counter in (1, WINDOW * 4, 2**62 - 1):
        with pytest.raises(FrameRefused, match="altered"):
            theirs.open(forged_counter, sealed, 0.0)
    for bit in range(len(sealed) * 8):
        forged = bytearray(sealed)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameRefused):
            theirs.open(counter, forged, 0.0)
    for size in range(len(sealed)):
        with pytest.raises(FrameRefused):
            theirs.open(counter, sealed[:size], 0.0)
    assert theirs.open(counter, sealed, 0.0) == b"body"


def test_a_repeat_is_refused_before_it_costs_a_decryption(pair: Pair) -> None:
    ours, theirs = pair
    counter, sealed = ours.seal(b"body")
    theirs.open(counter, sealed, 0.0)
    with pytest.raises(FrameRefused, match="seen before"):
        theirs.open(counter, bytes(len(sealed)), 0.0)


@pytest.mark.parametrize("counter", [-1, 2**62, 2**64 - 1, 2**64])
def test_a_counter_out_of_range_is_refused(pair: Pair, counter: int) -> None:
    with pytest.raises(FrameRefused, match="out of range"):
        pair[1].open(counter, bytes(16), 0.0)


def test_a_message_sent_back_to_its_sender_is_refused(pair: Pair) -> None:
    counter, sealed = pair[0].seal(b"request")
    with pytest.raises(FrameRefused):
        pair[0].open(counter, sealed, 0.0)


def test_nothing_opens_after_the_life_of_the_session(pair: Pair) -> None:
    ours, theirs = pair
    first, second = ours.seal(b"in time"), ours.seal(b"late")
    assert theirs.open(*first, REJECT_AFTER_TIME - 0.001) == b"in time"
    with pytest.raises(FrameRefused, match="180 seconds"):
        theirs.open(*second, REJECT_AFTER_TIME)


def test_sealing_ends_before_counters_do(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair
    monkeypatch.setattr(session_module, "REJECT_AFTER_MESSAGES", 2)
    ours.seal(b"")
    ours.seal(b"")
    for _ in range(2):
        with pytest.raises(SessionExhausted):
            ours.seal(b"")


def test_threads_that_seal_at_once_never_share_a_counter(pair: Pair) -> None:
    ours, theirs = pair
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda _: ours.seal(b"x" * 4000), range(2000)))
    assert sorted(counter for counter, _ in sealed) == list(range(2000))
    assert all(theirs.open(counter, body, 0.0) == b"x" * 4000 for counter, body in sealed)


def test_threads_that_open_one_message_at_once_accept_it_once(pair: Pair) -> None:
    ours, theirs = pair
    threads, rounds = 4, 50
    sealed = [ours.seal(bytes(40_000)) for _ in range(rounds)]
    barrier = threading.Barrier(threads)

    def open_all(_: int) -> int:
        opened = 0
        for counter, body in sealed:
            barrier.wait(timeout=30)
            try:
                theirs.open(counter, body, 0.0)
            except FrameRefused:
                continue
            opened += 1
        return opened

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(open_all, range(threads))) == rounds


def test_an_index_is_never_zero_and_never_one_in_use() -> None:
    offered = iter([bytes(4), b"\0\0\0\x05", b"\0\0\0\x06", b"\0\0\0\x07"])
    assert new_index(lambda size: next(offered)[:size], {5}, {6: "taken"}) == 7
