"""One name in the metadata cache: what is known of the file that it names, and since when. Pure.

The one rule: a fact carries the number of the feed that it is as of, so that a change is applied to older facts only.
What hangs on the attributes (`Details`) goes when the file becomes another one or changes.
"""

from __future__ import annotations

import stat
import struct
from typing import Final

from schema.attributes import FileMetadata
from schema.fingerprints import CANONICAL, canonical

UNKNOWN: Final = -1
"""`as_of` of what no feed covers, or what was learnt in an epoch that is over: every change is newer."""
NEVER: Final = 0
"""Generation of what is suspect by itself."""

_ATIME: Final = struct.Struct(">q")
_INODE_AND_MODE: Final = struct.Struct(">QI")
_FILE_KEY: Final = struct.Struct(">QQ")
_VERIFIED: Final = slice(CANONICAL.size)
_INODE: Final = slice(0, 8)
_VOLUME: Final = slice(44, 52)
_CTIME: Final = slice(68, 76)
_VERSION: Final = (slice(24, 32), slice(60, 76))
"""Size; mtime and ctime."""
_MODE_AND_LINKS: Final = struct.Struct(">II")
PACKED_SIZE: Final = CANONICAL.size + _ATIME.size
"""Bytes of what `pack` gives for a file that is there."""
ABSENT: Final = b""
"""In place of packed attributes: there is no such file."""


def pack(metadata: FileMetadata | None) -> bytes | None:
    """Attributes in 84 bytes; as a struct of Python integers they take 500. None for numbers that no file has."""
    if metadata is None:
        return ABSENT
    known = canonical(metadata)
    try:
        return None if known is None else known + _ATIME.pack(metadata.atime_ns)
    except struct.error:
        return None


def unpack(packed: bytes) -> FileMetadata | None:
    """What `pack` packed."""
    if not packed:
        return None
    fields = CANONICAL.unpack_from(packed)
    return FileMetadata(*fields[:-2], *_ATIME.unpack_from(packed, CANONICAL.size), *fields[-2:])


def inode_and_type(packed: bytes) -> tuple[int, int]:
    """Inode number and file type (S_IFMT) of a file that is there."""
    inode, mode = _INODE_AND_MODE.unpack_from(packed)
    return inode, stat.S_IFMT(mode)


def verifiable(packed: bytes) -> bytes:
    """The part that `schema.fingerprints` are made of: all but the access time."""
    return packed[_VERIFIED]


def change_time(packed: bytes) -> bytes:
    """The change time (st_ctim), to be compared."""
    return packed[_CTIME]


def same_file(one: bytes, other: bytes) -> bool:
    """Whether both are attributes of one inode."""
    return bool(one and other) and file_key(one) == file_key(other)


def same_version(one: bytes, other: bytes) -> bool:
    """Whether both are attributes of one version of one inode."""
    return same_file(one, other) and all(one[part] == other[part] for part in _VERSION)


def file_key(packed: bytes) -> bytes:
    """What tells a file from every other one."""
    return packed[_INODE] + packed[_VOLUME]


def file_key_of(volume: int, inode: int) -> bytes:
    """The `file_key` of a file; none (no bytes) for numbers that no file has."""
    try:
        return _FILE_KEY.pack(inode, volume)
    except struct.error:
        return b""


def is_linked(packed: bytes) -> bool:
    """Whether the file has more names than one, so that changes may be told of under another."""
    if not packed:
        return False
    mode, links = _MODE_AND_LINKS.unpack_from(packed, 8)
    return bool(links > 1 and not stat.S_ISDIR(mode))


def is_single(packed: bytes) -> bool:
    """Whether it is a file, no directory, that has one name now and may have more one day."""
    if not packed:
        return False
    mode, links = _MODE_AND_LINKS.unpack_from(packed, 8)
    return bool(links <= 1 and not stat.S_ISDIR(mode))


def may_have_several_names(packed: bytes) -> bool:
    """Whether it is a file, no directory."""
    return is_linked(packed) or is_single(packed)


class Details:
    """What few files have been asked for: the names in a directory, a link's target, extended attributes.

    `complete` says that the node's children are all the names that there are, in the generation `names_generation`, as
    of `names_as_of` and until the time `names_until`; in an earlier generation, that they were.

    The others are of `generation`. `xattrs` maps names to values, None for one that is absent; `xattr_names` is the
    list of all. While they are `settled` they go with the file's change time: the agent, who says of nothing else that
    it is covered, saw it to be so old then that no later change can have the same.
    """

    __slots__ = (
        "complete",
        "generation",
        "names_as_of",
        "names_generation",
        "names_until",
        "settled",
        "target",
        "xattr_names",
        "xattrs",
    )

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.complete = False
        self.names_generation = NEVER
        self.names_as_of = UNKNOWN
        self.names_until = 0.0
        self.changed()

    def changed(self) -> None:
        """The file changed; the names in it are told of one by one."""
        self.target: bytes | None = None
        self.xattrs: dict[bytes, bytes | None] | None = None
        self.xattr_names: tuple[bytes, ...] | None = None
        self.settled = True

    def go_with(self, generation: int, *, unchanged: bool) -> None:
        """The file's attributes are known in `generation`; its change time is `unchanged` or not."""
        if not unchanged or (self.generation != generation and not self.settled):
            self.changed()
        self.generation = generation


class Node:
    """A name. `packed` is None while nothing is known of it and it stands only for the names below.

    `until` is the time at which its attributes become suspect by age; `used` is the clock's. `generation` is negative
    for what is suspect by itself, while `as_of` is still one of that generation.
    """

    __slots__ = ("as_of", "children", "details", "generation", "name", "packed", "parent", "until", "used")

    def __init__(self, name: bytes, parent: Node | None) -> None:
        self.name = name
        self.parent = parent
        self.children: dict[bytes, Node] | None = None
        self.packed: bytes | None = None
        self.as_of = UNKNOWN
        self.generation = NEVER
        self.until = 0.0
        self.details: Details | None = None
        self.used = False

    def child(self, name: bytes) -> Node | None:
        """The node below of that name, if there is one."""
        return self.children.get(name) if self.children is not None else None

    def learn(self, packed: bytes, as_of: int, generation: int, until: float) -> None:
        """Take over attributes; what was known of another file or an earlier state goes."""
        before = self.packed
        if before is not None and not same_file(before, packed):
            self.details = None
        elif before is not None and self.details is not None:
            self.details.go_with(generation, unchanged=before[_CTIME] == packed[_CTIME])
        self.packed, self.as_of, self.generation, self.until = packed, as_of, generation, until

    def more(self, generation: int) -> Details:
        """The details of this generation, made when there are none."""
        if self.details is None:
            self.details = Details(generation)
        elif self.details.generation != generation:
            self.details.changed()
            self.details.generation = generation
        return self.details

    def forget(self) -> None:
        """Know nothing of it any more; a listing that it was part of is not complete without it."""
        self.packed, self.details, self.as_of = None, None, UNKNOWN
        if self.parent is not None and self.parent.details is not None:
            self.parent.details.complete = False
