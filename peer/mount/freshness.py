"""How fresh what is shown of a file is, for who wants to know: an extended attribute that no list of them names.

The one rule: it says "current" only of what would be answered here this moment on the word of the change feed; whatever
else may be known, it says "unknown", and why. It asks nobody.

As it is not listed, what copies files with their extended attributes (cp -a, rsync -X, tar --xattrs) leaves it alone.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from peer.mount.coherent_cache import CoherentCache
from peer.mount.knowledge import Standing
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import Done, XattrValue
from schema.requests import Caller, GetXattr, RemoveXattr, SetXattr

NAME: Final = b"user.remotefs.freshness"
_NANOSECONDS: Final = 1_000_000_000


class Clocks(NamedTuple):
    """Seconds of the clock by which the feed is heard, and seconds since the epoch, at one moment."""

    monotonic: float
    epoch: float


def describe(standing: Standing, cached_bytes: int | None, now: Clocks) -> str:
    """What is to be said of a file or directory of which `cached_bytes` are stored; None where nothing ever is."""
    parts = [_trust(standing, now)]
    metadata = standing.metadata
    if metadata is not None:
        parts.append(
            f"version inode={metadata.inode} size={metadata.size} "
            f"mtime={_seconds(metadata.mtime_ns)} ctime={_seconds(metadata.ctime_ns)}"
        )
        if stat.S_ISDIR(metadata.mode):
            parts.append(f"listing {'complete' if standing.listed else 'not cached'}")
        elif stat.S_ISREG(metadata.mode):
            parts.append(f"cached {cached_bytes or 0} of {metadata.size} bytes")
    return "; ".join(parts)


def _trust(standing: Standing, now: Clocks) -> str:
    if standing.heard_at is None:
        return "unknown, the change feed was never heard"
    if not standing.trusted:
        ago = max(now.monotonic - standing.heard_at, 0.0)
        since = datetime.fromtimestamp(now.epoch - ago, UTC)
        return f"unknown since {since:%Y-%m-%dT%H:%M:%SZ} ({ago:.0f} s ago)"
    if not standing.sure:
        return "unknown, to be asked for when it is used next"
    if not standing.covered:
        return "unknown, no change feed covers it"
    return f"current at {standing.moment.epoch:016x}/{standing.moment.number}"


def _seconds(nanoseconds: int) -> str:
    whole, part = divmod(nanoseconds, _NANOSECONDS)
    return f"{whole}.{part:09d}"


class ToldFreshness(Decorator):
    """A `FileSystem` whose files have the attribute. `now()` gives the time."""

    def __init__(
        self, inner: FileSystem, known: CoherentCache, contents: Contents | None, now: Callable[[], Clocks]
    ) -> None:
        super().__init__(inner)
        self._known: Final = known
        self._contents: Final = contents
        self._now: Final = now

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        """See `FileSystem`."""
        if request.name != NAME:
            return self.inner.get_xattr(request, caller)
        text = "unknown, the file has no name any more" if request.handle else self._describe(request.path)
        return XattrValue(text.encode())

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        """See `FileSystem`."""
        _refuse(request.name)
        return self.inner.set_xattr(request, caller)

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        """See `FileSystem`."""
        _refuse(request.name)
        return self.inner.remove_xattr(request, caller)

    def _describe(self, path: RelativePath) -> str:
        standing = self._known.standing(path)
        return describe(standing, self._cached_bytes(standing.metadata), self._now())

    def _cached_bytes(self, metadata: FileMetadata | None) -> int | None:
        if metadata is None or self._contents is None or not stat.S_ISREG(metadata.mode):
            return None
        return self._contents.cached_bytes(metadata.volume, metadata.version)


def _refuse(name: bytes) -> None:
    if name == NAME:
        raise OperationFailed("EPERM", "freshness can be asked for and not set")
