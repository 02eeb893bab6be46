"""Who a peer is: its id, its two public keys, their fingerprints, and the certificate that carries them.

The one rule: public halves only. Nothing in this module ever holds, reads or prints a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final, NewType

import msgspec

from schema.limits import MAX_PEER_ID

PeerId = NewType("PeerId", str)
"""A peer's name, e.g. ``laptop``: 1 to 64 of ``a-z 0-9 . _ -``, beginning with a letter or digit."""

PublicKey = NewType("PublicKey", bytes)
"""32 bytes of an X25519 public key."""

KEY_SIZE: Final = 32
_PEER_ID: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_PEER_ID - 1}}}")


class IdentityError(ValueError):
    """An id, key or certificate text that is not well formed; the message says which and why."""


def peer_id(text: str) -> PeerId:
    """Check `text` and give it back as a `PeerId`. Raises `IdentityError`."""
    if not _PEER_ID.fullmatch(text):
        raise IdentityError(
            f"{text[:80]!r} is not a peer id: use 1 to {MAX_PEER_ID} of a-z 0-9 . _ - beginning with a letter or digit"
        )
    return PeerId(text)


def public_key(data: bytes) -> PublicKey:
    """Check the length of `data` and give it back as a `PublicKey`. Raises `IdentityError`."""
    if len(data) != KEY_SIZE:
        raise IdentityError(f"a public key has {KEY_SIZE} bytes, this one {len(data)}")
    return PublicKey(data)


def encode_key(key: bytes) -> str:
    """The text form of a 32-byte key: standard base64, 44 characters."""
    return base64.b64encode(key).decode("ascii")


def decode_key(text: str) -> bytes:
    """The 32 bytes that `encode_key` wrote. Raises `IdentityError`."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IdentityError("a key is not valid base64") from error
    if len(key) != KEY_SIZE:
        raise IdentityError(f"a key has {KEY_SIZE} bytes, this one {len(key)}")
    return key


def fingerprint(*keys: bytes) -> str:
    """What people compare: ``SHA256:`` and the unpadded base64 of the keys' digest, as ssh-keygen(1) prints it."""
    digest = hashlib.sha256(b"".join(keys)).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


class Certificate(msgspec.Struct, frozen=True):
    """The shareable half of a peer's keys.

    `transport_key` is what CURVE authenticates; `identity_key` is what the end-to-end handshake authenticates. A
    broker takes no part in end-to-end sessions and has no identity key.
    """

    id: PeerId
    transport_key: PublicKey
    identity_key: PublicKey | None = None

    @property
    def fingerprint(self) -> str:
        """Fingerprint over both keys, in this order: transport, identity."""
        return fingerprint(self.transport_key, self.identity_key or b"")


class _CertificateText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    id: str
    transport_key: str
    identity_key: str = ""


def encode_certificate(certificate: Certificate) -> str:
    """The text of a certificate file (TOML); safe to send to anyone."""
    lines = [
        f"# RemoteFS certificate of {certificate.id}: public keys only, made to be shared.",
        f"# {certificate.fingerprint}",
        "version = 1",
        f'id = "{certificate.id}"',
        f'transport_key = "{encode_key(certificate.transport_key)}"',
    ]
    if certificate.identity_key is not None:
        lines.append(f'identity_key = "{encode_key(certificate.identity_key)}"')
    return "\n".join(lines) + "\n"


def decode_certificate(text: str) -> Certificate:
    """Read what `encode_certificate` wrote. Raises `IdentityError` saying what is wrong with it."""
    try:
        raw = msgspec.toml.decode(text, type=_CertificateText)
    except (msgspec.DecodeError, ValueError) as error:
        raise IdentityError(f"not a RemoteFS certificate: {error}") from error
    if raw.version != 1:
        raise IdentityError(f"certificate version {raw.version} is not known here: this program reads version 1")
    return Certificate(
        id=peer_id(raw.id),
        transport_key=public_key(decode_key(raw.transport_key)),
        identity_key=public_key(decode_key(raw.identity_key)) if raw.identity_key else None,
    )
