"""The broker's own secret: one X25519 key, with which CURVE proves to peers that this is the relay they pinned.

The one rule: it is the key of the relay that the configuration names, and it never shows.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from nacl.bindings import crypto_scalarmult_base

from broker.errors import KeyFileError
from schema import key_file
from schema.identity import Certificate, PublicKey


class TransportKey(msgspec.Struct, frozen=True):
    """The broker's CURVE key pair, 32 raw bytes each. Its `repr` shows the public half only."""

    certificate: Certificate
    secret: bytes

    def __repr__(self) -> str:
        return f"TransportKey({self.certificate.id}, {self.certificate.fingerprint})"


def read_key_file(path: Path, owner: str) -> TransportKey:
    """Read the transport key of the relay `owner`; an identity key beside it is not the broker's business.

    Raises `KeyFileError` for a file that is missing, another user's or open to others, not of its form, or not
    `owner`'s.
    """
    try:
        own = key_file.read_key_file(path)
    except key_file.KeyFileError as error:
        raise KeyFileError(str(error)) from error
    if own.id != owner:
        raise KeyFileError(f"{path}: this is the key of {own.id!r}, but the configuration says broker.id = {owner!r}")
    certificate = Certificate(own.id, PublicKey(crypto_scalarmult_base(own.transport_secret)))
    return TransportKey(certificate, own.transport_secret)
