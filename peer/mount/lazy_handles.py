"""Handles of files that are not open at the agent until something needs them there.

The one rule: a handle stands for the file that was promised, whatever has its name by the time that it is opened. Where
that file is not to be had any more, what was promised of it is all that is given, and only as it was: POSIX keeps the
content of a removed file for those who have it open.

A promise is made of the attributes and the generation of a file that the agent is known to open for the caller. To
close it asks for nothing, and nor does what the layer outside answers; everything else opens the file first, once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from peer.mount.open_handles import identity_of
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.paths import RelativePath
from schema.replies import Copied, Done, FileData, Metadata
from schema.requests import AnyRequest, Caller, CloseFile, CopyRange, GetMetadata, OpenFile, ReadFile

R = TypeVar("R")

FIRST: Final = 1 << 61
"""Handles from here on are promises; `durable_handles` does not count so far, and `pretence` begins beyond."""
_GONE: Final = frozenset({"ENOENT", "ENOTDIR", "ELOOP", "EISDIR", "ENXIO"})
"""What opening says when something else, or nothing, has the name."""
_DENIED: Final = frozenset({"EACCES", "EPERM"})
_STALE: Final = "ESTALE"


@dataclass(slots=True)
class _Promise:
    """`handle` is that of the file system inside, once it is open there; `gone`: it cannot be any more."""

    caller: Caller
    metadata: FileMetadata
    generation: int
    handle: int | None = None
    gone: bool = False


class LazyHandles(Decorator):
    """A `FileSystem` that takes promised handles as well. `path_of(handle)` says where a promised file is now."""

    def __init__(self, inner: FileSystem, contents: Contents, path_of: Callable[[int], RelativePath | None]) -> None:
        super().__init__(inner)
        self._contents: Final = contents
        self._path_of: Final = path_of
        self._lock: Final = threading.Lock()
        self._next = FIRST
        self._promises: Final[dict[int, _Promise]] = {}

    def promise(self, caller: Caller, metadata: FileMetadata, generation: int) -> int:
        """A handle to read the file that has these attributes and this generation, which `caller` may open."""
        with self._lock:
            handle = self._next
            self._next += 1
            self._promises[handle] = _Promise(caller, metadata, generation)
        return handle

    def open_now(self, handles: frozenset[int]) -> None:
        """Open those of `handles` that are promised, if it can be done: their name is about to go."""
        for handle in handles & self._promises.keys():
            with contextlib.suppress(OperationFailed):  # then what is stored remains
                self._opened(handle)

    def stands_for(self, handle: int, metadata: FileMetadata) -> bool:
        """Whether what is at the path of `handle`, with these attributes, is its file, as far as can be told.

        An inode number is nobody else's while the agent has the file open, and may be another file's before.
        """
        promise = self._promises.get(handle)
        return promise is None or promise.handle is not None or metadata.version == promise.metadata.version

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        if request.handle < FIRST:
            return self.inner.close_file(request, caller)
        with self._lock:
            promise = self._promises.pop(request.handle, None)
        if promise is None or promise.handle is None:
            return Done()
        return self.inner.close_file(CloseFile(promise.handle), caller)

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        """See `FileSystem`."""
        if request.handle < FIRST:
            return self.inner.read_file(request, caller)
        try:
            return self.inner.read_file(_with_handle(request, self._opened(request.handle)), caller)
        except OperationFailed as failure:
            metadata = self._last_known(request.handle, failure)
            data = self._contents.read(metadata.volume, metadata.version, request.offset, request.size)
            if data is None:
                raise
            return FileData(data)

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        if request.handle < FIRST:
            return self.inner.get_metadata(request, caller)
        try:
            return self.inner.get_metadata(_with_handle(request, self._opened(request.handle)), caller)
        except OperationFailed as failure:
            return Metadata(msgspec.structs.replace(self._last_known(request.handle, failure), links=0))

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        """See `FileSystem`."""
        source = self._opened(request.handle) if request.handle >= FIRST else request.handle
        target = self._opened(request.target) if request.target >= FIRST else request.target
        return self.inner.copy_range(msgspec.structs.replace(request, handle=source, target=target), caller)

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        handle: int = getattr(request, "handle", 0)
        if handle >= FIRST:
            request = _with_handle(request, self._opened(handle))
        return super()._perform(request, caller, reply)

    def _opened(self, number: int) -> int:
        """The handle inside of a promised one. Raises `OperationFailed`: ESTALE when the file is gone."""
        promise = self._promises.get(number)
        if promise is None:
            raise _unknown(number)
        if promise.handle is not None:
            return promise.handle
        # No lock is held across a question, so two may have asked: the first handle is kept, whatever has become of
        # the name when the other one asked.
        failure: OperationFailed | None = None
        opened: int | None = None
        try:
            opened = self._open(number, promise)
        except OperationFailed as refused:
            failure = refused
        with self._lock:
            if self._promises.get(number) is promise:
                promise.handle = promise.handle or opened
            kept = promise.handle
        if opened is not None and kept != opened:
            self._give_back(opened, promise)
        if kept is None:
            raise failure or _unknown(number)  # nobody could, or it was closed meanwhile
        return kept

    def _open(self, number: int, promise: _Promise) -> int:
        path = self._path_of(number)
        if path is None or promise.gone:
            raise _gone(promise)
        try:
            opened = self.inner.open_file(OpenFile(path, os.O_RDONLY), promise.caller)
        except OperationFailed as failure:
            if failure.code in _GONE or (failure.code in _DENIED and self._is_another(path, promise)):
                raise _gone(promise) from failure
            raise
        promised = promise.metadata.volume, promise.metadata.inode, promise.generation
        if identity_of(opened) != promised:
            self._give_back(opened.handle, promise)
            raise _gone(promise)
        return opened.handle

    def _is_another(self, path: RelativePath, promise: _Promise) -> bool:
        """Whether what may not be opened at `path` is another file than was promised."""
        try:
            there = self.inner.get_metadata(GetMetadata(path), promise.caller).metadata
        except OperationFailed:
            return False
        return (there.volume, there.inode) != (promise.metadata.volume, promise.metadata.inode)

    def _give_back(self, handle: int, promise: _Promise) -> None:
        with contextlib.suppress(OperationFailed):  # the agent's lease on us closes what this does not
            self.inner.close_file(CloseFile(handle), promise.caller)

    def _last_known(self, number: int, failure: OperationFailed) -> FileMetadata:
        """What was promised of a file that is gone; raises `failure` where it says something else."""
        promise = self._promises.get(number)
        if failure.code != _STALE or promise is None or promise.handle is not None:
            raise failure
        return promise.metadata


def _unknown(number: int) -> OperationFailed:
    return OperationFailed("EBADF", f"no open file has the handle {number}")


def _gone(promise: _Promise) -> OperationFailed:
    promise.gone = True
    return OperationFailed(_STALE, "the file was removed or replaced after it was opened here")


Request = TypeVar("Request", bound=AnyRequest)


def _with_handle(request: Request, handle: int) -> Request:
    return msgspec.structs.replace(request, handle=handle)
