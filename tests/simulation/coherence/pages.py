"""The page cache of a kernel, for files that are smaller than a page.

The one rule: it believes its pages for as long as the times and the size of the file are those that it was shown last,
and gives them only while it believes those. What it had asked for is not kept if it was told to forget it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from schema.attributes import FileMetadata, FileVersion
from tests.simulation.coherence.machine import Path


class _Page:
    """Of a file, by its inode number; `data` is None until it is there."""

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.data: bytes | None = None


class Pages:
    """By path: to the kernel, each is a file of its own."""

    def __init__(self) -> None:
        self._pages: dict[Path, _Page] = {}
        self._shown: dict[Path, FileVersion | None] = {}

    def show(self, path: Path, metadata: FileMetadata | None) -> None:
        """The kernel hears what `path` is."""
        version = None if metadata is None else metadata.version
        if self._shown.get(path) != version:
            self.forget(path)
            self._shown[path] = version

    def read(self, path: Path, inode: int) -> bytes | None:
        """What it holds of that file."""
        page = self._pages.get(path)
        return page.data if page is not None and page.inode == inode else None

    def ask(self, path: Path, inode: int) -> _Page | None:
        """It asks for what it does not hold."""
        if self.read(path, inode) is not None:
            return None
        self._pages[path] = _Page(inode)
        return self._pages[path]

    def keep(self, path: Path, asked: _Page | None, data: bytes) -> None:
        """That is the answer."""
        if asked is not None and self._pages.get(path) is asked:
            asked.data = data

    def paths(self) -> list[Path]:
        """Those of which it holds something, or has asked for it."""
        return list(self._pages)

    def forget(self, path: Path) -> None:
        """They are dropped."""
        self._pages.pop(path, None)

    def forget_below(self, path: Path) -> None:
        """They are dropped, and those of all files below that."""
        for below in [each for each in self._pages if each[: len(path)] == path]:
            self.forget(below)

    def moved(self, move: Callable[[dict[Path, object]], dict[Path, object]]) -> None:
        """Names were renamed, as `move` does it to whatever is kept by path."""
        self._pages, self._shown = move(self._pages), move(self._shown)
