"""Paths whose directories clients have just made, removed or renamed. Thread-safe.

Until the watcher has read of it, its tree has a directory there that may not be the one that clients reach.

The one rule: a doubt ends only when all that was told by inotify before it was raised has been read.
"""

from __future__ import annotations

import threading
from typing import Final

Path = tuple[bytes, ...]


class Doubts:
    """Numbered as they are raised."""

    def __init__(self) -> None:
        self.raised = 0
        """The number of the last one."""
        self._paths: Final[dict[Path, int]] = {}
        self._lock: Final = threading.Lock()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._paths)

    def raise_for(self, *paths: Path) -> None:
        """Doubt what is at and below each of `paths`."""
        with self._lock:
            self.raised += 1
            self._paths.update(dict.fromkeys(paths, self.raised))

    def concern(self, path: Path) -> bool:
        """Whether `path`, or a directory above it, is doubted."""
        return bool(self._paths) and any(path[:depth] in self._paths for depth in range(len(path) + 1))

    def settle(self, number: int) -> None:
        """What was raised up to `number` has been read of."""
        if self._paths:
            with self._lock:
                for path in [path for path, raised in self._paths.items() if raised <= number]:
                    del self._paths[path]
