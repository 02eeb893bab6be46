"""Reads of open files: from what is stored here, and otherwise from the agent, keeping what it gives.

The one rule: one read is answered from one source. What is stored is given only for the version that the file is known
to have now, and kept only for the version that the agent proves it to be of.
"""

from __future__ import annotations

from typing import Final

import msgspec

from peer.filesystem import FileSystem
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.limits import MAX_DATA
from schema.replies import FileData
from schema.requests import Caller, ReadFile


class ContentReads:
    """Reads through `filesystem`, with `contents` beside it."""

    def __init__(self, filesystem: FileSystem, contents: Contents) -> None:
        self._filesystem: Final = filesystem
        self._contents: Final = contents

    def read(
        self, request: ReadFile, caller: Caller, file: tuple[int, int] | None, known: FileMetadata | None
    ) -> FileData:
        """`file` is the volume and inode number that the handle is of; `known` its attributes, if they are sure."""
        if known is not None:
            data = self._contents.read(known.volume, known.version, request.offset, request.size)
            if data is not None:
                return FileData(data)
        asked = request if known is None else _widened(request, known.size)
        answer = self._filesystem.read_file(asked, caller)
        if file is not None and answer.version is not None and answer.version.inode == file[1]:
            self._contents.keep(file[0], answer.version, asked.offset, answer.data)
        return FileData(answer.data[request.offset - asked.offset :][: request.size])


def _widened(request: ReadFile, size: int) -> ReadFile:
    """The read to make of a file of `size` bytes: one that is no larger than a block is read whole.

    It may have grown since: then the answer still has all that `request` is for.
    """
    end = max(request.offset + request.size, BLOCK_SIZE)
    if size > BLOCK_SIZE or end > MAX_DATA:
        return request
    return msgspec.structs.replace(request, offset=0, size=end)
