"""A file on this machine that only its owner can read or have made, written and read in pieces.

    file  = [magic, 8 bytes][salt, 24 bytes] piece ...
    piece = [length u32 big-endian][ChaCha20-Poly1305 of the content (RFC 8439), `length` bytes]

The one rule: what `read` gives is all that one `write` was given, in its order, or it raises. The key of a file comes
from the secret and a salt drawn for it, a piece's nonce is its number, and whether it is the last one is authenticated
with it: so a piece that was altered, moved, left out or brought from elsewhere does not open, and a file that was cut
does not end. (This is the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015.)

An older file of the same name that is put back does open. What is read is true of its time, and must be taken so.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from peer.errors import AuthenticationFailed, KeptDataRefused
from peer.session.primitives import KEY_SIZE, TAG_SIZE, decrypt, encrypt

SALT_SIZE: Final = 24
"""Random bytes that make the key of a file; so many never come twice."""
_LENGTH: Final = struct.Struct(">I")
_MORE, _LAST = b"\0", b"\1"
_READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class SealedFile:
    """The file `path`, sealed with `secret` (`KEY_SIZE` bytes); `magic` (8 bytes) says what is in it.

    No piece is longer than `max_piece` bytes.
    """

    def __init__(self, path: Path, secret: bytes, magic: bytes, max_piece: int) -> None:
        self.path: Final = path
        self._secret: Final = secret
        self._magic: Final = magic
        self._max_piece: Final = max_piece

    def write(self, pieces: Iterable[bytes], *, random: Callable[[int], bytes] = os.urandom) -> None:
        """Put `pieces` in place of what is there, in one step that lasts: after a crash it is the old or the new.

        Raises `OSError`, and then the old one is there still.
        """
        self.path.parent.mkdir(0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        try:
            with open(os.open(draft, _WRITE_FLAGS, 0o600), "wb") as file:
                self._write(file, pieces, random(SALT_SIZE))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_directory(self.path.parent)

    def read(self) -> Iterator[bytearray]:
        """The pieces. Raises `KeptDataRefused` at the first one that is not as it was written, `OSError`."""
        with open(os.open(self.path, _READ_FLAGS), "rb") as file:
            head = file.read(len(self._magic) + SALT_SIZE)
            if not head.startswith(self._magic) or len(head) != len(self._magic) + SALT_SIZE:
                raise KeptDataRefused("it is not a file of this kind and version")
            key = self._key(head[len(self._magic) :])
            number = 0
            following = self._sealed(file)
            while following is not None:
                sealed, following = following, self._sealed(file)
                try:
                    yield decrypt(key, number, _MORE if following is not None else _LAST, sealed)
                except AuthenticationFailed as error:
                    raise KeptDataRefused("it is torn, was tampered with, or is somebody else's") from error
                number += 1
            if not number:
                raise KeptDataRefused("it is torn")

    def drop_drafts(self, before: float) -> None:
        """Remove what writers that were killed left, last changed before the time `before` (seconds since the epoch).

        Raises `OSError`.
        """
        for draft in self.path.parent.glob(f"{self.path.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if draft.lstat().st_mtime < before:
                    draft.unlink()

    def _write(self, file: BinaryIO, pieces: Iterable[bytes], salt: bytes) -> None:
        file.write(self._magic + salt)
        key = self._key(salt)
        number = 0
        waiting = b""
        for piece in pieces:
            if number:
                self._put(file, encrypt(key, number - 1, _MORE, waiting))
            waiting = piece
            number += 1
        self._put(file, encrypt(key, max(number - 1, 0), _LAST, waiting))

    def _put(self, file: BinaryIO, sealed: bytearray) -> None:
        file.write(_LENGTH.pack(len(sealed)))
        file.write(sealed)

    def _sealed(self, file: BinaryIO) -> bytes | None:
        """The next piece as it is in the file, None at its end."""
        head = file.read(_LENGTH.size)
        if not head:
            return None
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not TAG_SIZE <= length <= self._max_piece + TAG_SIZE:
            raise KeptDataRefused("it is torn")
        sealed = file.read(length)
        if len(sealed) != length:
            raise KeptDataRefused("it is torn")
        return sealed

    def _key(self, salt: bytes) -> bytes:
        return hashlib.blake2b(salt, key=self._secret, person=self._magic, digest_size=KEY_SIZE).digest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
