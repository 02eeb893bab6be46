"""What a change that was made through this mount did, as far as its answer tells. Pure.

The one rule: what the answer does not tell is doubted; nothing is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from peer.mount.metadata_node import file_key, file_key_of, may_have_several_names, pack
from schema.attributes import FileMetadata
from schema.replies import Metadata, OpenedFile

Path = tuple[bytes, ...]


class Effects(NamedTuple):
    """`facts` are what it was answered with, `doubted` what else it touched.

    Below `gone` everything is another file or none. `by_handle` are attributes of a file that was reached by its
    handle, and the path that this had here; it may have another one by now. `files` are those that were reached, by
    their `file_key`, whatever names they have. `made` is a new and empty directory. With `failed`, all this may have
    happened or not.
    """

    facts: Sequence[tuple[Path, FileMetadata]] = ()
    doubted: Sequence[Path] = ()
    gone: Sequence[Path] = ()
    absent: Path | None = None
    by_handle: tuple[Path, FileMetadata] | None = None
    files: Sequence[bytes] = ()
    made: Path | None = None
    linked: bool = False
    failed: bool = False

    @property
    def moved(self) -> bool:
        """Whether one name was moved to another, or both were exchanged."""
        return len(self.gone) > 1

    @property
    def touched(self) -> tuple[tuple[Path, bool], ...]:
        """All paths that are concerned, each with whether all that is below it is meant too."""
        touched = [(path, False) for path, _ in self.facts] + [(path, False) for path in self.doubted]
        touched += [(path, True) for path in self.gone]
        if self.absent is not None:
            touched.append((self.absent, True))
        if self.by_handle is not None:
            touched.append((self.by_handle[0], False))
        return tuple(touched)

    def reached(self, known: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """The files that were reached, each with what it is now, if that was told; `known` are those found by name."""
        files: dict[bytes, bytes | None] = dict.fromkeys((*known, *self.files))
        told = [metadata for _, metadata in self.facts]
        told += [] if self.by_handle is None else [self.by_handle[1]]
        files.update(
            {file_key(packed): packed for packed in map(pack, told) if packed and may_have_several_names(packed)}
        )
        files.pop(b"", None)
        return files


def made_at(path: Path) -> Effects:
    """What making the name `path` may do."""
    return Effects(doubted=(path, path[:-1]))


def fact_at(path: Path) -> Callable[[Metadata | OpenedFile], Effects]:
    """The effects of a change that was answered with the attributes of `path`."""

    def told(reply: Metadata | OpenedFile) -> Effects:
        facts = ((path, reply.metadata),)
        return Effects(facts=facts, doubted=(path[:-1],) if path else (), linked=reply.metadata.links > 1)

    return told


def reaching(effects: Effects) -> Callable[[Metadata], Effects]:
    """`effects`, which reached the file that the answer is of."""
    return lambda reply: effects._replace(files=(file_key_of(reply.metadata.volume, reply.metadata.inode),))
