"""What hangs on a file's attributes in the metadata cache: a link's target and extended attributes. Pure.

The one rule: it is learnt only where it is no older than the attributes, and goes when they do; `Details` says when.
"""

from __future__ import annotations

from typing import Final

from peer.mount.metadata_facts import Facts
from peer.mount.metadata_node import change_time
from peer.mount.metadata_tree import Path

_XATTRS: Final = 8
"""Extended attributes of one file that are kept."""
_XATTR_BYTES: Final = 1024
"""Bytes of one value, or of all names of a file, that are kept."""


class FileDetails(Facts):
    """Targets and extended attributes. `now` and `trusted` are as of `Facts`."""

    def target(self, path: Path, now: float, *, trusted: bool) -> bytes | None:
        """The target of the symbolic link `path`, where it is sure."""
        node = self.sure_at(path, now, trusted=trusted)
        return node.more(self.generation).target if node is not None else None

    def xattr(self, path: Path, name: bytes, now: float, *, trusted: bool) -> tuple[bytes | None] | None:
        """The value of an extended attribute in a tuple of one, ``(None,)`` when it is absent; None when not sure."""
        node = self.sure_at(path, now, trusted=trusted)
        if node is None:
            return None
        known = node.more(self.generation)
        if known.xattrs is not None and name in known.xattrs:
            return (known.xattrs[name],)
        return (None,) if known.xattr_names is not None and name not in known.xattr_names else None

    def xattr_names(self, path: Path, now: float, *, trusted: bool) -> tuple[bytes, ...] | None:
        """The names of all extended attributes, where they are sure."""
        node = self.sure_at(path, now, trusted=trusted)
        return node.more(self.generation).xattr_names if node is not None else None

    def change_time(self, path: Path) -> bytes | None:
        """What tells the change time of the file `path` from every other one; None while it is not known."""
        node = self.tree.find(path)
        if node is None or not node.packed or node.generation != self.generation:
            return None
        return change_time(node.packed)

    # What is `settled` is proven to go with the change time of the attributes that are known.

    def keep_target(self, path: Path, target: bytes, as_of: int, *, settled: bool = False) -> None:
        """Learn a link's target."""
        node = self.older(path, as_of)
        if node is not None:
            details = node.more(self.generation)
            details.target = target
            details.settled = details.settled and settled

    def keep_xattr(self, path: Path, name: bytes, value: bytes | None, as_of: int, *, settled: bool = False) -> None:
        """Learn the value of an extended attribute, or that it is absent."""
        node = self.older(path, as_of)
        if node is None or len(value or b"") > _XATTR_BYTES:
            return
        details = node.more(self.generation)
        if len(details.xattrs or ()) < _XATTRS:
            details.xattrs = {**(details.xattrs or {}), name: value}
            details.settled = details.settled and settled

    def keep_xattr_names(self, path: Path, names: tuple[bytes, ...], as_of: int, *, settled: bool = False) -> None:
        """Learn the names of all extended attributes."""
        node = self.older(path, as_of)
        if node is not None and sum(map(len, names)) <= _XATTR_BYTES:
            details = node.more(self.generation)
            details.xattr_names = names
            details.settled = details.settled and settled
