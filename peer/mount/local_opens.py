"""Opening files here, without a question: which ones, and what becomes of their handles.

The one rule: a file is opened here only for reading, only while a trusted feed says that it is what it was when the
agent opened it for us, and only where all of it is stored, so that it can be read whatever becomes of its name.

The feed is a moment late, and what was changed in that moment an open here does not see. So where a question takes no
longer than that, the agent is asked whether the file is still what it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from peer.errors import OperationFailed
from peer.filesystem import FileSystem
from peer.mount.cached_handles import CachedHandles
from peer.mount.coherent_cache import CoherentCache
from peer.mount.lazy_handles import LazyHandles
from peer.mount.quiet_files import QuietFiles
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import OpenedFile
from schema.requests import Caller, GetMetadata, OpenFile


class LocalOpens:
    """Of the files of `inner`; `filesystem` is the one that takes the handles given out here, too.

    While `ask_first()`, the agent is asked before whether a file is still what it was.
    """

    def __init__(
        self,
        inner: FileSystem,
        known: CoherentCache,
        handles: CachedHandles,
        contents: Contents,
        quiet: QuietFiles,
        *,
        ask_first: Callable[[], bool],
    ) -> None:
        self.filesystem: Final = LazyHandles(inner, contents, handles.path)
        self._inner: Final = inner
        self._known: Final = known
        self._handles: Final = handles
        self._contents: Final = contents
        self._quiet: Final = quiet
        self._ask_first: Final = ask_first

    def open(self, request: OpenFile, caller: Caller) -> OpenedFile | None:
        """The file opened here, or None where the agent is to open it."""
        if request.flags != os.O_RDONLY or request.first_bytes or self._handles.is_locked(request.path):
            return None
        metadata = self._known.covered(request.path)
        generation = None if metadata is None else self._quiet.generation(metadata)
        if metadata is None or generation is None or not self._contents.complete(metadata.volume, metadata.version):
            return None
        if self._ask_first() and not self._is_still(metadata, request.path, caller):
            return None
        return OpenedFile(self.filesystem.promise(caller, metadata, generation), metadata, generation)

    def opened(self, request: OpenFile, opened: OpenedFile) -> None:
        """The agent opened a file."""
        if request.flags & os.O_ACCMODE != os.O_WRONLY:
            self._quiet.opened(opened)

    def stands_for(self, handle: int, metadata: FileMetadata) -> bool:
        """See `LazyHandles`."""
        return self.filesystem.stands_for(handle, metadata)

    def to_be_moved(self, paths: Iterable[RelativePath]) -> None:
        """What has these names is about to be removed, replaced or renamed by ourselves."""
        for path in paths:
            self.filesystem.open_now(self._handles.at(path))

    def _is_still(self, metadata: FileMetadata, path: RelativePath, caller: Caller) -> bool:
        """Whether the agent says that what is at `path` is the file of these attributes, unchanged."""
        asked = self._known.asking()
        try:
            answer = self._inner.get_metadata(GetMetadata(path), caller)
        except OperationFailed:
            return False  # to open it will say why
        self._known.learn(path, answer.metadata, answer.as_of, asked)
        now = answer.metadata
        return (now.volume, now.version) == (metadata.volume, metadata.version)
