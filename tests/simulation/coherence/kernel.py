"""A kernel that believes for ever whatever the feed vouches for, until it is told otherwise.

The one rule: it does by itself what Linux does by itself after an operation of its own (fs/fuse/dir.c), and nothing
more: what a rename moves it takes along, believed.
"""

from __future__ import annotations

from typing import Any

from peer.mount.path_table import moved_path
from schema.requests import AnyRequest, CreateLink, DeleteFile, RemoveDir, RenamePath, WriteFile
from tests.simulation.coherence.machine import Path, Value
from tests.simulation.coherence.pages import Pages

_EXCHANGE = 2
Table = dict[Path, Any]


class Kernel:
    """What it holds of names: attributes, or that there is nothing (None)."""

    def __init__(self) -> None:
        self.holds: dict[Path, Value] = {}
        self.pages = Pages()

    def forget(self, path: Path) -> None:
        """A notification."""
        self.holds.pop(path, None)

    def forget_everything(self) -> None:
        """All that it holds has expired."""
        self.holds.clear()

    def did(self, request: AnyRequest, path: Path) -> None:
        """An operation succeeded; `path` is what it was about."""
        if isinstance(request, RenamePath):
            self._rename(request.source, request.destination, exchange=bool(request.flags & _EXCHANGE))
        self._changed(path)
        if isinstance(request, WriteFile):
            self.pages.forget(path)
        if isinstance(request, CreateLink):
            self._changed(request.existing)
        if isinstance(request, DeleteFile | RemoveDir):
            for below in [each for each in self.holds if each[: len(path)] == path]:
                self.forget(below)
            self.pages.forget_below(path)

    def _rename(self, source: Path, destination: Path, *, exchange: bool) -> None:
        if source == destination:
            return

        def moved(table: Table) -> Table:
            after: Table = {}
            for path, value in table.items():
                there = moved_path(path, source, destination)
                back = moved_path(path, destination, source)
                if there is not None:
                    after[there] = value
                elif back is None:
                    after[path] = value
                elif exchange:
                    after[back] = value
            return after

        self.holds = moved(self.holds)
        self.pages.moved(moved)
        self._changed(source)
        self._changed(destination)

    def _changed(self, path: Path) -> None:
        """Attributes of the file and of its directory are asked for again."""
        self.forget(path)
        self.forget(path[:-1])
