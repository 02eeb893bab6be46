"""What a client knows of names that it wants verified in bulk, and what an agent says of them.

The one rule: a question holds fingerprints and its answer what differs, so verifying a tree costs what changed in it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from schema.attributes import FileMetadata
from schema.limits import MAX_COMPARED, MAX_PAGE_ENTRIES
from schema.paths import Name, RelativePath

Fingerprint = Annotated[int, msgspec.Meta(ge=0)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_PAGE_ENTRIES - 1)]


class KnownName(msgspec.Struct, frozen=True, array_like=True):
    """A name and the fingerprint of its attributes; None: as far as is known there is no such file."""

    name: Name
    fingerprint: Fingerprint | None


class KnownDirectory(msgspec.Struct, frozen=True, array_like=True):
    """The next `count` names are in the directory `path`; `whole`: others in it are to be told of.

    With a `fingerprint`, that of all names in it (`schema.fingerprints.fingerprint_of_all`), `count` is how many these
    are, and they are not among the names that are asked about.
    """

    path: RelativePath
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_COMPARED)]
    whole: bool = False
    fingerprint: Fingerprint | None = None


class VerifiedDirectory(msgspec.Struct, frozen=True, array_like=True):
    """Whether the names in a directory could be looked at, and are under watch, all of them.

    `complete`: the names that were asked about and those that are told of are all that there are; or of a directory
    that was asked about by its fingerprint, that this is still the same.
    """

    found: bool
    covered: bool = False
    complete: bool = False


class ChangedName(msgspec.Struct, frozen=True, array_like=True):
    """The name number `index` of the question has these attributes; None: there is no such file."""

    index: _Index
    metadata: FileMetadata | None


class AppearedName(msgspec.Struct, frozen=True, array_like=True):
    """A name in the directory number `directory` of the question that was not asked about."""

    directory: _Index
    name: Name
    metadata: FileMetadata
