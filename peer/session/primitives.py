"""The functions that `Noise_IK_25519_ChaChaPoly_BLAKE2b` is made of: DH, cipher and hash (Noise section 12).

The one rule: stateless. Each function depends on its arguments alone and may run in several threads at once; the
cipher releases the GIL while it works.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from peer.errors import AuthenticationFailed, HandshakeRefused

Buffer = bytes | bytearray | memoryview
"""Anything contiguous that bytes can be read from without a copy."""

KEY_SIZE: Final = 32
"""Bytes of an X25519 key, of a DH result and of a cipher key."""
HASH_SIZE: Final = 64
"""Bytes of a BLAKE2b digest, HASHLEN in the specification."""
TAG_SIZE: Final = 16
"""Bytes that Poly1305 adds."""

_NONCE: Final = struct.Struct("<4xQ")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair. `private` stays out of `repr`."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        """The pair that belongs to 32 private bytes. Raises ValueError for another length."""
        if len(private) != KEY_SIZE:
            raise ValueError(f"an X25519 private key has {KEY_SIZE} bytes, this one {len(private)}")
        return cls(private, nacl.bindings.crypto_scalarmult_base(private))

    @classmethod
    def generate(cls, generate: Callable[[int], bytes]) -> KeyPair:
        """A fresh pair out of `generate(32)`, which must be fit for keys (GENERATE_KEYPAIR)."""
        return cls.of(generate(KEY_SIZE))


def dh(pair: KeyPair, public: bytes) -> bytes:
    """DH: the 32 bytes that both ends of X25519 arrive at (RFC 7748 section 6.1).

    Raises `HandshakeRefused` for a public key of another length, and for one of low order, whose result would be all
    zero whatever our key is.
    """
    if len(public) != KEY_SIZE:
        raise HandshakeRefused(f"an X25519 public key has {KEY_SIZE} bytes, this one {len(public)}")
    try:
        return nacl.bindings.crypto_scalarmult(pair.private, public)
    except nacl.exceptions.RuntimeError as error:
        raise HandshakeRefused("a public key of low order: whoever sent it does not mean to keep a secret") from error


def digest(*parts: bytes) -> bytes:
    """HASH: the 64-byte BLAKE2b digest of all parts together (RFC 7693)."""
    state = hashlib.blake2b(digest_size=HASH_SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


def hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs of 64 bytes (Noise section 4.3, RFC 5869 with HMAC-BLAKE2b)."""
    temporary = hmac.digest(chaining_key, material, "blake2b")
    first = hmac.digest(temporary, b"\x01", "blake2b")
    return first, hmac.digest(temporary, first + b"\x02", "blake2b")


class Cipher:
    """ChaCha20-Poly1305 of RFC 8439 under one `key`: Noise's ENCRYPT and DECRYPT. Immutable, so threads may share it.

    Raises ValueError for a key that is not `KEY_SIZE` long.
    """

    __slots__ = ("_aead",)
    _algorithm: type[ChaCha20Poly1305 | AESGCM] = ChaCha20Poly1305

    def __init__(self, key: Buffer) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a cipher key has {KEY_SIZE} bytes, this one {len(key)}")
        self._aead: Final = self._algorithm(key)

    def encrypt(self, nonce: int, associated: bytes, plaintext: Buffer) -> bytearray:
        """ENCRYPT under 32 zero bits and the 64-bit little-endian `nonce`: `TAG_SIZE` longer than `plaintext`."""
        sealed = bytearray(memoryview(plaintext).nbytes + TAG_SIZE)
        self._aead.encrypt_into(_NONCE.pack(nonce), plaintext, associated, sealed)
        return sealed

    def decrypt(self, nonce: int, associated: bytes, ciphertext: Buffer) -> bytearray:
        """DECRYPT: the inverse. Raises `AuthenticationFailed`, and then nothing of the plaintext gets out."""
        plaintext = bytearray(max(memoryview(ciphertext).nbytes - TAG_SIZE, 0))
        self.decrypt_into(nonce, associated, ciphertext, plaintext)
        return plaintext

    def decrypt_into(
        self, nonce: int, associated: bytes, ciphertext: Buffer, plaintext: bytearray | memoryview
    ) -> None:
        """DECRYPT into a buffer that is there: `plaintext` is writable and `TAG_SIZE` shorter than `ciphertext`.

        Raises `AuthenticationFailed`, and then `plaintext` is all zero; ValueError for a buffer of another length.
        """
        size, target = memoryview(ciphertext).nbytes, memoryview(plaintext)
        if size < TAG_SIZE:
            raise AuthenticationFailed(f"a ciphertext has at least {TAG_SIZE} bytes, this one {size}")
        if target.nbytes != size - TAG_SIZE:
            raise ValueError(f"{size} bytes of ciphertext do not open into {target.nbytes} bytes")
        try:
            self._aead.decrypt_into(_NONCE.pack(nonce), ciphertext, associated, plaintext)
        except InvalidTag as error:
            # OpenSSL deciphers as it goes, and learns only at the end that it should not have.
            target[:] = bytes(target.nbytes)
            raise AuthenticationFailed("a ciphertext was altered, or sealed under another key or nonce") from error


class AesCipher(Cipher):
    """AES-256-GCM (NIST SP 800-38D) in the same form, for what never leaves this machine.

    Twice as fast where the processor has instructions for it, and slow where it has none.
    """

    __slots__ = ()
    _algorithm = AESGCM


def encrypt(key: bytes, nonce: int, associated: bytes, plaintext: Buffer) -> bytearray:
    """ENCRYPT under a key that is used once; see `Cipher`."""
    return Cipher(key).encrypt(nonce, associated, plaintext)


def decrypt(key: bytes, nonce: int, associated: bytes, ciphertext: Buffer) -> bytearray:
    """DECRYPT under a key that is used once; see `Cipher`."""
    return Cipher(key).decrypt(nonce, associated, ciphertext)
