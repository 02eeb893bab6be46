"""Small files that came with the answer to their open: what is read next needs no second question.

The one rule: they are given only where nothing at all is known to have happened since the agent looked, and only for a
moment. What they are of may not be final yet, so that they belong to no version; whoever reads later asks.
"""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.knowledge import Asked
from schema.attributes import FileMetadata
from schema.replies import OpenedFile
from schema.requests import ReadFile

LARGEST: Final = BLOCK_SIZE
"""Bytes of the largest file that is asked for with its open."""
_SECONDS: Final = 1.0
_FILES: Final = 64
"""Files that are held, 8 MiB at most."""


class _File(NamedTuple):
    asked: Asked
    opened: OpenedFile


def wanted(metadata: FileMetadata | None) -> int:
    """How many bytes of a file with these attributes to ask for as it is opened."""
    if metadata is None or not stat.S_ISREG(metadata.mode) or metadata.size > LARGEST:
        return 0
    return metadata.size


class FirstBytes:
    """By handle. Thread-safe."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._files: Final[OrderedDict[int, _File]] = OrderedDict()

    def opened(self, opened: OpenedFile, asked: Asked) -> None:
        """A file was opened by the question `asked`."""
        if opened.as_of is None or not opened.data or len(opened.data) != opened.metadata.size:
            return
        with self._lock:
            self._files[opened.handle] = _File(asked, opened)
            if len(self._files) > _FILES:
                self._files.popitem(last=False)

    def read(self, request: ReadFile, known: FileMetadata, now: Asked) -> memoryview | None:
        """What is read, if that can be said here.

        `known` is what the file is, for sure, and `now` how far we are with all that we hear of and do.
        """
        file = self._files.get(request.handle)
        if file is None:
            return None
        of, as_of = file.opened.metadata, file.opened.as_of
        unheard = as_of is not None and now.heard.epoch == as_of.epoch and now.heard.number <= as_of.number
        undone = now.changes == file.asked.changes and now.at - file.asked.at <= _SECONDS
        if not unheard or not undone or (of.volume, of.version) != (known.volume, known.version):
            self.closed(request.handle)
            return None
        return file.opened.data[request.offset : request.offset + request.size]

    def closed(self, handle: int) -> None:
        """They are of no use any more."""
        with self._lock:
            self._files.pop(handle, None)
