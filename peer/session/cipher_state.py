"""CipherState: one key and the nonces used with it (Noise section 5.1).

The one rule: no nonce is ever used twice for sealing under one key. `encrypt_with_ad` and `decrypt_with_ad` count for
themselves; who uses `encrypt_at` counts instead (see `session`, whose messages may arrive in any order).
"""

from __future__ import annotations

from typing import Final

from peer.errors import SessionExhausted
from peer.session.primitives import KEY_SIZE, Buffer, Cipher

MAX_NONCE: Final = 2**64 - 1
"""Reserved for `rekey`; no message is sealed under it."""


class CipherState:
    """`key` is 32 bytes, or None before the first key was mixed in: then text passes as it is (k empty)."""

    __slots__ = ("_cipher", "_nonce")

    def __init__(self, key: bytes | None = None) -> None:
        self._cipher: Cipher | None = None
        self._nonce = 0
        if key is not None:
            self.initialize_key(key)

    def initialize_key(self, key: bytes) -> None:
        """InitializeKey: begin again with `key` and nonce 0."""
        self._cipher, self._nonce = Cipher(key), 0

    def has_key(self) -> bool:
        """HasKey: whether text is enciphered at all."""
        return self._cipher is not None

    def set_nonce(self, nonce: int) -> None:
        """SetNonce: the nonce of the next message."""
        self._nonce = nonce

    def encrypt_with_ad(self, associated: bytes, plaintext: bytes) -> bytes:
        """EncryptWithAd: seal under the next nonce. Raises `SessionExhausted` when none is left."""
        if self._cipher is None:
            return plaintext
        ciphertext = self.encrypt_at(self._nonce, plaintext, associated)
        self._nonce += 1
        return bytes(ciphertext)

    def decrypt_with_ad(self, associated: bytes, ciphertext: bytes) -> bytes:
        """DecryptWithAd: open under the next nonce; a failure uses up no nonce.

        Raises `AuthenticationFailed`, or `SessionExhausted` when no nonce is left.
        """
        if self._cipher is None:
            return ciphertext
        plaintext = self.decrypt_at(self._nonce, ciphertext, associated)
        self._nonce += 1
        return bytes(plaintext)

    def encrypt_at(self, nonce: int, plaintext: Buffer, associated: bytes = b"") -> bytearray:
        """Seal under a nonce of the caller's; touches no state, so threads may seal at once.

        Raises `SessionExhausted` for the reserved nonce and beyond.
        """
        return self._cipher_for(nonce).encrypt(nonce, associated, plaintext)

    def decrypt_at(self, nonce: int, ciphertext: Buffer, associated: bytes = b"") -> bytearray:
        """Open under a nonce of the caller's; touches no state.

        Raises `AuthenticationFailed`, or `SessionExhausted` for the reserved nonce and beyond.
        """
        return self._cipher_for(nonce).decrypt(nonce, associated, ciphertext)

    def rekey(self) -> None:
        """Rekey: replace the key by a one-way function of it; the nonce goes on (sections 4.2 and 5.1)."""
        if self._cipher is None:
            raise ValueError("there is no key yet to replace")
        self._cipher = Cipher(self._cipher.encrypt(MAX_NONCE, b"", bytes(KEY_SIZE))[:KEY_SIZE])

    def copy(self) -> CipherState:
        """A state of its own that goes on from here."""
        twin = CipherState()
        twin._cipher, twin._nonce = self._cipher, self._nonce
        return twin

    def _cipher_for(self, nonce: int) -> Cipher:
        if self._cipher is None:
            raise ValueError("sealing at a nonce needs a key")
        if not 0 <= nonce < MAX_NONCE:
            raise SessionExhausted(f"nonce {nonce} may not be used: shake hands again")
        return self._cipher
