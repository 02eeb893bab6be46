"""Ids, keys, fingerprints, certificates."""

from __future__ import annotations

import hashlib

import pytest

from schema.identity import (
    Certificate,
    IdentityError,
    PeerId,
    PublicKey,
    decode_certificate,
    decode_key,
    encode_certificate,
    encode_key,
    fingerprint,
    peer_id,
    public_key,
)
from schema.limits import MAX_PEER_ID

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
PEER = Certificate(PeerId("laptop"), PublicKey(KEY), PublicKey(OTHER))
RELAY = Certificate(PeerId("relay"), PublicKey(KEY))


@pytest.mark.parametrize("text", ["a", "0", "laptop", "my-laptop.home_2", "a" * MAX_PEER_ID])
def test_an_id(text: str) -> None:
    assert peer_id(text) == text


@pytest.mark.parametrize("text", ["", "A", "-a", ".a", "_a", "a b", "a/b", "a\n", "ä", "a" * (MAX_PEER_ID + 1), "a\0"])
def test_no_id(text: str) -> None:
    with pytest.raises(IdentityError, match="is not a peer id"):
        peer_id(text)


def test_a_key_as_text_comes_back() -> None:
    assert decode_key(encode_key(KEY)) == KEY
    assert len(encode_key(KEY)) == 44


@pytest.mark.parametrize(
    "text", ["", "x", "!" * 44, encode_key(KEY)[:-1], encode_key(KEY + b"x"), encode_key(KEY[:31])]
)
def test_no_key(text: str) -> None:
    with pytest.raises(IdentityError):
        decode_key(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_its_length(size: int) -> None:
    with pytest.raises(IdentityError, match="32 bytes"):
        public_key(bytes(size))


def test_a_fingerprint_is_that_of_ssh_keygen() -> None:
    shown = fingerprint(KEY)
    assert shown.startswith("SHA256:")
    assert not shown.endswith("=")
    assert decode_key(shown.removeprefix("SHA256:") + "=") == hashlib.sha256(KEY).digest()


@pytest.mark.parametrize("certificate", [PEER, RELAY])
def test_a_certificate_as_text_comes_back(certificate: Certificate) -> None:
    text = encode_certificate(certificate)
    assert decode_certificate(text) == certificate
    assert certificate.fingerprint in text


def test_either_key_makes_another_fingerprint() -> None:
    others = [
        Certificate(PEER.id, PublicKey(OTHER), PEER.identity_key),
        Certificate(PEER.id, PEER.transport_key, PublicKey(KEY)),
        Certificate(PEER.id, PEER.transport_key),
    ]
    assert len({each.fingerprint for each in [PEER, *others]}) == 4


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("version = 1", "version = 2"), "version 2"),
        (("version = 1\n", ""), "version"),
        (('id = "laptop"', 'id = "Lap"'), "not a peer id"),
        (("transport_key", "transport_kye"), "transport_k"),
        ((encode_key(KEY), encode_key(KEY)[:-4]), "32 bytes|base64"),
        ((encode_key(OTHER), "junk"), "base64|32 bytes"),
        (("version", "secret = 1\nversion"), "secret"),
        (("version = 1", "version = "), "not a RemoteFS certificate"),
    ],
)
def test_what_is_no_certificate_is_refused(change: tuple[str, str], why: str) -> None:
    text = encode_certificate(PEER)
    assert change[0] in text
    with pytest.raises(IdentityError, match=why):
        decode_certificate(text.replace(*change))
