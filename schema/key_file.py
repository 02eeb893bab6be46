"""The file that holds a program's secret keys, and who may read it.

TOML: ``version = 1``, ``id``, ``transport_secret`` and, for a peer, ``identity_secret``; each secret is the base64 of
32 bytes. The broker and the peers read the same form, so it is agreed on here.

The one rule: a secret leaves its file only into a `Secrets`, which never shows it; no error and no log line quotes the
file, and a file that anyone but its owner may touch is refused.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from schema.identity import IdentityError, PeerId, decode_key, encode_key, peer_id

_MAX_SIZE: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(ValueError):
    """A key file that is missing, exposed, or not of its form; the message names it and what to do, and no secret."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secret half of a program's keys: 32 raw bytes each. A broker has no identity secret."""

    id: PeerId
    transport_secret: bytes = field(repr=False)
    identity_secret: bytes | None = field(default=None, repr=False)


class _KeyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    id: str
    transport_secret: str
    identity_secret: str = ""

    def __repr__(self) -> str:
        return f"_KeyText({self.id!r})"


def encode_key_file(secrets: Secrets) -> str:
    """The text of a key file. It is secret: see `write_key_file`."""
    lines = [
        f"# RemoteFS secret keys of {secrets.id}: never copy or show this file.",
        "version = 1",
        f'id = "{secrets.id}"',
        f'transport_secret = "{encode_key(secrets.transport_secret)}"',
    ]
    if secrets.identity_secret is not None:
        lines.append(f'identity_secret = "{encode_key(secrets.identity_secret)}"')
    return "\n".join(lines) + "\n"


def write_key_file(path: Path, secrets: Secrets) -> None:
    """Make the key file `path`, mode 0600 from its first moment. Raises `KeyFileError`; never replaces a file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path}: there is a key file already, and a key is never overwritten") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            # The umask may have taken the owner's own rights from the mode given above.
            os.fchmod(file.fileno(), 0o600)
            file.write(encode_key_file(secrets))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


def read_key_file(path: Path) -> Secrets:
    """Read a key file of this user. Raises `KeyFileError`."""
    text = _read_private(path)
    try:
        raw = msgspec.toml.decode(text, type=_KeyText)
    except (msgspec.DecodeError, ValueError):
        # The decoder's own message may quote a line of the file, and so a secret: it goes no further.
        raise KeyFileError(
            f"{path}: not a RemoteFS key file: that has version = 1, id, transport_secret (make one: remotefs keygen)"
        ) from None
    if raw.version != 1:
        raise KeyFileError(f"{path}: key file version {raw.version} is not known here: this program reads version 1")
    try:
        return Secrets(
            id=peer_id(raw.id),
            transport_secret=decode_key(raw.transport_secret),
            identity_secret=decode_key(raw.identity_secret) if raw.identity_secret else None,
        )
    except IdentityError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _read_private(path: Path) -> str:
    try:
        # O_NONBLOCK: a fifo in the file's place is refused below rather than waited for.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            _check_private(path, os.fstat(file.fileno()))
            return file.read(_MAX_SIZE).decode("ascii")
    except FileNotFoundError:
        raise KeyFileError(f"{path}: no such key file (make one: remotefs keygen)") from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: not a RemoteFS key file: it is not plain text") from None


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise KeyFileError(
            f"{path}: belongs to user {status.st_uid}, but this program runs as {os.geteuid()}, so it is refused: "
            f"chown {os.geteuid()} {path}"
        )
    if status.st_mode & _OTHERS:
        raise KeyFileError(
            f"{path}: others may use this key (mode {stat.S_IMODE(status.st_mode):04o}), so it is refused: "
            f"chmod 600 {path}"
        )
