"""Files that are open here while somebody else, on the remote machine or another mount, gives their name to another.

libfuse makes one inode of the kernel for each path, so the open file and the new one of its name would be one: with
one size and one set of pages, read through either. They are parted: a thread of our own unlinks the name *on the
mount*, and the callback that comes of it does nothing at the agent. libfuse then keeps the open file under a hidden
name (see `removed_files`), the kernel looks the name up anew, and the new file gets an inode of its own.

The one rule: what our own thread asks for never reaches the agent. Where it comes as expected it is swallowed, and
where it does not it is refused.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from peer.mount.notification_lane import NotificationLane
from peer.mount.path_table import PathTable
from peer.mount.removed_files import RemovedFiles
from schema.attributes import FileMetadata
from schema.paths import RelativePath

log = logging.getLogger(__name__)

_CAPACITY: Final = 1024
_PART_DEADLINE: Final = 0.25
"""Seconds that who opens a file waits, looking it up again, for the one that had its name to be parted from it."""
_STOP_DEADLINE: Final = 2.0


class Opening(enum.Enum):
    """How a file that is being opened stands to others that are open."""

    APART = enum.auto()
    """The kernel knows it from all others."""
    ASK_AGAIN = enum.auto()
    """It is taken for another one. Answer ESTALE: the kernel looks the name up anew, once, and opens it again."""
    TOGETHER = enum.auto()
    """It stays taken for another one: keep its data out of the kernel's pages."""


class Inodes(Protocol):
    """The kernel's inodes of the mount, by the agent's paths."""

    def local(self, path: RelativePath) -> bytes:
        """Where `path` is on this machine."""

    def expire(self, path: RelativePath) -> Callable[[], None]:
        """What has the attributes of the inode that is at `path` now expire, when it is called."""


class ReplacedFiles:
    """The open files of one mount by what they are. All methods may be called from any thread."""

    def __init__(self, inodes: Inodes, removed: RemovedFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Final = clock
        self._inodes: Final = inodes
        self._removed: Final = removed
        self._files: Final[dict[int, tuple[int, int]]] = {}
        self._lane: Final = NotificationLane("replaced-files", _CAPACITY)
        self._asked: Final[dict[int, tuple[RelativePath, threading.Event]]] = {}
        self._replacing: Final[list[RelativePath]] = []
        self._since: Final[dict[RelativePath, float]] = {}
        """When files were first seen that are to be parted."""
        self._thread = 0
        self._open: PathTable[int] = PathTable()

    def know_open(self, open_files: PathTable[int]) -> None:
        """Where the open files are."""
        self._open = open_files

    def begin(self) -> None:
        """The mount is up."""
        self._lane.start()

    def end(self) -> None:
        """The mount is going down."""
        self._lane.stop(_STOP_DEADLINE)

    def opened(self, handle: int, metadata: FileMetadata) -> None:
        """`handle` is open on the file that `metadata` is of."""
        self._files[handle] = (metadata.volume, metadata.inode)

    def closed(self, handle: int) -> None:
        """`handle` was closed."""
        self._files.pop(handle, None)

    @contextlib.contextmanager
    def replacing(self, path: RelativePath) -> Iterator[None]:
        """Within, a rename through this mount gives `path` to another file: libfuse parts them by itself."""
        self._replacing.append(path)
        try:
            yield
        finally:
            self._replacing.remove(path)

    def shares(self, path: RelativePath, metadata: FileMetadata) -> bool:
        """Whether the kernel would take the file at `path`, which `metadata` is of, for another one that is open."""
        return any(self._is_other(handle, metadata) for handle in self._open.at(path)) and path not in self._replacing

    def _is_other(self, handle: int, metadata: FileMetadata) -> bool:
        file = (metadata.volume, metadata.inode)
        return self._files.get(handle, file) != file

    def seen(self, path: RelativePath, metadata: FileMetadata) -> int:
        """`path` was seen to have `metadata`: part the file, soon, from one that is open and had its name.

        Until that is done, but not for long: a handle on the open one. Answered by its attributes, the kernel still
        has all of one file; with the new one's it would read the open one as far as the new one goes.
        """
        if not self._files or not self.shares(path, metadata):
            self._since.pop(path, None)
            return 0
        now = self._clock()
        since = self._since.setdefault(path, now)
        if len(self._since) > _CAPACITY:
            self._since.clear()
        if since == now:
            self._lane.post(lambda: self._part(path, metadata))
        others = [handle for handle in self._open.at(path) if self._is_other(handle, metadata)]
        return others[0] if others and now - since < _PART_DEADLINE else 0

    def open(self, path: RelativePath, metadata: FileMetadata, thread: int) -> Opening:
        """`thread` opens `path`, and `metadata` is of what was opened."""
        asked = self._asked.pop(thread, None)
        if not self.shares(path, metadata):
            return Opening.APART
        done = threading.Event()

        def part() -> None:
            try:
                self._part(path, metadata)
            finally:
                done.set()

        # libfuse holds the path of what is being opened: nobody can wait for it here.
        if thread == 0 or (asked is not None and asked[0] == path) or not self._lane.post(part):
            return Opening.TOGETHER
        if len(self._asked) > _CAPACITY:
            self._asked.clear()
        self._asked[thread] = path, done
        return Opening.ASK_AGAIN

    def look_again(self, path: RelativePath, thread: int) -> None:
        """`thread` looks `path` up: if that is because it was to ask again, wait until that makes sense."""
        asked = self._asked.get(thread) if self._asked else None
        if asked is not None and asked[0] == path:
            asked[1].wait(_PART_DEADLINE)

    def is_own(self, thread: int) -> bool:
        """Whether it is our own thread that makes a system call."""
        return thread != 0 and thread == self._thread

    def _part(self, path: RelativePath, metadata: FileMetadata) -> None:
        if not self.shares(path, metadata):
            return  # it was done meanwhile: what has the name now keeps it
        self._thread = threading.get_native_id()
        expire = self._inodes.expire(path)
        if not self._removed.unname(path, self._thread, _PART_DEADLINE):
            self._since.pop(path, None)  # whoever looks next has it tried again
            return
        try:
            os.unlink(self._inodes.local(path))
        except OSError as failure:
            log.debug("%r could not be parted from the file that it replaced: %s", path, failure)
            self._removed.settled(path, self._thread)
        else:
            self._since.pop(path, None)
        expire()
