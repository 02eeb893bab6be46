"""Which quiet files the agent has opened for us, kept from one mount to the next.

The one rule: what is read back opens nothing by itself. It says of a version that the agent once opened it, and counts
only where the feed of this mount says that the file is of this version now.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from peer.certificates import OwnKeys
from peer.errors import KeptDataRefused
from peer.mount.kept_metadata.sealed_file import SealedFile
from peer.mount.quiet_files import ENTRIES, QuietFile, QuietFiles
from peer.session.primitives import KEY_SIZE
from schema.paths import RelativePath

_log: Final = logging.getLogger(__name__)

_MAGIC: Final = b"RFSopen1"
"""Its last byte is the version of the format."""
_PURPOSE: Final = b"remotefs-opens"
_NAME_SIZE: Final = 20
_RECORDS: Final = 2048
"""Records in a piece of the file."""
_MAX_PIECE: Final = 256 * 1024

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[QuietFile])


class KeptOpens:
    """Keeps what `quiet` remembers in `file`. Neither method raises; what goes wrong is logged."""

    def __init__(self, file: SealedFile, quiet: QuietFiles) -> None:
        self._file: Final = file
        self._quiet: Final = quiet

    def load(self) -> None:
        """Remember what was kept: all of it, or nothing of a file that is not as it was written."""
        self._guarded(self._load)

    def save(self) -> None:
        """Keep what is remembered now, for the next time."""
        self._guarded(self._save)

    def _load(self) -> None:
        records: list[QuietFile] = []
        for piece in self._file.read():
            records += _decoder.decode(piece)
            if len(records) > 2 * ENTRIES:
                raise KeptDataRefused("it holds more than was ever kept")
        self._quiet.restore(records)

    def _save(self) -> None:
        records = self._quiet.records()
        if records:
            starts = range(0, len(records), _RECORDS)
            self._file.write(_encoder.encode(records[start : start + _RECORDS]) for start in starts)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except FileNotFoundError:  # the first mount finds nothing
            _log.debug("nothing is kept in %s", self._file.path)
        except (OSError, KeptDataRefused, msgspec.DecodeError) as error:
            _log.info("which files were opened is not kept in %s: %s", self._file.path, error)


def opens_kept_in(directory: Path, keys: OwnKeys, agent_key: bytes, path: RelativePath, identity: str) -> SealedFile:
    """The file for mounts of `path` of an agent (its identity key) in which users are told apart as `identity` says."""
    secret = keys.secret_for(_PURPOSE)
    realm = b"/".join((agent_key, identity.encode(), *path))
    name = hashlib.blake2b(realm, key=secret, person=b"file name", digest_size=_NAME_SIZE).hexdigest()
    key = hashlib.blake2b(realm, key=secret, person=b"file key", digest_size=KEY_SIZE).digest()
    return SealedFile(directory / name, key, _MAGIC, _MAX_PIECE)
