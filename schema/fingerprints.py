"""Attributes in a few bytes: the form in which both ends compare what they know of a file.

The one rule: equal fingerprints under one salt mean equal attributes, but for the access time, of which nobody is told.
The salt is drawn anew for each question, so nobody can prepare two states of a file that look alike.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import Final

from schema.attributes import FileMetadata

SALT_SIZE: Final = 16
"""Bytes of a salt."""
CANONICAL: Final = struct.Struct(">QIIIIQQIQQqq")
"""inode, mode, links, uid, gid, size, blocks, block size, volume, device, mtime and ctime in nanoseconds."""

_LENGTH: Final = struct.Struct(">H")
_U32: Final = 2**32 - 1


def canonical(metadata: FileMetadata) -> bytes | None:
    """All attributes but the access time in 76 bytes; None for numbers that no file has."""
    m = metadata
    try:
        return CANONICAL.pack(
            m.inode, m.mode, min(m.links, _U32), m.uid, m.gid, m.size, m.blocks, min(m.block_size, _U32),
            m.volume, m.device, m.mtime_ns, m.ctime_ns,
        )  # fmt: skip
    except struct.error:
        return None


def fingerprint(canonical_bytes: bytes, salt: bytes) -> int:
    """64 bits of keyed BLAKE2b (RFC 7693) over what `canonical` gave."""
    return int.from_bytes(hashlib.blake2b(canonical_bytes, digest_size=8, key=salt).digest(), "big")


def fingerprint_of_all(names: Iterable[tuple[bytes, bytes]], salt: bytes) -> int:
    """The same over all names in a directory, in byte order, each with what `canonical` gave for it."""
    state = hashlib.blake2b(digest_size=8, key=salt)
    for name, canonical_bytes in names:
        state.update(_LENGTH.pack(len(name)) + name + canonical_bytes)
    return int.from_bytes(state.digest(), "big")
