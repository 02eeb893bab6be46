"""The broker's own secret: one X25519 key, with which CURVE proves to peers that this is the relay they pinned.

The one rule: a secret that others on the machine could read is not used, and is never part of a message or log line.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from nacl.bindings import crypto_scalarmult_base

from broker.errors import KeyFileError
from schema.identity import Certificate, IdentityError, PublicKey, decode_key, peer_id

_MAX_SIZE: Final = 65_536


class TransportKey(msgspec.Struct, frozen=True):
    """The broker's CURVE key pair, 32 raw bytes each. Its `repr` shows the public half only."""

    certificate: Certificate
    secret: bytes

    def __repr__(self) -> str:
        return f"TransportKey({self.certificate.id}, {self.certificate.fingerprint})"


class _KeyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    id: str
    transport_secret: str
    identity_secret: str = ""
    """Peers have one; a broker takes no part in sealed sessions and ignores it."""


def read_key_file(path: Path, owner: str) -> TransportKey:
    """Read a key file: TOML ``version = 1, id, transport_secret`` (base64 of 32 bytes), mode 0600 or stricter.

    Raises `KeyFileError` for a file that is missing, open to group or others, not of that form, or not `owner`'s.
    """
    text = _read_private(path)
    try:
        raw = msgspec.toml.decode(text, type=_KeyText)
    except (msgspec.DecodeError, ValueError):
        # The decoder's own message may quote a line of the file, and so a secret: it goes no further.
        raise KeyFileError(
            f"{path}: not a RemoteFS key file: it needs version = 1, id and transport_secret (make one with keygen)"
        ) from None
    if raw.version != 1:
        raise KeyFileError(f"{path}: key file version {raw.version} is not known here: this program reads version 1")
    if raw.id != owner:
        raise KeyFileError(
            f"{path}: this is the key of {raw.id[:80]!r}, but the configuration says broker.id = {owner!r}"
        )
    try:
        secret = decode_key(raw.transport_secret)
        certificate = Certificate(peer_id(raw.id), PublicKey(crypto_scalarmult_base(secret)))
    except IdentityError as error:
        raise KeyFileError(f"{path}: {error}") from None
    return TransportKey(certificate, secret)


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path}: not a regular file")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise KeyFileError(
                    f"{path}: others may use this key (mode {mode:04o}), so it is refused: run chmod 600 {path}"
                )
            return file.read(_MAX_SIZE).decode("utf-8")
    except FileNotFoundError:
        raise KeyFileError(f"{path}: no such key file: make one with keygen") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: not a RemoteFS key file: it is not text") from None
