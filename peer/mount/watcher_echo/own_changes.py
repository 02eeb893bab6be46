"""What was changed through this mount just now: the kernel has told watchers of it. Pure.

The one rule: news are taken for those of a change of our own only as long as they can be: where it is known what our
change left, so that a later one differs, they are if our own answer came after them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from schema.paths import RelativePath

UNSURE_SECONDS: Final = 0.5
"""Seconds in which news may be of our own change, where it is not known what that left."""
SURE_SECONDS: Final = 0.001
"""The same where it is known, but for news that come between our answer and what we learn from it."""
KNOWN_SECONDS: Final = 5.0
"""The same where it is known that nothing is other than our own change left it, if there was one."""
_REMEMBERED: Final = 8192


class OwnChanges:
    """Paths by the time, in seconds of one clock, at which a change of ours began or ended last."""

    def __init__(self) -> None:
        self._changed: Final[OrderedDict[RelativePath, float]] = OrderedDict()

    def add(self, path: RelativePath, now: float) -> None:
        """A change of `path` begins or ends."""
        self._changed.pop(path, None)
        self._changed[path] = now
        if len(self._changed) > _REMEMBERED:
            self._changed.popitem(last=False)

    def explain(self, paths: Iterable[RelativePath], told_at: float, *, within: float) -> bool:
        """Whether news of `paths` that came at `told_at` may be of a change of ours that ended `within` seconds."""
        since = told_at - within
        return any(self._changed.get(path, float("-inf")) >= since for path in paths)
