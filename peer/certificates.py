"""A peer's own keys, the certificates it shares, and the peers that it pins.

The one rule: trust is what lies in a directory that the operator fills, and nothing else; a key that is not the pinned
one is refused with both fingerprints, never learned.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nacl.bindings import crypto_scalarmult_base

from peer.errors import CertificateRefused, KeyRefused
from schema.identity import (
    KEY_SIZE,
    Certificate,
    IdentityError,
    PeerId,
    PublicKey,
    decode_certificate,
    encode_certificate,
)
from schema.key_file import KeyFileError, Secrets, read_key_file

CERTIFICATE_SUFFIX: Final = ".cert"
KEY_SUFFIX: Final = ".key"
MAX_CERTIFICATE_SIZE: Final = 16_384
"""Bytes; ours have about 250."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of this program, secret and public, 32 raw bytes each; its `repr` shows the public half only."""

    certificate: Certificate
    transport_secret: bytes = field(repr=False)
    identity_secret: bytes = field(repr=False)

    def secret_for(self, purpose: bytes) -> bytes:
        """A secret of `KEY_SIZE` bytes for something else: it tells nothing of ours, nor of that for another purpose.

        Keyed BLAKE2b (RFC 7693) with `purpose`, 16 bytes at most, in its personalisation.
        """
        return hashlib.blake2b(key=self.identity_secret, person=purpose, digest_size=KEY_SIZE).digest()


def generate(peer: PeerId, *, broker: bool = False) -> Secrets:
    """Fresh secrets from the system's random source; a broker has none for end-to-end sessions."""
    return Secrets(
        id=peer,
        transport_secret=secrets.token_bytes(KEY_SIZE),
        identity_secret=None if broker else secrets.token_bytes(KEY_SIZE),
    )


def certificate_of(own: Secrets) -> Certificate:
    """The shareable half: the public keys of X25519 (RFC 7748) for the secrets."""
    return Certificate(
        id=own.id,
        transport_key=PublicKey(crypto_scalarmult_base(own.transport_secret)),
        identity_key=PublicKey(crypto_scalarmult_base(own.identity_secret)) if own.identity_secret else None,
    )


def read_own_keys(key_file: Path, certificate_file: Path, peer: PeerId) -> OwnKeys:
    """The keys of this peer, from both its files, which must belong together and to the id in its settings.

    Raises `KeyRefused` or `CertificateRefused`, saying which file to mend.
    """
    try:
        own = read_key_file(key_file)
    except KeyFileError as error:
        raise KeyRefused(str(error)) from error
    if own.identity_secret is None:
        raise KeyRefused(f"{key_file}: a relay's key file has no identity key; a peer needs one (remotefs keygen ID)")
    if own.id != peer:
        raise KeyRefused(f"{key_file}: holds the keys of {own.id!r}, but the settings say that this is {peer!r}")
    certificate = certificate_of(own)
    shared = read_certificate(certificate_file)
    if shared != certificate:
        raise CertificateRefused(
            f"{certificate_file}: is of {shared.id} {shared.fingerprint}, but {key_file} has the keys of "
            f"{certificate.id} {certificate.fingerprint}: they do not belong together"
        )
    return OwnKeys(certificate, own.transport_secret, own.identity_secret)


def read_certificate(path: Path) -> Certificate:
    """Read a certificate file. Raises `CertificateRefused`."""
    try:
        # O_NONBLOCK: a fifo in the file's place reads as empty rather than being waited for.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            text = file.read(MAX_CERTIFICATE_SIZE + 1)
    except FileNotFoundError:
        raise CertificateRefused(f"{path}: no such certificate") from None
    except OSError as error:
        raise CertificateRefused(f"{path}: cannot be read: {error.strerror}") from error
    if len(text) > MAX_CERTIFICATE_SIZE:
        raise CertificateRefused(f"{path}: not a RemoteFS certificate: over {MAX_CERTIFICATE_SIZE} bytes")
    try:
        return decode_certificate(text.decode("ascii"))
    except UnicodeDecodeError:
        raise CertificateRefused(f"{path}: not a RemoteFS certificate: it is not plain text") from None
    except IdentityError as error:
        raise CertificateRefused(f"{path}: {error}") from error


def read_relay_key(path: Path) -> PublicKey:
    """The pinned transport key of the relay, from its certificate. Raises `CertificateRefused`."""
    return read_certificate(path).transport_key


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate file in one step, so that who reads it meanwhile sees the old one or the new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(encode_certificate(certificate), encoding="ascii")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CertificateRefused(f"{path}: cannot be written: {error.strerror}") from error


def pin(certificate: Certificate, directory: Path, *, replace: bool = False) -> Path:
    """Trust `certificate`: put it into `directory` under its id. The path that it has there.

    The same certificate again changes nothing. Raises `CertificateRefused` when another key is pinned for that id and
    `replace` is not set, and when what is pinned cannot be read.
    """
    path = directory / f"{certificate.id}{CERTIFICATE_SUFFIX}"
    if path.exists() and not replace:
        pinned = read_certificate(path)
        if pinned == certificate:
            return path
        raise CertificateRefused(
            f"{path}: another key is pinned for {certificate.id}: {pinned.fingerprint}, the new one is "
            f"{certificate.fingerprint}. Ask its owner which is right; --replace pins the new one"
        )
    write_certificate(path, certificate)
    return path
