"""Open files as the caching file system needs them: where each is now, which file it is, whether it was locked.

The one rule: a handle stands for one file. What is known at its path counts for it only while that is the same file,
and not once the file was locked: a lock is taken to see what its last holder left.
"""

from __future__ import annotations

import os
from typing import Final

from peer.mount.metadata_node import file_key_of
from peer.mount.path_table import PathTable
from schema.attributes import FileMetadata, FileVersion
from schema.paths import RelativePath
from schema.requests import CreateFile, OpenFile


class CachedHandles:
    """The open files of a mount. Thread-safe."""

    def __init__(self) -> None:
        self._paths: Final[PathTable[int]] = PathTable()
        self._files: Final[dict[int, tuple[int, int]]] = {}
        self._versions: Final[dict[int, FileVersion]] = {}
        self._locked: Final[set[int]] = set()
        self._unreadable: Final[set[int]] = set()

    def opened(self, handle: int, request: OpenFile | CreateFile, metadata: FileMetadata) -> None:
        """A file was opened as `request` says and has `metadata`."""
        self._files[handle] = (metadata.volume, metadata.inode)
        self._versions[handle] = metadata.version
        if request.flags & os.O_ACCMODE == os.O_WRONLY:
            self._unreadable.add(handle)
        self._paths.add(handle, request.path)

    def closed(self, handle: int) -> None:
        """`handle` is given back."""
        self._paths.discard(handle)
        self._files.pop(handle, None)
        self._versions.pop(handle, None)
        self._locked.discard(handle)
        self._unreadable.discard(handle)

    def locked(self, handle: int) -> None:
        """A lock is asked for; until it is closed, the file counts as locked."""
        self._locked.add(handle)

    def removed(self, path: RelativePath) -> None:
        """The name is gone."""
        self._paths.forget(path)

    def renamed(self, source: RelativePath, destination: RelativePath, *, exchanged: bool) -> None:
        """A name was renamed by us."""
        if exchanged:
            self._paths.exchange(source, destination)
        elif source != destination:
            self._paths.forget(destination)
            self._paths.move(source, destination)

    def path(self, handle: int) -> RelativePath | None:
        """Where the file is, as far as we have moved it; None when its name is gone."""
        return self._paths.path(handle)

    def is_locked(self, path: RelativePath) -> bool:
        """Whether `path` is open with a lock."""
        return bool(self._locked) and not self._locked.isdisjoint(self._paths.at(path))

    def at(self, path: RelativePath) -> frozenset[int]:
        """The handles whose file is at `path`."""
        return self._paths.at(path)

    def is_readable(self, handle: int) -> bool:
        """Whether it may be read by `handle`."""
        return handle not in self._unreadable

    def file(self, handle: int) -> tuple[int, int] | None:
        """The volume and inode number that `handle` stands for."""
        return self._files.get(handle)

    def files(self, handle: int) -> tuple[bytes, ...]:
        """That file, by its `file_key`, as the one that a change by this handle reaches."""
        file = self._files.get(handle)
        return () if file is None else (file_key_of(*file),)

    def version(self, handle: int) -> FileVersion | None:
        """The version that the file had when it was seen last; None once the handle was locked or closed."""
        return None if handle in self._locked else self._versions.get(handle)

    def seen(self, handle: int, version: FileVersion) -> None:
        """The file has this version."""
        if handle in self._versions:
            self._versions[handle] = version

    def is_file(self, handle: int, metadata: FileMetadata) -> bool:
        """Whether `metadata` is of the file that `handle` stands for."""
        return self._files.get(handle) == (metadata.volume, metadata.inode)
