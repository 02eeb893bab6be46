"""The remote machine's file system in the coherence model, and all that it ever was.

The one rule: a moment is a state; every change, if only of the bytes that a file holds, makes another one.
"""

from __future__ import annotations

import bisect
import itertools
import os
import stat
from collections.abc import Callable
from typing import Final

import msgspec

from peer.errors import OperationFailed
from peer.filesystem import perform
from schema.attributes import FileMetadata, FileVersion
from schema.requests import Caller, CloseFile, GetMetadata, GetXattr, OpenFile, ReadFile, SetMetadata, WriteFile
from tests.conformance.memory_filesystem import memory_filesystem

Path = tuple[bytes, ...]
Value = tuple[FileMetadata, bytes | None] | None
"""What is at a path: attributes without the access time, and the one extended attribute."""

NAMES: Final = (b"a", b"b")
PATHS: Final[tuple[Path, ...]] = ((), *((x,) for x in NAMES), *((x, y) for x in NAMES for y in NAMES))
XATTR: Final = b"user.x"
NOBODY: Final = Caller(0, 0)
_FIRST_INSTANT: Final = 10**18


class Machine:
    """Its `history` has for each moment what was at each path; `clock` is the world's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ticks = itertools.count(_FIRST_INSTANT)
        self._stopped: int | None = None
        """What the clock of the file system shows, in nanoseconds, while it stands still."""
        self._files = memory_filesystem(self._tick)
        self._texts: dict[FileVersion, bytes] = {}
        """What a file of each version held last."""
        self._held: list[dict[int, bytes]] = []
        """What the files held at each moment, by inode number."""
        self._nameless: dict[int, set[bytes]] = {}
        """What was written to files that had no name any more, or none among `PATHS`, by inode number."""
        self._times: list[float] = []
        """When each moment of the history was."""
        self.history: list[dict[Path, Value]] = []
        self._happened(self._snapshot())

    @property
    def now(self) -> int:
        """The present moment of the history."""
        return len(self.history) - 1

    def moment_at(self, then: float) -> int:
        """The moment of the history that was the present at the time `then`."""
        return max(bisect.bisect_right(self._times, then) - 1, 0)

    def explains(self, path: Path, value: Value, low: int, part: int) -> int | None:
        """The first moment from `low` on at which `path` was what the `part` of `value` says."""
        for moment in range(low, len(self.history)):
            was = self.history[moment].get(path)
            if was is None or value is None:
                if was is value:
                    return moment
            elif was[part] == value[part]:
                return moment
        return None

    def file_at(self, path: Path, moment: int) -> int | None:
        """The inode number of what was at `path` then."""
        value = self.history[moment].get(path)
        return None if value is None else value[0].inode

    def with_text(self) -> list[Path]:
        """The files in which there is something now."""
        return [path for path, was in self.history[-1].items() if was and stat.S_ISREG(was[0].mode) and was[0].size]

    def linked_at(self, path: Path, moment: int) -> bool:
        """Whether what was at `path` then had other names too."""
        return linked(self.history[moment].get(path))

    def texts(self, inode: int, low: int) -> set[bytes]:
        """What a file held at any moment from `low` on; what it held last and since, where it was gone by then."""
        found = self._nameless.get(inode, set()).copy()
        named = False
        for moment in range(self.now, -1, -1):
            if inode in self._held[moment]:
                found.add(self._held[moment][inode])
                named = True
            if moment <= low and named:
                break
        return found

    def _happened(self, state: dict[Path, Value]) -> None:
        self.history.append(state)
        self._times.append(self._clock())
        files = {was[0].version for was in state.values() if was and stat.S_ISREG(was[0].mode)}
        self._held.append({version.inode: self._texts[version] for version in files})

    def _tick(self) -> int:
        return next(self._ticks) if self._stopped is None else self._stopped

    def _metadata(self, path: Path) -> FileMetadata | None:
        value = self.history[-1].get(path)
        return value[0] if value is not None else None

    def _snapshot(self) -> dict[Path, Value]:
        found: dict[Path, Value] = {}
        for path in PATHS:
            try:
                metadata = perform(self._files, GetMetadata(path), NOBODY).metadata
            except OperationFailed:
                continue
            try:
                xattr = perform(self._files, GetXattr(path, name=XATTR), NOBODY).value
            except OperationFailed:
                xattr = None
            found[path] = (without_atime(metadata), xattr)
            if metadata.version not in self._texts and stat.S_ISREG(metadata.mode):
                self._texts[metadata.version] = self._text(path)
        return found

    def _text(self, path: Path) -> bytes:
        handle = perform(self._files, OpenFile(path, os.O_RDONLY), NOBODY).handle
        try:
            return self._read(handle)
        finally:
            perform(self._files, CloseFile(handle), NOBODY)

    def _read(self, handle: int) -> bytes:
        return bytes(perform(self._files, ReadFile(handle, 0, 1000), NOBODY).data)

    def _overwrite(self, handle: int, offset: int, data: bytes) -> None:
        """Bytes of an open file change, and nothing else of it."""
        there = perform(self._files, GetMetadata((), handle), NOBODY).metadata
        self._stopped = there.ctime_ns
        perform(self._files, WriteFile(handle, offset, memoryview(data)), NOBODY)
        perform(self._files, SetMetadata((), handle, mtime_ns=there.mtime_ns), NOBODY)
        self._stopped = None
        text = self._read(handle)
        if there.version in self._texts:
            self._texts[there.version] = text
        if any(was and was[0].inode == there.inode for was in self.history[-1].values()):
            self._happened(self.history[-1])
        else:
            self._nameless.setdefault(there.inode, set()).add(text)


def is_linked(metadata: FileMetadata) -> bool:
    """Whether it is a file that has several names."""
    return metadata.links > 1 and not stat.S_ISDIR(metadata.mode)


def linked(value: Value) -> bool:
    """Whether what is at a path is such a file."""
    return value is not None and is_linked(value[0])


def without_atime(metadata: FileMetadata) -> FileMetadata:
    """Reading moves it, and nobody is told."""
    return msgspec.structs.replace(metadata, atime_ns=0)
