"""An authorised client that lies, damages and floods: each is a clear refusal, and the honest one goes on."""

from __future__ import annotations

import random
import threading

import pytest

from schema.envelope import Header, Kind, decode_header
from schema.limits import MAX_MESSAGE
from schema.relay_messages import AuthRequest, PeerGone, RelayErrorCode
from schema.replies import Done
from schema.requests import DeleteFile
from schema.session_messages import RefusalCode, decode_refusal
from tests.hostile.bare import Bare, bare
from tests.peer.channel.wired import ME, METADATA, STAT, Wired, asking


def still_honest(wired: Wired) -> None:
    """Another client is served."""
    assert wired.client("laptop").call(STAT, ME) == METADATA


def test_nothing_is_forwarded_without_a_token_of_ones_own(wired: Wired) -> None:
    with bare(wired, "laptop") as laptop, bare(wired, "phone") as phone:
        own = phone.token
        for token in (laptop.token, bytes(16), b"x" * 16):
            phone.token = token
            phone.send(Kind.SEALED, 1, 1, b"x")
            assert phone.error().code is RelayErrorCode.BAD_TOKEN
        phone.token = own
        phone.send(Kind.SEALED, 1, 1, b"x")
        header, _ = phone.envelope()
        assert header.kind is Kind.UNKNOWN_SESSION, "with its own it passes"


def test_nothing_is_forwarded_before_it_registered(wired: Wired) -> None:
    with bare(wired, "phone", registered=False) as phone:
        phone.send(Kind.SEALED, 1, 1, b"x")
        assert phone.error().code is RelayErrorCode.UNREGISTERED


def test_a_handshake_of_another_is_not_taken_as_ones_own(wired: Wired) -> None:
    """What laptop said to the agent, word by word, is nothing when phone says it."""
    honest = wired.client("laptop")
    captured: list[tuple[bytes, bytes]] = []
    assert wired.broker is not None
    receive = wired.broker.relay.receive

    def listen(user, route, frames, now):  # type: ignore[no-untyped-def]
        if frames[0] == b"server":
            captured.append((bytes(frames[1]), bytes(frames[2])))
        return receive(user, route, frames, now)

    wired.broker.relay.receive = listen  # type: ignore[method-assign]
    assert honest.call(STAT, ME) == METADATA
    overheard = captured.copy()
    with bare(wired, "phone") as phone:
        for header, body in overheard:
            known = decode_header(header)
            phone.send(known.kind, known.session, known.counter, body)
            if known.kind is Kind.INITIATION:
                answer, refusal = phone.envelope()
                assert answer.kind is Kind.REFUSED
                assert decode_refusal(refusal).code is RefusalCode.UNDECIPHERABLE
    assert {decode_header(header).kind for header, _ in overheard} >= {Kind.INITIATION, Kind.SEALED}
    assert honest.call(STAT, ME) == METADATA


def test_a_handshake_of_noise_is_refused(wired: Wired) -> None:
    with bare(wired, "laptop") as twin:
        for size in (0, 1, 47, 120, 5000):
            twin.send(Kind.INITIATION, 0, 7, bytes(size))
            header, refusal = twin.envelope()
            assert (header.kind, header.session) == (Kind.REFUSED, 7)
            assert decode_refusal(refusal).code is RefusalCode.UNDECIPHERABLE
    still_honest(wired)


