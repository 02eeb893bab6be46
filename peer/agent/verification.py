"""What of a client's knowledge still holds: the names in a directory against their fingerprints, or all at once.

The one rule: one walk a directory. All its names are looked at below one descriptor, so they are names of one directory
whatever is renamed meanwhile, and a path is never walked twice.
"""

from __future__ import annotations

import errno
import itertools
import os
from typing import Final

from peer.agent.asker import Asker
from peer.agent.file_attributes import metadata_of
from peer.errors import OperationFailed
from schema.attributes import FileMetadata
from schema.failure_codes import MALFORMED
from schema.fingerprints import canonical, fingerprint, fingerprint_of_all
from schema.known_names import AppearedName, ChangedName, KnownDirectory, KnownName, VerifiedDirectory
from schema.limits import MAX_COMPARED, MAX_PAGE_ENTRIES
from schema.paths import checked_name
from schema.replies import VerifiedMetadata
from schema.requests import VerifyMetadata

_OUT_OF_SIGHT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EACCES, errno.ENAMETOOLONG})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENAMETOOLONG})

Appeared = list[tuple[bytes, FileMetadata]]


def verify(request: VerifyMetadata, asker: Asker) -> VerifiedMetadata:
    """The answer to `request`; a directory that may not be looked at is answered as one that is not there.

    Raises `OperationFailed` for counts that do not fit the names, `PathError` for what is no name, `OSError`.
    """
    named = sum(directory.count for directory in request.directories if directory.fingerprint is None)
    compared = sum(directory.count for directory in request.directories) - named
    if named != len(request.names) or compared > MAX_COMPARED:
        raise OperationFailed(MALFORMED, "the directories do not have as many names as there are, or too many")
    directories: list[VerifiedDirectory] = []
    changed: list[ChangedName] = []
    appeared: list[AppearedName] = []
    start = 0
    for number, directory in enumerate(request.directories):
        count = directory.count if directory.fingerprint is None else 0
        looked = _Look(request.names[start : start + count], request.salt)
        verified = looked.at(directory, asker, MAX_PAGE_ENTRIES - len(appeared))
        directories.append(verified)
        changed += [ChangedName(start + index, metadata) for index, metadata in looked.changed]
        appeared += [AppearedName(number, name, metadata) for name, metadata in looked.appeared]
        start += count
    return VerifiedMetadata(tuple(directories), tuple(changed), tuple(appeared))


class _Look:
    """A look at the names in one directory: those that `changed`, by index, and those that `appeared`."""

    def __init__(self, names: tuple[KnownName, ...], salt: bytes) -> None:
        self._names: Final = names
        self._salt: Final = salt
        self.changed: list[tuple[int, FileMetadata | None]] = []
        self.appeared: Appeared = []

    def at(self, known: KnownDirectory, asker: Asker, room: int) -> VerifiedDirectory:
        """Look, and tell of `room` names at most that were not asked about."""
        for each in self._names:
            checked_name(each.name)
        try:
            place = asker.place(known.path)
            with place.root.directory(place.components) as descriptor:
                self._compare(descriptor)
                if known.fingerprint is not None:
                    complete = self._is_same(descriptor, known)
                else:
                    complete = known.whole and self._look_for_others(descriptor, room)
        except (OperationFailed, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _OUT_OF_SIGHT:
                raise
            self.changed.clear()
            self.appeared.clear()
            return VerifiedDirectory(found=False)
        return VerifiedDirectory(found=True, complete=complete)

    def _compare(self, descriptor: int) -> None:
        for index, known in enumerate(self._names):
            metadata = _metadata(descriptor, known.name)
            if _fingerprint(metadata, self._salt) != (known.fingerprint,):
                self.changed.append((index, metadata))

    def _is_same(self, descriptor: int, known: KnownDirectory) -> bool:
        names = sorted(map(os.fsencode, os.listdir(descriptor)))
        if len(names) != known.count:
            return False
        entries: list[tuple[bytes, bytes]] = []
        for name in names:
            metadata = _metadata(descriptor, name)
            packed = None if metadata is None else canonical(metadata)
            if packed is None:
                return False
            entries.append((name, packed))
        return fingerprint_of_all(entries, self._salt) == known.fingerprint

    def _look_for_others(self, descriptor: int, room: int) -> bool:
        """False when there are too many."""
        known = {each.name for each in self._names}
        others = (name for name in map(os.fsencode, os.listdir(descriptor)) if name not in known)
        for name in itertools.islice(others, room + 1):
            if len(self.appeared) == room:
                self.appeared.clear()
                return False
            metadata = _metadata(descriptor, name)
            if metadata is not None:
                self.appeared.append((name, metadata))
        return True


def _metadata(descriptor: int, name: bytes) -> FileMetadata | None:
    try:
        return metadata_of(os.stat(name, dir_fd=descriptor, follow_symlinks=False))
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _fingerprint(metadata: FileMetadata | None, salt: bytes) -> tuple[int | None, ...]:
    """The fingerprint in a tuple of one, None in it for a file that is not there; empty for what has none."""
    if metadata is None:
        return (None,)
    known = canonical(metadata)
    return () if known is None else (fingerprint(known, salt),)
