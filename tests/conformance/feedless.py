"""What a file system without a change feed answers to those who ask for one.

The one rule: it says so (EOPNOTSUPP), and then whoever caches lets what it knows live for a limited time only.
"""

from __future__ import annotations

import abc
import errno
from typing import Final

from schema.attributes import FileMetadata
from schema.fingerprints import canonical, fingerprint, fingerprint_of_all
from schema.known_names import AppearedName, ChangedName, VerifiedDirectory
from schema.paths import RelativePath
from schema.replies import Changes, DirectoryPage, Following, VerifiedMetadata
from schema.requests import (
    Caller,
    FetchChanges,
    FollowChanges,
    ListDir,
    VerifyMetadata,
)

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)


class Feedless(abc.ABC):
    """Base of file systems whose methods raise `OSError`."""

    @abc.abstractmethod
    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage:
        """What `verify_metadata` asks for each directory."""

    def follow_changes(self, request: FollowChanges, caller: Caller) -> Following:
        raise OSError(errno.EOPNOTSUPP, "there is no change feed")

    def fetch_changes(self, request: FetchChanges, caller: Caller) -> Changes:
        raise OSError(errno.EOPNOTSUPP, "there is no change feed")

    def verify_metadata(self, request: VerifyMetadata, caller: Caller) -> VerifiedMetadata:
        directories: list[VerifiedDirectory] = []
        changed: list[ChangedName] = []
        appeared: list[AppearedName] = []
        left = list(enumerate(request.names))
        for number, directory in enumerate(request.directories):
            found = self._listed(directory.path, caller)
            if directory.fingerprint is not None:
                entries = [(name, canonical(metadata) or b"") for name, metadata in sorted((found or {}).items())]
                same = fingerprint_of_all(entries, request.salt) == directory.fingerprint
                directories.append(VerifiedDirectory(found is not None, complete=found is not None and same))
                continue
            asked, left = left[: directory.count], left[directory.count :]
            directories.append(VerifiedDirectory(found is not None, complete=found is not None and directory.whole))
            if found is None:
                continue
            for index, known in asked:
                metadata = found.pop(known.name, None)
                packed = metadata and canonical(metadata)
                if (packed and fingerprint(packed, request.salt)) != known.fingerprint:
                    changed.append(ChangedName(index, metadata))
            if directory.whole:
                appeared += [AppearedName(number, name, metadata) for name, metadata in found.items()]
        return VerifiedMetadata(tuple(directories), tuple(changed), tuple(appeared))

    def _listed(self, path: RelativePath, caller: Caller) -> dict[bytes, FileMetadata] | None:
        try:
            page = self.list_dir(ListDir(path), caller)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return None
        return {entry.name: entry.metadata for entry in page.entries if entry.metadata is not None}
