"""Directories whose names the kernel holds with their attributes, so that they are listed to it by name only.

The one rule: it is a guess, and a wrong one costs time only: of a name without attributes the kernel asks when somebody
needs them. That it asks at all is the sign that it does not hold the directory any more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from schema.paths import RelativePath

_CAPACITY: Final = 4096
"""Directories that are remembered; the one listed longest ago goes first."""


class HeldListings:
    """`clock` gives monotonic seconds. All methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._until: Final[OrderedDict[RelativePath, float]] = OrderedDict()
        self._seconds = 0.0
        self._changed_at = clock()

    def believed(self, seconds: float) -> None:
        """From now on the kernel believes what it is told for so long."""
        self._seconds, self._changed_at = seconds, self._clock()

    def gave(self, directory: RelativePath, began: float) -> None:
        """The kernel was told all names in `directory` with their attributes, the first of them after `began`."""
        now, half = self._clock(), self._seconds / 2
        if began <= self._changed_at or now - began >= half:
            return
        with self._lock:
            self._until.pop(directory, None)
            # Half the time is left then to those who look at what they list.
            self._until[directory] = began + half
            if len(self._until) > _CAPACITY:
                self._until.popitem(last=False)

    def asked(self, directory: RelativePath) -> None:
        """The kernel asked about a name in `directory`, or was told to."""
        if directory in self._until:
            with self._lock:
                self._until.pop(directory, None)

    def holds(self, directory: RelativePath) -> bool:
        """Whether the kernel holds the attributes of all names in `directory`, as far as can be told."""
        return self._until.get(directory, 0.0) > self._clock()
