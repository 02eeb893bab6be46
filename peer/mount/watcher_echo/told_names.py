"""Which names watchers know to be there: the cache does not remember what nobody has looked at. Pure.

The one rule: it is asked about every echo, in order, and remembers a bounded number of names.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from typing import Final

from peer.mount.watcher_echo.echoes import Call, Echo
from schema.paths import RelativePath

_REMEMBERED: Final = 8192


class ToldNames:
    """Names by the inode number of the file that watchers were told to be there."""

    def __init__(self) -> None:
        self._inodes: Final[OrderedDict[RelativePath, int]] = OrderedDict()

    def news(self, echo: Echo) -> Echo | None:
        """`echo`, or what is new of it where watchers know that the file which it makes is there; None: nothing."""
        if echo.source is not None:
            self._inodes.pop(echo.source, None)
        known = self._inodes.pop(echo.path, None)
        if echo.now is None or echo.call is Call.REMOVE:
            return echo
        self._inodes[echo.path] = echo.now.inode
        if len(self._inodes) > _REMEMBERED:
            self._inodes.popitem(last=False)
        if echo.call is not Call.MAKE or known != echo.now.inode:
            return echo
        return echo._replace(call=Call.WRITE) if stat.S_ISREG(echo.now.mode) else None

    def forget(self, path: RelativePath) -> None:
        """Watchers were not told of `path` after all."""
        self._inodes.pop(path, None)
