"""The directories that the watcher looks into, by descriptor.

The one rule: looking leaves no trace. Access times stay as they are where the kernel lets us say so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping

from peer.agent.confined_root import ConfinedRoot

Path = tuple[bytes, ...]


@contextlib.contextmanager
def opened(root: ConfinedRoot, below: Path) -> Iterator[int]:
    """A directory, opened for reading so that its access time stays, where that is ours to say (open(2), O_NOATIME)."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
    try:
        descriptor = root.open(below, flags | os.O_NOATIME)
    except PermissionError:
        descriptor = root.open(below, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def names_in(descriptor: int) -> tuple[list[bytes], list[bytes]]:
    """The names in a directory: those of directories, and the others, apart."""
    names: list[bytes] = []
    directories: list[bytes] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                kind = directories if entry.is_dir(follow_symlinks=False) else names
                kind.append(os.fsencode(entry.name))
    return names, directories


def renew_removed(roots: Iterable[ConfinedRoot]) -> bool:
    """Have those of `roots` that were removed take over the directories that have their names now; whether some did."""
    some = False
    for root in roots:
        with contextlib.suppress(OSError):  # there is none yet
            some |= root.renew()
    return some


def outermost(roots: Mapping[Path, ConfinedRoot]) -> dict[Path, ConfinedRoot]:
    """Those of `roots` that are not reached through another."""
    found: dict[Path, ConfinedRoot] = {}
    for export in sorted(roots, key=len):
        above = next((known for known in found if export[: len(known)] == known), None)
        if above is None or not _same_directory(found[above], export[len(above) :], roots[export]):
            found[export] = roots[export]
    return dict(reversed(found.items()))


def _same_directory(root: ConfinedRoot, below: Path, inner: ConfinedRoot) -> bool:
    try:
        with root.object(below) as descriptor:
            return os.path.samestat(os.fstat(descriptor), os.fstat(inner.descriptor))
    except OSError:
        return False
