"""What the kernel is told of the change feed: to forget what somebody else changed.

The one rule: the kernel is not told of what came from itself. It knows already, and a name that is taken from it while
a process works below would be lost to that process. What it is not told of expires by its timeouts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from peer.mount.coherent_cache import Applied
from schema.changes import Changed, Renamed
from schema.paths import RelativePath

OWN_SECONDS: Final = 5.0
"""Seconds after a change of ours in which news of its path are taken for its echo."""
_REMEMBERED: Final = 8192


class Kernel(Protocol):
    """See `KernelCache`."""

    def invalidate_file(self, path: RelativePath) -> bool: ...
    def invalidate_entry(self, parent: RelativePath, name: bytes) -> bool: ...


class KernelNews:
    """Thread-safe. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._own: Final[OrderedDict[RelativePath, float]] = OrderedDict()
        self._kernel: Kernel | None = None

    def begin(self, kernel: Kernel) -> None:
        """The mount is up."""
        self._kernel = kernel

    def own(self, path: RelativePath) -> None:
        """Something is done to `path` through this mount, or was just now."""
        with self._lock:
            self._own.pop(path, None)
            self._own[path] = self._clock() + OWN_SECONDS
            if len(self._own) > _REMEMBERED:
                self._own.popitem(last=False)

    def told(self, applied: Applied) -> None:
        """A change is in our own cache now."""
        kernel, change = self._kernel, applied.change
        if kernel is None or not applied.news:
            return
        if isinstance(change, Renamed):
            for path in (change.source, change.destination):
                self._forget_name(kernel, path)
        elif isinstance(change, Changed) and change.metadata is None:
            self._forget_name(kernel, change.path)
        elif isinstance(change, Changed) and not self._is_own(change.path):
            kernel.invalidate_file(change.path)

    def _forget_name(self, kernel: Kernel, path: RelativePath) -> None:
        if path and not self._is_own(path):
            kernel.invalidate_entry(path[:-1], path[-1])

    def _is_own(self, path: RelativePath) -> bool:
        with self._lock:
            return self._own.get(path, 0.0) > self._clock()
