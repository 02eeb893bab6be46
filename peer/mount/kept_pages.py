"""Whether the pages that the kernel holds of a file are those of the file that is being opened.

The one rule: they are kept only if the file was opened by that name before, as the version that it has now, which was
old enough then that no later change can have the same times; so it is the same ever since, and so is whatever was read
of it. Where two files were open by one name, nobody knows whose pages the kernel's one inode holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from peer.mount.quiet_files import was_quiet
from schema.attributes import FileVersion
from schema.paths import RelativePath
from schema.replies import OpenedFile

_CAPACITY: Final = 65_536
"""Names that are remembered; the one opened longest ago goes first."""

State = tuple[int, FileVersion]
"""Volume and version."""


class KeptPages:
    """The pages of one mount's files. Thread-safe."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity: Final = capacity
        self._lock: Final = threading.Lock()
        self._states: Final[OrderedDict[RelativePath, State]] = OrderedDict()
        self._files: Final[dict[int, tuple[int, int]]] = {}

    def opened(self, path: RelativePath, opened: OpenedFile, others: Iterable[int], *, changed: bool = False) -> bool:
        """`path` was opened while the handles `others` were open by that name: whether pages are to be kept.

        `changed` is whether opening it changed the file. Otherwise the kernel drops them now.
        """
        metadata = opened.metadata
        file, state = (metadata.volume, metadata.inode), (metadata.volume, metadata.version)
        with self._lock:
            self._files[opened.handle] = file
            before = self._states.pop(path, None)
            if changed or any(self._files.get(other, file) != file for other in others):
                return False
            if was_quiet(opened) or before == state:
                self._states[path] = state
                if len(self._states) > self._capacity:
                    self._states.popitem(last=False)
            return before == state

    def closed(self, handle: int) -> None:
        """`handle` was given back."""
        self._files.pop(handle, None)
