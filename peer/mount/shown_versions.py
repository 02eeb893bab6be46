"""Which version of each file the kernel was shown last, in an answer about its attributes.

The one rule: what is not remembered was not shown. Who asks then expires what the kernel may hold, which costs a
notification and a question; the other mistake would have the kernel read a new file as far as the old one went.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from schema.attributes import FileMetadata, FileVersion
from schema.paths import RelativePath

_CAPACITY: Final = 16_384
"""Files that are remembered; the one shown first goes first."""


class ShownVersions:
    """Versions by path. Thread-safe."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity: Final = capacity
        self._lock: Final = threading.Lock()
        self._versions: Final[OrderedDict[RelativePath, tuple[int, FileVersion]]] = OrderedDict()

    def show(self, path: RelativePath, metadata: FileMetadata) -> None:
        """The kernel is told that `path` has `metadata`."""
        with self._lock:
            self._versions.pop(path, None)
            self._versions[path] = (metadata.volume, metadata.version)
            if len(self._versions) > self._capacity:
                self._versions.popitem(last=False)  # of a dict, the first is found past all that went before

    def is_shown(self, path: RelativePath, metadata: FileMetadata) -> bool:
        """Whether what the kernel was told last of `path` is of this version."""
        return self._versions.get(path) == (metadata.volume, metadata.version)
