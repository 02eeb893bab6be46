"""ZAP requests of every shape: only CURVE with a known key is let in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from broker.counters import Counters
from broker.zap import ENDPOINT, ZapHandler
from schema.identity import encode_key

KNOWN = bytes(range(32))


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def handler(context: zmq.Context[Any]) -> Iterator[ZapHandler]:
    def decide(domain: str, key: bytes) -> str | None:
        return "laptop#1" if key == KNOWN and domain == "requests" else None

    handler = ZapHandler(context, decide, Counters())
    yield handler
    handler.close()


def question(**changes: bytes) -> list[bytes]:
    fields = {
        "version": b"1.0",
        "id": b"7",
        "domain": b"requests",
        "address": b"10.0.0.1",
        "identity": b"",
        "mechanism": b"CURVE",
        "key": KNOWN,
    }
    return list((fields | changes).values())


def test_a_known_key_gets_its_user_id(handler: ZapHandler) -> None:
    assert handler.reply(question(), 0.0) == [b"1.0", b"7", b"200", b"OK", b"laptop#1", b""]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": bytes(32)},
        {"key": KNOWN[:31]},
        {"key": KNOWN + b"x"},
        {"key": b""},
        {"domain": b"feed-out"},
        {"domain": b"\xff"},
        {"mechanism": b"NULL"},
        {"mechanism": b"PLAIN"},
        {"mechanism": b"GSSAPI"},
    ],
)
def test_everything_else_is_refused(handler: ZapHandler, changes: dict[str, bytes]) -> None:
    reply = handler.reply(question(**changes), 0.0)
    assert reply is not None
    assert reply[2] == b"300"
    assert reply[4] == b""


def test_more_or_fewer_frames_are_refused(handler: ZapHandler) -> None:
    for frames in ([*question(), b"more"], question()[:-1], question()[:2]):
        reply = handler.reply(frames, 0.0)
        assert reply is not None
        assert reply[2] == b"300"
    for frames in ([], [b"1.0"], question(version=b"2.0")):
        assert handler.reply(frames, 0.0) is None


def test_it_answers_over_its_socket_and_survives_nonsense(handler: ZapHandler, context: zmq.Context[Any]) -> None:
    with context.socket(zmq.REQ) as asking, context.socket(zmq.DEALER) as loose:
        asking.connect(ENDPOINT)
        loose.connect(ENDPOINT)
        loose.send_multipart([b"no delimiter"])
        loose.send_multipart([b""])
        asking.send_multipart(question())
        assert handler.socket.poll(5000)
        while not asking.poll(10):
            handler.answer(0.0)
        assert asking.recv_multipart()[2] == b"200"


def test_keys_are_not_logged_but_fingerprints_are(handler: ZapHandler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    other = bytes(range(1, 33))
    handler.reply(question(), 0.0)
    for second in range(5):
        handler.reply(question(key=other), float(second))
    assert "SHA256:" in caplog.text
    assert caplog.text.count("refused a connection") == 1, "a flood of attempts is not a flood of lines"
    for key in (KNOWN, other):
        assert encode_key(key) not in caplog.text
        assert key.hex() not in caplog.text
