"""What a file system says about its files, in the agent's own numbers.

The one rule: nothing is rounded or translated here. Inode numbers, nanoseconds and modes are those of the remote
machine; whoever shows them to a user decides how.
"""

from __future__ import annotations

import msgspec


class FileVersion(msgspec.Struct, frozen=True, array_like=True):
    """Identifies the content of a file: equal versions, equal bytes (but for mmap writes and clocks set back)."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class FileMetadata(msgspec.Struct, frozen=True, array_like=True):
    """What stat(2) says of a file.

    `volume` is st_dev, `device` st_rdev, `mode` holds the type bits too, `size` is in bytes and `blocks` in units
    of 512 bytes; times are in nanoseconds since the epoch and may be negative.
    """

    inode: int
    mode: int
    links: int
    uid: int
    gid: int
    size: int
    blocks: int
    block_size: int
    volume: int
    device: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int

    @property
    def version(self) -> FileVersion:
        """The version of the content that these attributes belong to."""
        return FileVersion(self.inode, self.size, self.mtime_ns, self.ctime_ns)


class VolumeStatistics(msgspec.Struct, frozen=True, array_like=True):
    """What statvfs(3) says: block counts in units of `fragment_size` bytes, numbers of inodes, longest name."""

    block_size: int
    fragment_size: int
    blocks: int
    blocks_free: int
    blocks_available: int
    files: int
    files_free: int
    files_available: int
    flags: int
    name_max: int
