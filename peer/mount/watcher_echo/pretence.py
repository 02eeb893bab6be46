"""The answers that the echo's own thread gets on the mount: as if it had done what the remote machine has done.

The one rule: of the thread that performs an echo, the one call that was planned is answered, and only while what is
known says that it is so; what asks is let through, and what would change anything is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem, expect
from peer.mount.watcher_echo.echoes import Call, Echo
from schema import requests
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import AnyReply, Done, Metadata, OpenedFile
from schema.requests import AnyRequest, Caller

log = logging.getLogger(__name__)

R = TypeVar("R")

_FIRST_HANDLE: Final = 1 << 62
"""Handles that no agent gave: those of `DurableHandles` count up from 1."""
_ASKING: Final = (
    requests.GetMetadata,
    requests.VerifyMetadata,
    requests.CheckAccess,
    requests.ReadSymlink,
    requests.GetXattr,
    requests.ListXattrs,
    requests.ListDir,
    requests.StatVolume,
)
_MAKING: Final = {
    stat.S_IFDIR: requests.CreateDir,
    stat.S_IFLNK: requests.CreateSymlink,
    stat.S_IFREG: requests.CreateFile,
}


def is_pretended(handle: int) -> bool:
    """Whether a handle stands for a file that the echo has open: nobody else uses it, and it is open at no agent."""
    return handle >= _FIRST_HANDLE


class _Performance(NamedTuple):
    """What thread `performer` (gettid(2)) does, while the directories `standing` look as they did before."""

    performer: int
    echo: Echo
    standing: Mapping[RelativePath, FileMetadata]


class Pretence(Decorator):
    """The `FileSystem` of a mount. `thread()` is who makes the call that is answered now, as gettid(2) numbers it."""

    def __init__(self, inner: FileSystem, thread: Callable[[], int]) -> None:
        super().__init__(inner)
        self._thread: Final = thread
        self._performance: _Performance | None = None
        self._handles: Final = itertools.count(_FIRST_HANDLE)
        self._done = False

    @contextlib.contextmanager
    def about(self, echo: Echo, standing: Mapping[RelativePath, FileMetadata]) -> Iterator[None]:
        """While the calling thread performs `echo`; one at a time.

        To it the directories `standing`, which are to go after what is in them, look as they did before.
        """
        self._performance, self._done = _Performance(threading.get_native_id(), echo, standing), False
        try:
            yield
        finally:
            self._performance = None

    @property
    def done(self) -> bool:
        """Whether the call that was planned last came, and was answered."""
        return self._done

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        performance = self._performance
        if is_pretended(getattr(request, "handle", 0)):
            return expect(self._of_handle(performance, request, caller), reply)
        if performance is None or self._thread() != performance.performer:
            return super()._perform(request, caller, reply)
        answer = self._pretended(performance, request, caller)
        if answer is not None:
            return expect(answer, reply)
        if isinstance(request, _ASKING):
            return super()._perform(request, caller, reply)
        log.debug("refused to the echo %s: %r", performance.echo, request)
        raise OperationFailed("EIO", f"{type(request).__name__} was not planned")

    def _of_handle(self, performance: _Performance | None, request: AnyRequest, caller: Caller) -> AnyReply:
        """A file that the echo has open is asked for its attributes, set to the size that it has, and closed."""
        if isinstance(request, (requests.CloseFile, requests.FlushFile)):
            return Done()
        asked = isinstance(request, requests.GetMetadata) or (
            isinstance(request, requests.SetMetadata) and request.size is not None
        )
        if performance is not None and asked:
            there = self._there(performance.echo.path, caller)
            if there is not None:
                return Metadata(there)
        raise OperationFailed("EIO", f"{type(request).__name__} of a file that is not open")

    def _pretended(self, performance: _Performance, request: AnyRequest, caller: Caller) -> AnyReply | None:
        """The answer to what is part of the echo; None for what is not. Raises `OperationFailed` (ENOENT, EIO)."""
        echo = performance.echo
        if isinstance(request, requests.GetMetadata):
            return None if self._done else self._before(performance, request)
        if self._done or not _is_planned(echo, request):
            return None
        answer = self._after(echo, request, caller)
        if answer is None:
            log.debug("not as the echo says any more: %s", echo)
            raise OperationFailed("EIO", "it is otherwise by now")
        self._done = True
        return answer

    @staticmethod
    def _before(performance: _Performance, request: requests.GetMetadata) -> Metadata | None:
        """The kernel looks a name up before it does anything to it: it was as it was before."""
        echo = performance.echo
        if request.path == echo.source and echo.now is not None:
            return Metadata(echo.now)
        if request.path != echo.path:
            standing = performance.standing.get(request.path)
            return None if standing is None else Metadata(standing)
        if echo.call in {Call.WRITE, Call.TOUCH}:
            return None
        if echo.before is None:
            raise OperationFailed("ENOENT", "it was not there before")
        return Metadata(echo.before)

    def _after(self, echo: Echo, request: AnyRequest, caller: Caller) -> AnyReply | None:
        """The answer to the call itself, None when it is otherwise by now."""
        there = self._there(echo.path, caller)
        if echo.call is Call.REMOVE:
            # What replaced it at once is made once more next.
            return Done() if there is None or echo.now is not None else None
        if there is None:
            return None
        if echo.call is Call.RENAME:
            left = echo.source is None or not _same(echo.now, self._there(echo.source, caller))
            return Done() if left and _same(echo.now, there) else None
        if echo.now is None or stat.S_IFMT(echo.now.mode) != stat.S_IFMT(there.mode):
            return None
        if isinstance(request, (requests.CreateFile, requests.OpenFile)):
            return OpenedFile(next(self._handles), there)
        return Metadata(there)

    def _there(self, path: RelativePath, caller: Caller) -> FileMetadata | None:
        """What is at `path` now, as far as can be told."""
        try:
            return self.inner.get_metadata(requests.GetMetadata(path), caller).metadata
        except OperationFailed as failure:
            if failure.code not in {"ENOENT", "ENOTDIR"}:
                raise
            return None


def _is_planned(echo: Echo, request: AnyRequest) -> bool:
    if isinstance(request, requests.RenamePath):
        planned = (echo.source, echo.path, 0)
        return echo.call is Call.RENAME and (request.source, request.destination, request.flags) == planned
    if getattr(request, "path", None) != echo.path:
        return False
    match echo.call:
        case Call.MAKE:
            kind = stat.S_IFMT(echo.now.mode) if echo.now is not None else 0
            return isinstance(request, _MAKING.get(kind, requests.CreateNode))
        case Call.REMOVE:
            return isinstance(request, (requests.DeleteFile, requests.RemoveDir))
        case Call.WRITE:
            return isinstance(request, requests.OpenFile) or (
                isinstance(request, requests.SetMetadata) and request.size is not None
            )
        case Call.TOUCH:
            return isinstance(request, requests.SetMetadata) and request.mtime_ns is not None
    return False


def _same(one: FileMetadata | None, other: FileMetadata | None) -> bool:
    return one is not None and other is not None and (one.volume, one.inode) == (other.volume, other.inode)
