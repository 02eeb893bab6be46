"""What the agent's user may do with files, as access(2) asks again and again: granted once, granted until they change.

The one rule: a grant is believed only while the file's attributes are known for sure and are those that it was given
for; what was refused is asked for each time.

Only for mounts whose users are all one to the agent (`identity = "map"`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import msgspec

from peer.filesystem import Decorator, FileSystem
from peer.mount.coherent_cache import CoherentCache
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import Done
from schema.requests import Caller, CheckAccess

_REMEMBERED: Final = 8192


class KnownAccess(Decorator):
    """A `FileSystem` that asks for each grant once. Thread-safe."""

    def __init__(self, inner: FileSystem, known: CoherentCache) -> None:
        super().__init__(inner)
        self._known: Final = known
        self._lock: Final = threading.Lock()
        self._granted: Final[OrderedDict[RelativePath, tuple[FileMetadata, int]]] = OrderedDict()

    def check_access(self, request: CheckAccess, caller: Caller) -> Done:
        """See `FileSystem`."""
        before = self._attributes(request.path)
        if before is not None and request.mode & ~self._granted_for(request.path, before) == 0:
            return Done()
        answer = self.inner.check_access(request, caller)
        # The agent says as of when only if the change time tells this state of the file from every later one.
        if before is not None and answer.as_of is not None and self._attributes(request.path) == before:
            self._grant(request.path, before, request.mode)
        return answer

    def _attributes(self, path: RelativePath) -> FileMetadata | None:
        """The attributes of a file that is there for sure; reading moves the access time, and nobody is told."""
        known = self._known.metadata(path)
        if known is None or known.suspect or known.metadata is None:
            return None
        return msgspec.structs.replace(known.metadata, atime_ns=0)

    def _granted_for(self, path: RelativePath, attributes: FileMetadata) -> int:
        with self._lock:
            granted = self._granted.get(path)
            return granted[1] if granted is not None and granted[0] == attributes else 0

    def _grant(self, path: RelativePath, attributes: FileMetadata, mode: int) -> None:
        with self._lock:
            old = self._granted.pop(path, None)
            if old is not None and old[0] == attributes:
                mode |= old[1]
            self._granted[path] = attributes, mode
            if len(self._granted) > _REMEMBERED:
                self._granted.popitem(last=False)
