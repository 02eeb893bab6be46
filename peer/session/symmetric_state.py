"""SymmetricState: the chaining key, the transcript hash and the cipher that they lead to (Noise section 5.2).

The one rule: every byte that either end sends during a handshake enters the hash, and the hash authenticates every
ciphertext after it.
"""

from __future__ import annotations

from peer.session.cipher_state import CipherState
from peer.session.primitives import HASH_SIZE, KEY_SIZE, digest, hkdf


class SymmetricState:
    """InitializeSymmetric: begin from `protocol_name`, e.g. ``Noise_IK_25519_ChaChaPoly_BLAKE2b``."""

    __slots__ = ("_chaining_key", "_cipher", "_hash")

    def __init__(self, protocol_name: bytes) -> None:
        self._hash = protocol_name.ljust(HASH_SIZE, b"\0") if len(protocol_name) <= HASH_SIZE else digest(protocol_name)
        self._chaining_key = self._hash
        self._cipher = CipherState()

    def mix_key(self, material: bytes) -> None:
        """MixKey: a DH result enters the chaining key, and a fresh cipher key comes out."""
        self._chaining_key, key = hkdf(self._chaining_key, material)
        self._cipher.initialize_key(key[:KEY_SIZE])

    def mix_hash(self, data: bytes) -> None:
        """MixHash: `data` enters the transcript."""
        self._hash = digest(self._hash, data)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """EncryptAndHash: seal under the transcript so far, then add the ciphertext to it."""
        ciphertext = self._cipher.encrypt_with_ad(self._hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """DecryptAndHash: the inverse. Raises `AuthenticationFailed`."""
        plaintext = self._cipher.decrypt_with_ad(self._hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def has_key(self) -> bool:
        """Whether what is sent now is enciphered, and so `TAG_SIZE` longer."""
        return self._cipher.has_key()

    def handshake_hash(self) -> bytes:
        """GetHandshakeHash: 64 bytes that are the same at both ends and in no other handshake."""
        return self._hash

    def split(self) -> tuple[CipherState, CipherState]:
        """Split: the ciphers from initiator to responder and from responder to initiator."""
        first, second = hkdf(self._chaining_key, b"")
        return CipherState(first[:KEY_SIZE]), CipherState(second[:KEY_SIZE])

    def copy(self) -> SymmetricState:
        """A state of its own that goes on from here."""
        twin = SymmetricState(b"")
        twin._hash, twin._chaining_key = self._hash, self._chaining_key
        twin._cipher = self._cipher.copy()
        return twin
