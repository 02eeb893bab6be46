"""Names of files that have several, as far as this mount has seen them.

libfuse's high-level interface gives each path an inode of its own in the kernel, so a hard-linked file is cached once
a name, and a change through one name leaves the other names' attributes as they were. This table says which they are.

The one rule: it is a hint. A name too many costs a notification that finds nothing; one that is missing costs what the
kernel's timeouts cost.
"""

from __future__ import annotations

import dataclasses
import stat
import threading
from typing import Final

from peer.mount.path_table import moved_path
from schema.attributes import FileMetadata
from schema.paths import RelativePath

_CAPACITY: Final = 65_536
"""Names that are remembered; the oldest goes first."""

FileKey = tuple[int, int]
"""Volume and inode number."""


@dataclasses.dataclass(slots=True)
class Alias:
    """One name of a file, and the kernel's number for the inode that it made of it, where known."""

    path: RelativePath
    file: FileKey
    node: int | None = None


class Aliases:
    """The names of hard-linked files. All methods may be called from any thread."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._names: dict[RelativePath, Alias] = {}
        self._files: dict[FileKey, dict[RelativePath, Alias]] = {}

    def observe(self, path: RelativePath, metadata: FileMetadata) -> Alias | None:
        """`path` was seen to be a file with `metadata`. Gives the alias back when it is a new one."""
        file = (metadata.volume, metadata.inode)
        # The last name of a file has company as long as a removed one is open.
        several = (metadata.links > 1 or file in self._files) and not stat.S_ISDIR(metadata.mode)
        known = self._names.get(path)
        if not several and known is None:
            return None
        if several and known is not None and known.file == file:
            return None
        with self._lock:
            self._drop(path)
            if not several:
                return None
            if len(self._names) >= self._capacity:
                self._drop(next(iter(self._names)))
            return self._enter(Alias(path, file))

    def others(self, file: FileKey, path: RelativePath | None) -> tuple[Alias, ...]:
        """The names of `file` but for `path`."""
        if file not in self._files:
            return ()
        with self._lock:
            return tuple(alias for name, alias in self._files.get(file, {}).items() if name != path)

    def remove(self, path: RelativePath) -> tuple[Alias, ...]:
        """`path` was removed: the other names of the file that it was."""
        if path not in self._names:
            return ()
        with self._lock:
            gone = self._drop(path)
            return () if gone is None else tuple(self._files.get(gone.file, {}).values())

    def move(self, source: RelativePath, destination: RelativePath) -> None:
        """`source` was renamed to `destination`, with all that is below it."""
        if not self._names:
            return
        with self._lock:
            moved = [
                (alias, now) for path, alias in self._names.items() if (now := moved_path(path, source, destination))
            ]
            for alias, _ in moved:
                self._drop(alias.path)
            for alias, now in moved:
                self._drop(now)
                self._enter(Alias(now, alias.file, alias.node))

    def file_at(self, path: RelativePath) -> FileKey | None:
        """The file that `path` was last seen to name, if it has several names."""
        alias = self._names.get(path)
        return None if alias is None else alias.file

    def _enter(self, alias: Alias) -> Alias:
        self._names[alias.path] = alias
        self._files.setdefault(alias.file, {})[alias.path] = alias
        return alias

    def _drop(self, path: RelativePath) -> Alias | None:
        alias = self._names.pop(path, None)
        if alias is not None:
            names = self._files[alias.file]
            del names[path]
            if not names:
                del self._files[alias.file]
        return alias
