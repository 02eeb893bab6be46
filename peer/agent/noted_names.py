"""Names that events were about, gathered until they are told together. Pure.

The one rule: a name is told once for all that happened to it, before anything that happened to other names after it and
depends on it.
"""

from __future__ import annotations

from typing import Final

from peer.agent.change_listener import ChangeListener, Path


class NotedNames:
    """In the order of their first event, for `told`."""

    def __init__(self, told: ChangeListener) -> None:
        self._told: Final = told
        self._paths: Final[dict[Path, None]] = {}
        self._left: Final[set[Path]] = set()
        self._written: Final[set[Path]] = set()

    def add(self, path: Path, *, left: bool = False, written: bool = False) -> None:
        """Something happened to `path`: a directory went away from there, or what is there was written to, or else."""
        self._paths[path] = None
        if left:
            self._left.add(path)
        if written:
            self._written.add(path)

    def tell(self) -> None:
        """Tell what was gathered so far."""
        if self._paths:
            self._told.changed(*self._paths, left=frozenset(self._left), written=frozenset(self._written))
        for gathered in (self._paths, self._left, self._written):
            gathered.clear()
