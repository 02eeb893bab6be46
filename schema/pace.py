"""How often something may be said: an answer to malformed frames, a log line about a refusal.

The one rule: what another machine can cause at will is said at most once an interval for each key, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

_MAX_KEYS: Final = 4096


class Pace:
    """Says yes once an interval (seconds) for each key."""

    def __init__(self, interval: float) -> None:
        self._interval: Final = interval
        self._last: dict[Hashable, float] = {}

    def allows(self, key: Hashable, now: float) -> bool:
        """May the thing that `key` names be said at `now`? Answering yes counts as saying it."""
        last = self._last.get(key)
        if last is not None and now - last < self._interval:
            return False
        if last is None and len(self._last) >= _MAX_KEYS:
            self._last = {key: at for key, at in self._last.items() if now - at < self._interval}
            if len(self._last) >= _MAX_KEYS:
                return False
        self._last[key] = now
        return True
