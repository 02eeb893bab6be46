"""The directories below the exports as the watcher knows them: which are watched, and what they are called now. Pure.

The one rule: what is called watched has its watch, and so has every directory above it up to its export. So whatever
happens to a name, its directory or one above is told.

Changed by the watcher's thread alone; other threads only ask for `coverage`, which a change under way can at most make
too cautious: a directory is entered under its new name after it has left the old one.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from schema.attributes import FileMetadata

Path = tuple[bytes, ...]


class Coverage(NamedTuple):
    """What is told of a path: changes of its name and of a file there, of a directory there, of all names in that."""

    name: bool
    directory: bool
    listing: bool

    def holds(self, metadata: FileMetadata | None) -> bool:
        """Whether a change of these attributes would be told; None: of there being nothing.

        Not so for a file with several links, if it changes through one that is out of sight.
        """
        return self.name and (self.directory or metadata is None or not stat.S_ISDIR(metadata.mode))


NOT_COVERED: Final = Coverage(name=False, directory=False, listing=False)


_NOWHERE: Final = (None, None)


class Directory:
    """One directory: its name in `parent`, its device and inode number, its watch (0: none).

    `unwatched` counts the directories in it without a watch.
    """

    __slots__ = ("children", "identity", "name", "parent", "unwatched", "watch")

    def __init__(self, parent: Directory | None, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[bytes, Directory] | None = None
        self.watch = 0
        self.identity = (0, 0)
        self.unwatched = 0

    def with_below(self) -> Iterator[Directory]:
        """This directory and all known below it, those above first."""
        pending = [self]
        while pending:
            directory = pending.pop()
            yield directory
            if directory.children:
                pending.extend(directory.children.values())


class WatchedTree:
    """All directories below `exports`, absolute paths; the first of them that covers a path is the one it is in."""

    def __init__(self, exports: tuple[Path, ...]) -> None:
        self.exports: Final = {export: Directory(None, b"") for export in exports}
        self._paths: Final = {id(root): export for export, root in self.exports.items()}
        self._by_watch: Final[dict[int, Directory]] = {}

    def __len__(self) -> int:
        """Directories that are watched."""
        return len(self._by_watch)

    def watched(self, watch: int) -> Directory | None:
        """The directory that a watch is on."""
        return self._by_watch.get(watch)

    def path(self, directory: Directory) -> Path:
        """What `directory` is called now."""
        names = []
        while directory.parent is not None:
            names.append(directory.name)
            directory = directory.parent
        return self._paths[id(directory)] + tuple(reversed(names))

    def export_of(self, directory: Directory) -> tuple[Path, Path]:
        """The export of `directory`, and its path below that."""
        path = self.path(directory)
        while directory.parent is not None:
            directory = directory.parent
        export = self._paths[id(directory)]
        return export, path[len(export) :]

    def child(self, parent: Directory, name: bytes) -> Directory | None:
        """The directory known as `name` in `parent`."""
        return parent.children.get(name) if parent.children else None

    def enter(self, parent: Directory, name: bytes) -> Directory:
        """A directory that is not known yet; nothing else may be called that."""
        directory = Directory(parent, name)
        parent.unwatched += 1
        self._hang(directory, parent, name)
        return directory

    def set_watch(self, directory: Directory, watch: int) -> None:
        """`directory` has its watch, and all directories in it are entered; no other directory may have that watch."""
        self._by_watch[watch] = directory
        directory.watch = watch
        if directory.parent is not None:
            directory.parent.unwatched -= 1

    def lost_watch(self, watch: int) -> None:
        """The kernel took a watch away."""
        directory = self._by_watch.pop(watch, None)
        if directory is not None:
            directory.watch = 0
            if directory.parent is not None:
                directory.parent.unwatched += 1

    def drop(self, directory: Directory) -> list[int]:
        """Forget `directory` and all below it: their watches, to be given back. An export stays, without a watch."""
        watches = []
        for each in directory.with_below():
            if each.watch:
                watches.append(each.watch)
                del self._by_watch[each.watch]
                each.watch = 0
            elif each is directory and directory.parent is not None:
                directory.parent.unwatched -= 1
        directory.children = None
        directory.unwatched = 0
        if directory.parent is not None and directory.parent.children is not None:
            del directory.parent.children[directory.name]
            directory.parent = None
        return watches

    def move(self, directory: Directory, parent: Directory, name: bytes) -> None:
        """`directory`, with all below it, is called `name` in `parent` now; nothing may be called that yet."""
        before = directory.parent
        if before is None or before.children is None:
            raise ValueError("an export stays where it is")
        if not directory.watch:
            before.unwatched -= 1
            parent.unwatched += 1
        del before.children[directory.name]
        self._hang(directory, parent, name)

    def knows(self, directory: Directory) -> bool:
        """Whether `directory` still belongs to an export: it was not dropped, nor was one above it."""
        while directory.parent is not None:
            directory = directory.parent
        return id(directory) in self._paths

    def _hang(self, directory: Directory, parent: Directory, name: bytes) -> None:
        directory.parent, directory.name = parent, name
        if parent.children is None:
            parent.children = {}
        parent.children[name] = directory

    def coverage(self, path: Path) -> Coverage:
        """What of `path` is under watch. From any thread."""
        parent, directory = self._at(path)
        watched = directory is not None and directory.watch != 0
        return Coverage(
            name=watched if parent is None else parent.watch != 0,
            directory=watched,
            listing=watched and directory is not None and not directory.unwatched,
        )

    def listed(self, path: Path) -> tuple[int, int] | None:
        """The directory at `path`, if all is told of it and of the names in it. From any thread."""
        _, directory = self._at(path)
        return directory.identity if directory is not None and directory.watch and not directory.unwatched else None

    def _at(self, path: Path) -> tuple[Directory | None, Directory | None]:
        """Where the name `path` is, and the directory that it names; nothing where somebody above has no watch."""
        for export in self.exports:
            if path[: len(export)] == export:
                break
        else:
            return _NOWHERE
        parent: Directory | None = None
        directory: Directory | None = self.exports[export]
        for name in path[len(export) :]:
            if directory is None or not directory.watch:
                return _NOWHERE
            parent, directory = directory, directory.children.get(name) if directory.children else None
        return parent, directory
