"""Reads of open files: from what is stored here, and otherwise from the agent, keeping what it gives.

The one rule: one read is answered from one source. What is stored is given only for the version that the file is known
to have now, and kept only for the version that the agent proves it to be of. A small file is asked for as it is opened.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from peer.filesystem import FileSystem
from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.cached_handles import CachedHandles
from peer.mount.coherent_cache import CoherentCache
from peer.mount.first_bytes import FirstBytes, wanted
from peer.mount.knowledge import Asked
from peer.mount.quiet_files import was_quiet
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.limits import MAX_DATA
from schema.replies import FileData, OpenedFile
from schema.requests import Caller, GetMetadata, OpenFile, ReadFile


class ContentReads:
    """Reads of `handles` through `filesystem`, with `contents` beside it."""

    def __init__(
        self, filesystem: FileSystem, contents: Contents, handles: CachedHandles, known: CoherentCache
    ) -> None:
        self._filesystem: Final = filesystem
        self._contents: Final = contents
        self._handles: Final = handles
        self._known: Final = known
        self._first: Final = FirstBytes()

    def to_open(self, request: OpenFile, known: FileMetadata | None) -> OpenFile:
        """What to ask for in place of `request`; `known` is what the file is, as far as is known."""
        size = wanted(known) if request.flags == os.O_RDONLY and not request.first_bytes else 0
        if not size or known is None or self._contents.complete(known.volume, known.version):
            return request
        return msgspec.structs.replace(request, first_bytes=size)

    def opened(self, request: OpenFile, opened: OpenedFile, asked: Asked) -> OpenedFile:
        """A file was opened as `to_open` says. What to answer to `request`."""
        if not opened.data or request.first_bytes:
            return opened
        self._first.opened(opened, asked)
        if was_quiet(opened):
            self._contents.keep(opened.metadata.volume, opened.metadata.version, 0, opened.data)
        return msgspec.structs.replace(opened, data=memoryview(b""))

    def closed(self, handle: int) -> None:
        """A file is being closed."""
        self._first.closed(handle)

    def read(self, request: ReadFile, caller: Caller, known: FileMetadata | None) -> FileData:
        """`known` is what the file is now, if that is sure."""
        if not self._handles.is_readable(request.handle):
            return self._filesystem.read_file(request, caller)  # which says so
        data = None if known is None else self._first.read(request, known, self._known.asking())
        if data is not None:
            return FileData(data)
        if known is not None:
            data = self._contents.read(known.volume, known.version, request.offset, request.size)
        else:
            data = self._verified(request, caller)
        if data is not None:
            return FileData(data)
        asked = request if known is None else _widened(request, known.size)
        answer = self._filesystem.read_file(asked, caller)
        file = self._handles.file(request.handle)
        if file is not None and answer.version is not None and answer.version.inode == file[1]:
            self._contents.keep(file[0], answer.version, asked.offset, answer.data)
            self._handles.seen(request.handle, answer.version)
        return FileData(answer.data[request.offset - asked.offset :][: request.size])

    def _verified(self, request: ReadFile, caller: Caller) -> memoryview | None:
        """What is stored, if there is anything and the agent says that the file is of that version still."""
        handle, offset, size = request.handle, request.offset, request.size
        file, version = self._handles.file(handle), self._handles.version(handle)
        if file is None or version is None:
            return None
        data = self._contents.read(file[0], version, offset, size)
        if data is None:
            return None
        answer = self._filesystem.get_metadata(GetMetadata(handle=handle), caller).metadata
        self._known.learn_file(answer)
        now = answer.version
        if now == version:
            return data
        self._handles.seen(handle, now)
        return self._contents.read(file[0], now, offset, size)


def _widened(request: ReadFile, size: int) -> ReadFile:
    """The read to make of a file of `size` bytes: one that is no larger than a block is read whole.

    It may have grown since: then the answer still has all that `request` is for.
    """
    end = max(request.offset + request.size, BLOCK_SIZE)
    if size > BLOCK_SIZE or end > MAX_DATA:
        return request
    return msgspec.structs.replace(request, offset=0, size=end)
