"""A relay that does what it likes with envelopes: at worst an error or a delay, never another answer, never twice."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from broker.outgoing import Send
from peer.channel.requester import Patience
from peer.errors import OperationFailed
from schema.envelope import Header, Kind, decode_header
from schema.relay_messages import Error, PeerGone, RelayErrorCode, encode_relay_message
from schema.replies import Failure
from schema.requests import DeleteFile
from schema.session_messages import Refusal, RefusalCode, encode_session_message
from tests.peer.channel.wired import ME, METADATA, STAT, Wired, asking

Malice = Callable[[Send], list[Send]]
RELAY_HEADER = Header(Kind.RELAY).encode()


def corrupt(wired: Wired, malice: Malice, times: int = 10**9) -> None:
    """The broker applies `malice` to the next `times` envelopes that it forwards."""
    assert wired.broker is not None
    receive, left = wired.broker.relay.receive, itertools.count(1)

    def received(user, route, frames, now):  # type: ignore[no-untyped-def]
        sends = []
        for send in receive(user, route, frames, now):
            sends += malice(send) if send.frames[0] and next(left) <= times else [send]
        return sends

    wired.broker.relay.receive = received  # type: ignore[method-assign]


def with_body(send: Send, body: bytes) -> Send:
    return send._replace(frames=(send.frames[0], send.frames[1], body))


def with_header(send: Send, header: Header) -> Send:
    return send._replace(frames=(send.frames[0], header.encode(), send.frames[2]))


def content(send: Send) -> bytes:
    return bytes(send.frames[2])  # type: ignore[arg-type]


def flip(send: Send) -> list[Send]:
    body = bytearray(content(send))
    if body:
        body[len(body) // 2] ^= 0x10
    return [with_body(send, bytes(body))]


def forge(kind: Kind, body: bytes = b"") -> Malice:
    """Beside each envelope, one that says `kind` of its session."""

    def malice(send: Send) -> list[Send]:
        known = decode_header(send.frames[1])
        return [with_body(with_header(send, Header(kind, known.session, known.counter)), body), send]

    return malice


def says(message: Error | PeerGone) -> Malice:
    return lambda send: [send, send._replace(frames=(b"", RELAY_HEADER, encode_relay_message(message)))]


REFUSAL = encode_session_message(Refusal(RefusalCode.KEY_CHANGED, "f"))
MALICE: dict[str, Malice] = {
    "drop": lambda send: [],
    "repeat": lambda send: [send] * 3,
    "flip": flip,
    "truncate": lambda send: [with_body(send, content(send)[:-1])],
    "empty": lambda send: [with_body(send, b"")],
    "append": lambda send: [with_body(send, content(send) + bytes(70_000))],
    "another counter": lambda send: [
        with_header(send, Header(Kind.SEALED, decode_header(send.frames[1]).session, 2**64 - 1))
    ],
    "another session": lambda send: [with_header(send, Header(Kind.SEALED, 77, 1))],
    "another sender": lambda send: [send._replace(frames=(b"phone", *send.frames[1:]))],
    "no address": lambda send: [send._replace(frames=(b"\xff", *send.frames[1:]))],
    "no header": lambda send: [send._replace(frames=(send.frames[0], b"short", send.frames[2]))],
    "unknown session": forge(Kind.UNKNOWN_SESSION),
    "refused": forge(Kind.REFUSED, REFUSAL),
    "refused with noise": forge(Kind.REFUSED, b"\xff" * 30),
    "response": forge(Kind.RESPONSE, b"x" * 48),
    "initiation": forge(Kind.INITIATION, b"x" * 120),
    "peer gone": says(PeerGone(b"server")),
    "noise for a peer gone": says(PeerGone(b"\xff\xff")),
    "error about nothing": says(Error(RelayErrorCode.NOT_PAIRED, "", b"server", 5, 5)),
}


@pytest.mark.parametrize("malice", MALICE.values(), ids=MALICE)
def test_what_is_done_to_some_envelopes_delays_the_rest_only(wired: Wired, malice: Malice) -> None:
    client = wired.client(resend_after=0.05)
    assert client.call(STAT, ME) == METADATA
    corrupt(wired, malice, times=3)
    assert [client.call(STAT, ME) for _ in range(4)] == [METADATA] * 4


@pytest.mark.parametrize("name", ["repeat", "flip", "unknown session", "peer gone", "drop"])
def test_a_changing_operation_is_done_once_all_the_same(wired: Wired, name: str) -> None:
    client = wired.client(resend_after=0.05)
    assert client.call(STAT, ME) == METADATA
    corrupt(wired, MALICE[name], times=3)
    result = asking(lambda: client.call(DeleteFile((b"a",)), ME))
    wired.handler.next().answer(Failure("ENOENT", "the first and only answer"))
    error = result.get(timeout=15)
    assert isinstance(error, OperationFailed)
    assert error.message == "the first and only answer"
    assert client.call(STAT, ME) == METADATA
    assert wired.handler.asked.empty()


@pytest.mark.parametrize("name", ["flip", "truncate", "another session", "drop"])
def test_what_is_done_to_every_envelope_is_an_error_in_time(wired: Wired, name: str) -> None:
    client = wired.client(patience=Patience(1.0, 1.0), resend_after=0.05)
    corrupt(wired, MALICE[name])
    with pytest.raises(OperationFailed, match="ETIMEDOUT|EACCES"):
        client.call(STAT, ME)


def test_answers_that_are_exchanged_reach_nobody(wired: Wired) -> None:
    """The relay gives each answer to the other client: neither believes it."""
    laptop, phone = wired.client("laptop", resend_after=0.05), wired.client("phone", resend_after=0.05)
    assert laptop.call(STAT, ME) == phone.call(STAT, ME) == METADATA
    kept: list[Send] = []

    def exchange(send: Send) -> list[Send]:
        kept.append(send)
        if len(kept) < 2:
            return []
        one, other = kept
        kept.clear()
        return [one._replace(frames=other.frames), other._replace(frames=one.frames)]

    corrupt(wired, exchange, times=6)
    results = [asking(lambda each=each: each.call(STAT, ME)) for each in (laptop, phone)]
    assert [result.get(timeout=15) for result in results] == [METADATA] * 2


def test_random_malice_for_many_callers(wired: Wired) -> None:
    chance = random.Random(9)
    acts = [MALICE[name] for name in ("drop", "repeat", "flip", "truncate", "unknown session", "peer gone")]
    client = wired.client(resend_after=0.05)
    assert client.call(STAT, ME) == METADATA
    corrupt(wired, lambda send: chance.choice(acts)(send) if chance.random() < 0.1 else [send], times=300)
    results = [asking(lambda: [client.call(STAT, ME) for _ in range(40)]) for _ in range(4)]
    assert [result.get(timeout=50) for result in results] == [[METADATA] * 40] * 4