def test_nobody_reaches_whom_he_is_not_paired_with(wired: Wired) -> None:
    with bare(wired, "phone") as phone, bare(wired, "stranger") as stranger:
        for peer, to in ((phone, b"laptop"), (phone, b"phone"), (stranger, b"server"), (phone, b"relay")):
            peer.send(Kind.SEALED, 1, 1, b"x", to)
            assert peer.error().code is RelayErrorCode.NOT_PAIRED
    still_honest(wired)


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"server",),
        (b"server", b""),
        (b"server", b"", b""),
        (b"server", bytes(31), b"x"),
        (b"server", bytes(32), b"x"),
        (b"server", b"\x01\x09" + bytes(30), b"x"),
        (b"server", Header(Kind.SEALED).encode(), b"x", b"y"),
        (b"server",) * 40,
        (b"", Header(Kind.RELAY).encode(), b"\xff" * 50),
        (b"", Header(Kind.RELAY).encode(), b"\x91" * 4000),
        (b"", Header(Kind.RELAY).encode(), bytes(100_000)),
        (bytes(5000), Header(Kind.SEALED).encode(), b"x"),
        (b"../server", Header(Kind.SEALED).encode(), b"x"),
        (b"server/0000000000000000", Header(Kind.SEALED).encode(), b"x"),
    ],
)
def test_malformed_messages_end_nowhere(wired: Wired, frames: tuple[bytes, ...]) -> None:
    with bare(wired, "phone") as phone:
        phone.raw(*frames)
        assert phone.error().code in (RelayErrorCode.MALFORMED, RelayErrorCode.BAD_TOKEN, RelayErrorCode.NOT_PAIRED)
        phone.send(Kind.SEALED, 1, 1, b"x")
        assert phone.envelope()[0].kind is Kind.UNKNOWN_SESSION, "the connection is as it was"
    still_honest(wired)


def test_a_peer_may_not_speak_as_the_relay(wired: Wired) -> None:
    with bare(wired, "phone") as phone:
        phone.tell(PeerGone(b"server"))
        assert phone.error().code is RelayErrorCode.MALFORMED
        phone.send(Kind.RELAY, 0, 0, b"x")
        phone.tell(AuthRequest(1))
    still_honest(wired)


def test_a_frame_that_is_too_large_costs_its_sender_the_connection_only(wired: Wired) -> None:
    with bare(wired, "phone") as phone:
        phone.send(Kind.SEALED, 1, 1, bytes(MAX_MESSAGE + 100_000))
    still_honest(wired)


def fuzz(phone: Bare, chance: random.Random) -> None:
    """One message with a few bits of a true one changed, cut or doubled."""
    message = [b"server", Header(Kind.SEALED, chance.getrandbits(32), chance.getrandbits(64), phone.token).encode()]
    message.append(chance.randbytes(chance.choice((0, 1, 16, 48, 700))))
    at = chance.randrange(3)
    part = bytearray(message[at])
    match chance.randrange(4):
        case 0 if part:
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        case 1:
            part = part[: chance.randrange(len(part) + 1)]
        case 2:
            part *= 2
        case _:
            message[1] = Header(chance.choice(list(Kind)), 1, chance.getrandbits(64), phone.token).encode()
            part = bytearray(message[at])
    message[at] = bytes(part)
    phone.raw(*message)


def test_noise_of_every_kind_stops_nobody(wired: Wired) -> None:
    chance = random.Random(11)
    honest = wired.client("laptop")
    with bare(wired, "phone") as phone:
        for _ in range(1500):
            fuzz(phone, chance)
            while phone.socket.poll(0):
                phone.socket.recv_multipart()
        phone.register()
        phone.send(Kind.SEALED, 1, 1, b"x")
        # What was said to the noise may still come; the answer to the one true envelope comes after it.
        kinds = iter(lambda: phone.envelope()[0].kind, Kind.UNKNOWN_SESSION)
        assert set(kinds) <= {Kind.REFUSED}
    assert honest.call(STAT, ME) == METADATA


def test_a_flood_of_one_client_leaves_room_for_another(wired: Wired) -> None:
    honest = wired.client("laptop")
    assert honest.call(STAT, ME) == METADATA
    flooding, under_way = threading.Event(), threading.Event()

    def flood() -> int:
        sent = 0
        with bare(wired, "phone") as phone:
            # Bounded: all of them share one interpreter here, which a flood without end keeps from everybody.
            while not flooding.is_set() and sent < 500:
                phone.send(Kind.INITIATION, 0, 1 + sent % 1000, b"x" * 120)
                sent += 1
                if sent > 50:
                    under_way.set()
                while phone.socket.poll(0):
                    phone.socket.recv_multipart()
        return sent

    flooded = asking(flood)
    assert under_way.wait(15)
    answers = [honest.call(STAT, ME) for _ in range(20)]
    deleted = asking(lambda: honest.call(DeleteFile((b"a",)), ME))
    wired.handler.next().answer(Done())
    assert deleted.get(timeout=15) == Done()
    flooding.set()
    assert answers == [METADATA] * 20
    assert isinstance(flooded.get(timeout=15), int)
