"""What one of our own changes leaves in the metadata cache. Pure.

The one rule: what its answer tells is kept where it was judged to be of now, and whatever else it touched is doubted,
under every name of the files that it reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from peer.mount.effects import Effects
from peer.mount.metadata_cache import MetadataCache
from peer.mount.metadata_node import UNKNOWN
from peer.mount.metadata_tree import Path
from schema.attributes import FileMetadata


class Settlement:
    """Of a change before whose answer the feed had reached the number `before`.

    `now` and `trusted` are as for the cache.
    """

    def __init__(self, cache: MetadataCache, before: int, now: float, *, trusted: bool) -> None:
        self._cache: Final = cache
        self._before: Final = before
        self._now: Final = now
        self._trusted: Final = trusted

    def settle(self, effects: Effects, files: Mapping[bytes, bytes | None], numbers: Mapping[Path, int | None]) -> None:
        """`files` that were reached are what they map to now, as far as that is known.

        `numbers` has for paths of `effects` what their attributes may be kept as of; None: not at all.
        """
        cache, before = self._cache, self._before
        for path in effects.gone:
            cache.forget(path, before)
        for file, packed in files.items():
            cache.doubt_file(file, packed, before)
        heard = UNKNOWN
        for path, metadata in effects.facts:
            heard = max(heard, self._settle(path, metadata, numbers[path]))
        for path in effects.doubted:
            # What the feed says of it after our own echo was looked at after our change.
            if heard == UNKNOWN or cache.as_of(path) <= heard:
                cache.doubt(path, before)
        if effects.absent is not None:
            self._settle_removed(effects.absent, numbers[effects.absent])
        if effects.by_handle is not None:
            self._settle(*effects.by_handle, None)
        made = effects.made
        if made is not None and (number := numbers.get(made)) is not None and number != UNKNOWN:
            cache.keep_listing(made, (), number, self._now)
        if effects.linked:
            cache.doubt_linked(self._now, before)

    def _echo(self, path: Path, metadata: FileMetadata) -> int:
        """The number as of which we know already that `path` is as our change left it, UNKNOWN if we do not."""
        known = self._cache.metadata(path, self._now, trusted=self._trusted)
        if known is None or known.suspect or known.metadata is None:
            return UNKNOWN
        same = msgspec.structs.replace(known.metadata, atime_ns=metadata.atime_ns) == metadata
        return self._cache.as_of(path) if same else UNKNOWN

    def _settle(self, path: Path, metadata: FileMetadata, number: int | None) -> int:
        """Learn what our change left at `path`, as of `number`, or know nothing of it. Gives what `_echo` does."""
        echo = self._echo(path, metadata)
        if number is not None:
            self._cache.doubt(path, self._before)
            self._cache.keep(path, metadata, number, self._now)
        elif echo == UNKNOWN:
            self._cache.doubt(path, self._before)
        return echo

    def _settle_removed(self, path: Path, number: int | None) -> None:
        self._cache.doubt(path, self._before)
        if number is not None and number != UNKNOWN:
            self._cache.keep(path, None, number, self._now)
