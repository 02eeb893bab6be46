"""Attributes to test with."""

from __future__ import annotations

from typing import Any

import msgspec

from schema.attributes import FileMetadata

FILE = FileMetadata(
    inode=11, mode=0o100644, links=1, uid=1, gid=2, size=3, blocks=8, block_size=4096, volume=5, device=0,
    atime_ns=6, mtime_ns=7, ctime_ns=8,
)  # fmt: skip


def metadata(**changes: Any) -> FileMetadata:
    """A plain file's attributes, with `changes`."""
    return msgspec.structs.replace(FILE, **changes)
