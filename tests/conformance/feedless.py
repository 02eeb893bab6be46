"""What a file system without a change feed answers to those who ask for one.

The one rule: it says so (EOPNOTSUPP), and then whoever caches lets what it knows live for a limited time only.
"""

from __future__ import annotations

import abc
import errno
from typing import Final

from schema.attributes import FileMetadata
from schema.replies import Changes, Following, ManyMetadata, Metadata
from schema.requests import Caller, FetchChanges, FollowChanges, GetManyMetadata, GetMetadata

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)


class Feedless(abc.ABC):
    """Base of file systems whose methods raise `OSError`."""

    @abc.abstractmethod
    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        """What `get_many_metadata` asks for each path."""

    def follow_changes(self, request: FollowChanges, caller: Caller) -> Following:
        raise OSError(errno.EOPNOTSUPP, "there is no change feed")

    def fetch_changes(self, request: FetchChanges, caller: Caller) -> Changes:
        raise OSError(errno.EOPNOTSUPP, "there is no change feed")

    def get_many_metadata(self, request: GetManyMetadata, caller: Caller) -> ManyMetadata:
        items: list[FileMetadata | None] = []
        for path in request.paths:
            try:
                items.append(self.get_metadata(GetMetadata(path), caller).metadata)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                items.append(None)
        return ManyMetadata(tuple(items))
