"""When something was last done through this mount to a directory or to what is in it.

The one rule: what is not remembered counts as done at the latest moment that was forgotten.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from schema.paths import RelativePath

_CAPACITY: Final = 4096
"""Directories that are remembered; the one that was touched longest ago goes first."""


class TouchedDirectories:
    """`clock` gives monotonic seconds. All methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._at: Final[OrderedDict[RelativePath, float]] = OrderedDict()
        self._forgotten_at = -1.0

    def touched(self, path: RelativePath) -> None:
        """Something is being done, or was just done, to what is at `path`."""
        with self._lock:
            self._at.pop(path[:-1], None)
            self._at[path[:-1]] = self._clock()
            if len(self._at) > _CAPACITY:
                self._forgotten_at = self._at.popitem(last=False)[1]

    def since(self, directory: RelativePath, moment: float) -> bool:
        """Whether something was done at or after `moment`."""
        return self._at.get(directory, self._forgotten_at) >= moment
