"""A disk that does not do as it is told: full, read-only, broken.

The one rule: it costs the mount nothing but hits. Each kind of failure is logged once, and after one nothing is
written for a while.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from typing import Final

_log: Final = logging.getLogger(__name__)

PAUSE: Final = 60.0
"""Seconds without writing after a failure."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a full disk says, and a used-up quota."""
# Not the disk's state, but this one block's: beyond what the local file system can hold, or something else is there.
_OF_ONE_BLOCK: Final = frozenset({errno.EFBIG, errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class Outage:
    """Whether the disk under `directory` is to be left alone at the moment; `clock` in seconds. Safe in threads."""

    def __init__(self, directory: str, clock: Callable[[], float]) -> None:
        self._directory: Final = directory
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._since: float | None = None
        self._logged: Final[set[int | None]] = set()

    @property
    def lasts(self) -> bool:
        """Whether to write nothing for now. A clock that was set back ends the pause too."""
        since = self._since
        return since is not None and 0 <= self._clock() - since < PAUSE

    def begin(self, error: OSError) -> None:
        """Writing failed."""
        if error.errno not in _OF_ONE_BLOCK:
            self._since = self._clock()
        self.report(error)

    def report(self, error: OSError) -> None:
        """Log the failure, if it is the first of its kind."""
        with self._lock:
            first = error.errno not in self._logged
            self._logged.add(error.errno)
        if first:
            _log.warning(
                "the block store in %s goes on without what it cannot do (logged once): %s",
                self._directory,
                error.strerror or error,
            )
