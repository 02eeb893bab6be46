"""Handshakes and transport with dissononce, a Noise implementation that shares no code with ours, in both roles."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from dissononce.cipher.chachapoly import ChaChaPolyCipher
from dissononce.dh.x25519.x25519 import X25519DH, PrivateKey, PublicKey
from dissononce.hash.blake2b import Blake2bHash
from dissononce.processing.handshakepatterns.interactive.IK import IKHandshakePattern
from dissononce.processing.impl.cipherstate import CipherState
from dissononce.processing.impl.handshakestate import HandshakeState
from dissononce.processing.impl.symmetricstate import SymmetricState

from peer.session.initiator import Initiator
from peer.session.primitives import KeyPair
from peer.session.prologue import prologue
from peer.session.responder import Responder

PROLOGUE = prologue(1, "laptop", "server")
TEXTS = (b"", b"one", b"two" * 1000, bytes(range(256)) * 200)


def theirs(*, initiator: bool, static: KeyPair, remote_static: bytes | None) -> Any:
    """A handshake of the other implementation."""
    dh = X25519DH()
    state = HandshakeState(SymmetricState(CipherState(ChaChaPolyCipher()), Blake2bHash()), dh)
    state.initialize(
        IKHandshakePattern(),
        initiator,
        PROLOGUE,
        s=dh.generate_keypair(PrivateKey(static.private)),
        rs=None if remote_static is None else PublicKey(remote_static),
    )
    return state


@pytest.mark.parametrize("seed", range(5))
def test_our_initiator_with_their_responder(seed: int) -> None:
    generate = random.Random(seed).randbytes
    laptop, server = KeyPair.generate(generate), KeyPair.generate(generate)
    ours = Initiator(laptop.private, server.public, PROLOGUE, generate, lock=contextlib.nullcontext)
    other = theirs(initiator=False, static=server, remote_static=None)

    index, message = ours.start(0.0, b"from us")
    received, response = bytearray(), bytearray()
    other.read_message(message, received)
    receive, send = other.write_message(b"from them", response)
    session = ours.finish(index, 7, bytes(response), 0.0)

    assert received == b"from us"
    assert session.remote_payload == b"from them"
    assert other.rs.data == laptop.public
    for number, text in enumerate(TEXTS):
        counter, sealed = session.seal(text)
        assert (counter, receive.decrypt_with_ad(b"", bytes(sealed))) == (number, text)
        assert session.open(number, send.encrypt_with_ad(b"", text), 0.0) == text


@pytest.mark.parametrize("seed", range(5))
def test_their_initiator_with_our_responder(seed: int) -> None:
    generate = random.Random(seed).randbytes
    laptop, server = KeyPair.generate(generate), KeyPair.generate(generate)
    seen: list[tuple[str, bytes]] = []
    ours = Responder(
        server.private,
        lambda _claimed_id: PROLOGUE,
        lambda claimed_id, static_key: seen.append((claimed_id, static_key)),
        generate,
        lock=contextlib.nullcontext,
    )
    other = theirs(initiator=True, static=laptop, remote_static=server.public)

    message, received = bytearray(), bytearray()
    other.write_message(b"from them", message)
    session, response = ours.accept("laptop", 7, bytes(message), 0.0, b"from us")
    send, receive = other.read_message(response, received)

    assert received == b"from us"
    assert session.remote_payload == b"from them"
    assert seen == [("laptop", laptop.public)]
    for number, text in enumerate(TEXTS):
        sealed = send.encrypt_with_ad(b"", text)
        opened_in, opened = ours.open(session.local_index, number, sealed, 0.0)
        assert opened_in is session
        assert opened == text
        counter, answer = session.seal(text)
        assert (counter, receive.decrypt_with_ad(b"", bytes(answer))) == (number, text)
