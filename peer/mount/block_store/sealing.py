"""How blocks are sealed at rest, and under which names their containers lie.

The one rule: everything on disk is keyed. Names are keyed hashes, so the directory tells neither inode numbers, sizes
nor times; contents are AES-256-GCM, or ChaCha20-Poly1305 (RFC 8439) where the processor has no instructions for AES.

Keys. `secret`, the realm (which agent) and the cipher give a key for names and a key for contents; the latter and the
version of a file give the file's key; that and 24 random bytes, the salt, give the key of one sealing, which encrypts
once, under nonce 0. So a nonce repeats under one key only if 192 random bits do: after 2^48 sealings of one version
that has a chance below 2^-96. This is XChaCha20's construction, with keyed BLAKE2b (RFC 7693) in HChaCha20's place. A
key serves one cipher only, and what the other one sealed lies under other names: it is not found, and goes when it
was not used for longest.

What is authenticated. The version is in the key and the block's position in the associated data: a block that was
altered, cut, or brought from another place, file, version or agent does not open. A block put back that was once
sealed for the same place of the same version does open: it is that version's content.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from peer.mount.block_store.layout import SALT_SIZE
from peer.session.primitives import KEY_SIZE, AesCipher, Buffer, Cipher
from schema.attributes import FileVersion

NAME_SIZE: Final = 20
"""Bytes in a container's name, before they are written in hexadecimal."""

_POSITION: Final = struct.Struct("<Q")
_TAGS: Final[dict[type[Cipher], bytes]] = {Cipher: b"ChaCha20-Poly1305", AesCipher: b"AES-256-GCM"}


class SealedVersion:
    """One file version as it appears on disk: the names of its containers, and the way into its blocks."""

    __slots__ = ("_cipher", "_content_key", "_identity", "_name_key")

    def __init__(self, cipher: type[Cipher], content_key: bytes, name_key: bytes, identity: bytes) -> None:
        self._cipher: Final = cipher
        self._content_key: Final = hashlib.blake2b(identity, digest_size=KEY_SIZE, key=content_key).digest()
        self._name_key: Final = name_key
        self._identity: Final = identity

    def container(self, segment: int) -> str:
        """The name of the container of a segment: `NAME_SIZE` bytes in hexadecimal."""
        named = b"%b/%d" % (self._identity, segment)
        return hashlib.blake2b(named, digest_size=NAME_SIZE, key=self._name_key).hexdigest()

    def seal(self, index: int, salt: bytes, block: Buffer) -> bytearray:
        """Block `index`, sealed, 16 bytes longer. `salt` must be `SALT_SIZE` fresh random bytes."""
        return self._cipher(self._block_key(salt)).encrypt(0, _POSITION.pack(index), block)

    def open(self, index: int, slot: memoryview, target: memoryview) -> None:
        """Put the content of a slot, padding included, into `target`, which is `OVERHEAD` shorter.

        Raises `AuthenticationFailed` for anything but what `seal` made; then `target` is all zero.
        """
        cipher = self._cipher(self._block_key(slot[:SALT_SIZE]))
        cipher.decrypt_into(0, _POSITION.pack(index), slot[SALT_SIZE:], target)

    def _block_key(self, salt: Buffer) -> bytes:
        return hashlib.blake2b(salt, digest_size=KEY_SIZE, key=self._content_key).digest()


class Sealer:
    """Seals for one client (`secret`, `KEY_SIZE` bytes) and one agent (`realm`, any bytes that name it alone)."""

    __slots__ = ("_cipher", "_content_key", "_name_key")

    def __init__(self, secret: bytes, realm: bytes, cipher: type[Cipher]) -> None:
        if len(secret) != KEY_SIZE:
            raise ValueError(f"the secret of a block store has {KEY_SIZE} bytes, this one {len(secret)}")
        own = hashlib.blake2b(_TAGS[cipher], key=secret, person=b"remotefs-cipher").digest()
        self._cipher: Final = cipher
        self._content_key: Final = hashlib.blake2b(realm, key=own, person=b"remotefs-content").digest()
        self._name_key: Final = hashlib.blake2b(realm, key=own, person=b"remotefs-names").digest()

    def version(self, volume: int, version: FileVersion) -> SealedVersion:
        """The seal of one file version on a volume (st_dev)."""
        numbers = (volume, version.inode, version.size, version.mtime_ns, version.ctime_ns)
        return SealedVersion(self._cipher, self._content_key, self._name_key, b"%d/%d/%d/%d/%d" % numbers)
