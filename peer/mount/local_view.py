"""Attributes as this machine shows them: remote numbers, with owners and inode numbers made right for one mount.

The one rule: what the agent says is shown unchanged, but for an owner (see `identity_map`) and for the inode number of
a file on another volume than the root's, since one mount is one st_dev and two files must not share both numbers.
"""

from __future__ import annotations

import msgspec

from peer.mount.identity_map import IdentityMap
from schema.attributes import FileMetadata

_FOREIGN = 1 << 63
_MASK = _FOREIGN - 1
_ODD = 0x9E3779B97F4A7C15 & _MASK
"""Multiplying by an odd number is a permutation modulo 2**63: two inodes of one volume never meet."""


def shown_inode(inode: int, volume: int, root_volume: int) -> int:
    """The st_ino of a file, never 0: its own on the root's volume, else one with bit 63 set, mixed with the volume.

    File systems number below 2**63, so the two kinds do not meet; two foreign volumes meet with odds of 2**-63 a pair.
    """
    if volume == root_volume and inode != 0:
        return inode
    return _FOREIGN | ((inode * _ODD + volume * (_ODD ^ (_ODD >> 17) | 1)) & _MASK)


class LocalView:
    """The attributes that one mount shows."""

    def __init__(self, identity: IdentityMap, root_volume: int) -> None:
        self._identity = identity
        self._root_volume = root_volume

    def shown(self, metadata: FileMetadata, *, further_links: int = 0) -> FileMetadata:
        """`metadata` for stat(2) here, its link count raised by `further_links`."""
        uid, gid = self._identity.shown(metadata.uid, metadata.gid)
        if (
            uid == metadata.uid
            and gid == metadata.gid
            and metadata.volume == self._root_volume
            and metadata.inode != 0
            and not further_links
        ):
            return metadata
        return msgspec.structs.replace(
            metadata,
            uid=uid,
            gid=gid,
            inode=shown_inode(metadata.inode, metadata.volume, self._root_volume),
            links=metadata.links + further_links,
        )

    def inode(self, inode: int) -> int:
        """The st_ino of a directory entry of which no more is known: its volume is taken to be the root's."""
        return shown_inode(inode, self._root_volume, self._root_volume)
