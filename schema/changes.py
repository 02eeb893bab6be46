"""The numbered change feed: what an agent tells every client that may know of it, as it happens.

The one rule: numbers are consecutive within an epoch, and a change numbered later was looked at later. So a client that
has every number up to *n* knows what each path it was told of looked like at *n* or after; and an epoch that ends says
that nothing of the kind is known any more.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from schema.attributes import FileMetadata
from schema.decoding import UNDECODABLE
from schema.limits import MAX_BODY
from schema.paths import RelativePath

MAX_BATCH: Final = 1024
"""Changes in one batch."""
FEED_KEY_SIZE: Final = 32

_Number = Annotated[int, msgspec.Meta(ge=0)]


class Moment(msgspec.Struct, frozen=True, array_like=True):
    """How far the feed had come *before* the agent looked at the file system: the last number of `epoch` until then."""

    epoch: _Number
    number: _Number


class Changed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What `path` is now; None: it is gone, and whatever was below it.

    A path that appears for the first time as a directory may have contents that were not told of: `Swept` follows when
    it does.
    """

    path: RelativePath
    metadata: FileMetadata | None


class Renamed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`source` is now called `destination`, with everything below it; what was at `destination` before is gone."""

    source: RelativePath
    destination: RelativePath
    metadata: FileMetadata


class Swept(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Nothing is known of what is at `path` and below it: changes there may have been missed. Ask again."""

    path: RelativePath


Change = Changed | Renamed | Swept


class ChangeBatch(msgspec.Struct, frozen=True, array_like=True):
    """Changes `first`, `first` + 1, ... of `epoch`. An empty batch is the heartbeat: `first` is the next number.

    `sent` is when the agent sealed it, in seconds of a clock of its own that never jumps (as `Following.sent`): so a
    relay that holds the feed back gains nothing.
    """

    epoch: _Number
    first: _Number
    changes: Annotated[tuple[Change, ...], msgspec.Meta(max_length=MAX_BATCH)] = ()
    sent: Annotated[float, msgspec.Meta(ge=0, lt=2**53)] = 0.0


class ChangeBatchError(ValueError):
    """A body that is no change batch within bounds."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(ChangeBatch)


def encode_batch(batch: ChangeBatch) -> bytes:
    """`batch` as MessagePack."""
    return _encoder.encode(batch)


def decode_batch(body: bytes | bytearray | memoryview) -> ChangeBatch:
    """Strict and bounded inverse of `encode_batch`. Raises `ChangeBatchError`."""
    if len(body) > MAX_BODY:
        raise ChangeBatchError(f"a batch has at most {MAX_BODY} bytes, this one {len(body)}")
    try:
        return _decoder.decode(body)
    except UNDECODABLE as error:
        raise ChangeBatchError(f"not a change batch: {error}") from error
