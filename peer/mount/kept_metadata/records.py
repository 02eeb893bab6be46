"""What is kept of a directory's names, as MessagePack, in pieces of a bounded size.

The one rule: a piece is decoded within the bounds that paths and attributes have everywhere, or not at all; that it is
ours, its seal has proven.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec

from peer.errors import KeptDataRefused
from peer.mount.metadata_node import PACKED_SIZE
from schema.decoding import UNDECODABLE
from schema.limits import MAX_XATTR_VALUE
from schema.paths import Name, RelativePath
from schema.requests import AttributeName, LinkTarget

NAMES: Final = 1024
"""Names in one record; a directory of more has several."""
PIECE: Final = 128 * 1024
"""Bytes of records after which a piece ends."""
MAX_PIECE: Final = 16 * 1024 * 1024
"""Bytes of a piece with the largest record that there can be."""

_Packed = Annotated[bytes, msgspec.Meta(max_length=PACKED_SIZE)]
_XattrValue = Annotated[bytes, msgspec.Meta(max_length=MAX_XATTR_VALUE)]


class KeptName(msgspec.Struct, frozen=True, array_like=True):
    """A name and its packed attributes; none for a name that is not there."""

    name: Name
    packed: _Packed

    def __post_init__(self) -> None:
        """Attributes are there or not."""
        if len(self.packed) not in (0, PACKED_SIZE):
            raise ValueError("attributes of no known form")


class KeptDetails(msgspec.Struct, frozen=True, array_like=True):
    """What else is known of the name number `index` of a record; it goes with the change time of its attributes."""

    index: Annotated[int, msgspec.Meta(ge=0, lt=NAMES)]
    target: LinkTarget | None
    xattr_names: tuple[AttributeName, ...] | None
    xattrs: dict[AttributeName, _XattrValue | None] | None


class KeptDirectory(msgspec.Struct, frozen=True, array_like=True):
    """Names in the directory `path`; `whole`: these, and those of the records of it before, were all that there are."""

    path: RelativePath
    names: Annotated[tuple[KeptName, ...], msgspec.Meta(max_length=NAMES)]
    details: tuple[KeptDetails, ...] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        """Details are of names that there are."""
        if any(each.index >= len(self.names) for each in self.details):
            raise ValueError("details of no name")


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[KeptDirectory, ...])


def encoded(records: Iterable[KeptDirectory]) -> Iterator[bytes]:
    """`records` in pieces."""
    piece: list[KeptDirectory] = []
    size = 0
    for record in records:
        piece.append(record)
        size += len(_encoder.encode(record))
        if size >= PIECE:
            yield _encoder.encode(piece)
            piece, size = [], 0
    if piece:
        yield _encoder.encode(piece)


def decoded(piece: bytes | bytearray) -> tuple[KeptDirectory, ...]:
    """The records of one piece. Raises `KeptDataRefused`."""
    try:
        return _decoder.decode(piece)
    except UNDECODABLE as error:
        raise KeptDataRefused(f"records of no known form: {error}") from error
