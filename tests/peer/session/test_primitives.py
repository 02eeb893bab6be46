"""DH, cipher and hash against their RFCs, and against what a hostile peer may hand in."""

from __future__ import annotations

import pytest

from peer.errors import AuthenticationFailed, HandshakeRefused
from peer.session.primitives import AesCipher, Cipher, KeyPair, decrypt, dh, digest, encrypt, hkdf

# RFC 8439 appendix A.5; its nonce begins with 32 zero bits, as Noise's do.
AEAD_KEY = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
AEAD_NONCE = int.from_bytes(bytes.fromhex("0102030405060708"), "little")
AEAD_ASSOCIATED = bytes.fromhex("f33388860000000000004e91")
AEAD_PLAINTEXT = (
    "Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or "
    "obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference material or "
    "to cite them other than as /\u201cwork in progress./\u201d"
).encode()
AEAD_CIPHERTEXT = bytes.fromhex(
    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0"
    "bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
    "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e9"
    "9040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
    "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff77987130"
    "305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b"
    "eead9d67890cbb22392336fea1851f38"
)


def test_the_cipher_agrees_with_rfc_8439() -> None:
    assert encrypt(AEAD_KEY, AEAD_NONCE, AEAD_ASSOCIATED, AEAD_PLAINTEXT) == AEAD_CIPHERTEXT
    assert decrypt(AEAD_KEY, AEAD_NONCE, AEAD_ASSOCIATED, AEAD_CIPHERTEXT) == AEAD_PLAINTEXT


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 70_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_of_any_size_comes_back(size: int, kind: type[bytes]) -> None:
    text = bytes(range(256)) * (size // 256 + 1)
    sealed = encrypt(AEAD_KEY, 7, b"", kind(text[:size]))
    assert len(sealed) == size + 16
    assert decrypt(AEAD_KEY, 7, b"", kind(sealed)) == text[:size]


def test_a_slice_of_a_larger_frame_is_read_where_it_lies() -> None:
    frame = b"header" + bytes(encrypt(AEAD_KEY, 1, b"", b"body")) + b"trailer"
    assert decrypt(AEAD_KEY, 1, b"", memoryview(frame)[6:-7]) == b"body"


@pytest.mark.parametrize("bit", range(0, len(AEAD_CIPHERTEXT) * 8, 97))
def test_no_bit_may_be_flipped(bit: int) -> None:
    forged = bytearray(AEAD_CIPHERTEXT)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFailed):
        decrypt(AEAD_KEY, AEAD_NONCE, AEAD_ASSOCIATED, forged)


@pytest.mark.parametrize("size", [0, 1, 15, 16, len(AEAD_CIPHERTEXT) - 1])
def test_what_is_cut_short_is_refused(size: int) -> None:
    with pytest.raises(AuthenticationFailed):
        decrypt(AEAD_KEY, AEAD_NONCE, AEAD_ASSOCIATED, AEAD_CIPHERTEXT[:size])


def test_another_nonce_or_associated_data_is_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        decrypt(AEAD_KEY, AEAD_NONCE + 1, AEAD_ASSOCIATED, AEAD_CIPHERTEXT)
    with pytest.raises(AuthenticationFailed):
        decrypt(AEAD_KEY, AEAD_NONCE, b"", AEAD_CIPHERTEXT)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_never_reaches_the_library(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encrypt(bytes(size), 0, b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        decrypt(bytes(size), 0, b"", bytes(16))
    with pytest.raises(ValueError, match="32 bytes"):
        KeyPair.of(bytes(size))
    with pytest.raises(HandshakeRefused, match="32 bytes"):
        dh(KeyPair.of(b"k" * 32), bytes(size))


def test_a_ciphertext_opens_into_a_buffer_that_is_there() -> None:
    sealed = encrypt(bytes(32), 7, b"aad", b"forty-two")
    target = bytearray(b"." * 12)
    Cipher(bytes(32)).decrypt_into(7, b"aad", sealed, memoryview(target)[1:10])
    assert target == b".forty-two.."
    sealed[0] ^= 1
    with pytest.raises(AuthenticationFailed):
        Cipher(bytes(32)).decrypt_into(7, b"aad", sealed, memoryview(target)[1:10])
    assert target == b"." + bytes(9) + b".."


@pytest.mark.parametrize("length", [0, 8, 10, 25])
def test_a_buffer_of_another_length_is_refused_and_left_alone(length: int) -> None:
    sealed, target = encrypt(bytes(32), 7, b"aad", b"forty-two"), bytearray(b"x" * length)
    with pytest.raises(ValueError, match="do not open into"):
        Cipher(bytes(32)).decrypt_into(7, b"aad", sealed, target)
    assert target == b"x" * length


def test_the_other_cipher_agrees_with_its_specification() -> None:
    # Test case 14 of McGrew and Viega's specification of GCM: all zero, 256 bits of key, 96 of nonce.
    sealed = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")
    assert AesCipher(bytes(32)).encrypt(0, b"", bytes(16)) == sealed
    assert AesCipher(bytes(32)).decrypt(0, b"", sealed) == bytes(16)


@pytest.mark.parametrize("cipher", [Cipher, AesCipher])
@pytest.mark.parametrize("size", [9, 5_000])
def test_nothing_that_does_not_authenticate_stays_in_the_buffer(cipher: type[Cipher], size: int) -> None:
    sealed, target = cipher(bytes(32)).encrypt(7, b"aad", b"x" * size), bytearray(b"." * (size + 2))
    sealed[-1] ^= 1
    with pytest.raises(AuthenticationFailed):
        cipher(bytes(32)).decrypt_into(7, b"aad", sealed, memoryview(target)[1:-1])
    assert target == b"." + bytes(size) + b"."


def test_dh_agrees_with_rfc_7748() -> None:  # section 6.1
    alice = KeyPair.of(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair.of(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.public == bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert dh(alice, bob.public) == dh(bob, alice.public) == shared


@pytest.mark.parametrize(
    "low_order",
    [
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ],
)
def test_a_public_key_of_low_order_is_refused(low_order: bytes) -> None:
    with pytest.raises(HandshakeRefused, match="low order"):
        dh(KeyPair.of(b"k" * 32), low_order)


def test_the_hash_agrees_with_rfc_7693() -> None:  # appendix A
    expected = (
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"
    )
    assert digest(b"abc").hex() == expected
    assert digest(b"a", b"", b"bc").hex() == expected


def test_hkdf_outputs_differ_and_depend_on_both_inputs() -> None:
    first, second = hkdf(b"c" * 64, b"material")
    assert len(first) == len(second) == 64
    others = {*hkdf(b"c" * 64, b""), *hkdf(b"d" * 64, b"material")}
    assert len({first, second} | others) == 6


def test_a_private_key_is_not_shown() -> None:
    assert "private" not in repr(KeyPair.of(b"k" * 32))
