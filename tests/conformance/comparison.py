"""What two file systems must say alike, and what may differ between two machines.

The one rule: what a program could rely on is compared; what is left out is named here, with its reason.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

import msgspec

from schema.attributes import FileMetadata
from schema.failure_codes import STALE_HANDLE
from schema.replies import (
    AnyReply,
    Copied,
    DirectoryPage,
    FileData,
    Metadata,
    OpenedFile,
    Written,
    XattrNames,
)
from schema.requests import CreateFile, CreateLink, OpenFile, RenamePath, RequestBody
from tests.conformance.driver import LONG_AGO

PATH_ERRORS: Final = [os.strerror(errno.ENOENT), os.strerror(errno.ENOTDIR)]
NO_SUCH_HANDLE: Final = [STALE_HANDLE, os.strerror(errno.EBADF)]
NOT_A_FILE: Final = [os.strerror(errno.ESTALE), os.strerror(errno.ELOOP), os.strerror(errno.ENXIO)]


def one_of_these(asked: RequestBody, expected: object, found: object) -> bool:
    """Whether `found` is another way to say `expected`: where two things are wrong, or the kernel names it its way."""
    match asked:
        case RenamePath() | CreateLink():
            return expected in PATH_ERRORS and found in PATH_ERRORS  # whichever path is walked first
        case OpenFile() | CreateFile():
            return expected in NOT_A_FILE and found in NOT_A_FILE
        case _:
            return expected in NO_SUCH_HANDLE and found in NO_SUCH_HANDLE


def comparable(reply: AnyReply | str) -> object:
    """What of a reply does not differ between two machines."""
    match reply:
        case Metadata(metadata):
            return attributes(metadata)
        case DirectoryPage(entries, complete):
            listed = [(entry.name, entry.type, entry.metadata and attributes(entry.metadata)) for entry in entries]
            return listed, complete
        case OpenedFile():
            return attributes(reply.metadata), bytes(reply.data)
        case FileData(read):
            return bytes(read)
        case Written(size, metadata) | Copied(size, metadata):
            return size, attributes(metadata)
        case XattrNames(found):
            return {name for name in found if name.startswith(b"user.")}
        case str():
            return reply
        case _:
            return msgspec.structs.replace(reply, as_of=None)


def attributes(metadata: FileMetadata) -> tuple[object, ...]:
    """Type, mode, and what is promised for the type; the modification time where a request has set it."""
    set_time = metadata.mtime_ns if metadata.mtime_ns < LONG_AGO else "recent"
    if stat.S_ISDIR(metadata.mode):
        return metadata.mode, set_time
    return metadata.mode, metadata.links, metadata.size, set_time
