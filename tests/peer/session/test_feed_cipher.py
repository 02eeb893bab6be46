"""Frames of the change feed: sealed for those who hold the key, newer each time, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.errors import FrameRefused
from peer.session.feed_cipher import MAX_FRAME, FeedOpener, FeedSealer
from peer.session.primitives import encrypt
from schema.limits import MAX_BODY

KEY, TOPIC = bytes(range(32)), b"t" * 32


@pytest.fixture
def sealer():
    return FeedSealer(KEY, TOPIC)


@pytest.fixture
def opener():
    return FeedOpener(KEY, TOPIC)


def test_frames_open_in_their_order(sealer, opener):
    for text in (b"", b"one", b"x" * 100_000):
        assert opener.open(sealer.seal(text)) == text


def test_a_frame_is_the_counter_and_the_ciphertext(sealer):
    sealer.seal(b"first")
    assert sealer.seal(b"second") == (1).to_bytes(8, "big") + encrypt(KEY, 1, TOPIC, b"second")


def test_what_was_lost_is_passed_over_and_what_comes_late_is_refused(sealer, opener):
    first, second, third = (sealer.seal(text) for text in (b"1", b"2", b"3"))
    assert opener.open(second) == b"2"
    for late in (second, first):
        with pytest.raises(FrameRefused, match="late or twice"):
            opener.open(late)
    assert opener.open(third) == b"3"


@given(st.data())
def test_a_frame_that_was_tampered_with_is_refused_and_changes_nothing(data):
    sealer, opener = FeedSealer(KEY, TOPIC), FeedOpener(KEY, TOPIC)
    frame = sealer.seal(b"some text")
    at = data.draw(st.integers(0, 8 * len(frame) - 1))
    forged = bytearray(frame)
    forged[at // 8] ^= 1 << at % 8
    with pytest.raises(FrameRefused):
        opener.open(forged)
    assert opener.open(frame) == b"some text"


@pytest.mark.parametrize(("key", "topic"), [(bytes(32), TOPIC), (KEY, b"u" * 32)])
def test_another_key_or_topic_opens_nothing(sealer, key, topic):
    with pytest.raises(FrameRefused):
        FeedOpener(key, topic).open(sealer.seal(b"text"))


@pytest.mark.parametrize("size", [0, 7, 8, 23, MAX_FRAME + 1])
def test_a_frame_of_an_impossible_size_is_refused(opener, size):
    with pytest.raises(FrameRefused, match="bytes"):
        opener.open(bytes(size))


def test_the_largest_body_passes_and_no_larger_one(sealer, opener):
    assert len(opener.open(sealer.seal(bytes(MAX_BODY)))) == MAX_BODY
    with pytest.raises(ValueError, match="at most"):
        sealer.seal(bytes(MAX_BODY + 1))


def test_the_counter_that_no_one_may_use_is_refused(opener):
    with pytest.raises(FrameRefused):
        opener.open(b"\xff" * 8 + bytes(16))
