"""Opening files here, without a question: which ones, and what becomes of their handles.

The one rule: a file is opened here only for reading, only while a trusted feed says that it is what it was when the
agent opened it for us, and only where all of it is stored, so that it can be read whatever becomes of its name.

The feed is a moment late, and what was changed in that moment an open here does not see. So where to ask takes no
longer than that, we ask: nothing is gained by knowing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from peer.filesystem import FileSystem
from peer.mount.cached_handles import CachedHandles
from peer.mount.coherent_cache import CoherentCache
from peer.mount.knowledge import Asked
from peer.mount.lazy_handles import LazyHandles
from peer.mount.question_times import QuestionTimes
from peer.mount.quiet_files import QuietFiles
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import OpenedFile
from schema.requests import Caller, OpenFile


class LocalOpens:
    """Of the files of `inner`; `filesystem` is the one that takes the handles given out here, too.

    The agent is asked as long as that takes less than `ask_within` seconds.
    """

    def __init__(
        self,
        inner: FileSystem,
        known: CoherentCache,
        handles: CachedHandles,
        contents: Contents,
        quiet: QuietFiles,
        *,
        ask_within: float,
    ) -> None:
        self.filesystem: Final = LazyHandles(inner, contents, handles.path)
        self._known: Final = known
        self._handles: Final = handles
        self._contents: Final = contents
        self._quiet: Final = quiet
        self._ask_within: Final = ask_within
        self._times: Final = QuestionTimes()

    def open(self, request: OpenFile, caller: Caller) -> OpenedFile | None:
        """The file opened here, or None where the agent is to be asked."""
        if request.flags != os.O_RDONLY or request.first_bytes or self._handles.is_locked(request.path):
            return None
        if self._times.are_below(self._ask_within):
            return None
        metadata = self._known.covered(request.path)
        generation = None if metadata is None else self._quiet.generation(metadata)
        if metadata is None or generation is None or not self._contents.complete(metadata.volume, metadata.version):
            return None
        return OpenedFile(self.filesystem.promise(caller, metadata, generation), metadata, generation)

    def opened(self, request: OpenFile, opened: OpenedFile, asked: Asked) -> None:
        """The agent opened a file."""
        self._times.took(self._known.asking().at - asked.at)
        if request.flags & os.O_ACCMODE != os.O_WRONLY:
            self._quiet.opened(opened)

    def stands_for(self, handle: int, metadata: FileMetadata) -> bool:
        """See `LazyHandles`."""
        return self.filesystem.stands_for(handle, metadata)

    def to_be_moved(self, paths: Iterable[RelativePath]) -> None:
        """What has these names is about to be removed, replaced or renamed by ourselves."""
        for path in paths:
            self.filesystem.open_now(self._handles.at(path))
