"""Open files that survive an agent's restart: opened again by path, proved to be the same, their locks taken again.

The one rule: a handle reads and writes the file that it was opened on or fails with ESTALE; never another file that
took its name.
"""

from __future__ import annotations

import contextlib
from typing import TypeVar

import msgspec

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from peer.mount.open_handles import OpenHandle, OpenHandles, identity_of
from schema.failure_codes import STALE_HANDLE
from schema.replies import Copied, Done, OpenedFile
from schema.requests import (
    AnyRequest,
    Caller,
    CloseFile,
    CopyRange,
    CreateFile,
    DeleteFile,
    GetMetadata,
    LockFile,
    OpenFile,
    RenamePath,
)

R = TypeVar("R")

_EXCHANGE = 2
_GONE = frozenset({"ENOENT", "ENOTDIR", "ELOOP"})
_TAKEN = frozenset({"EAGAIN", "EACCES"})
_RESTARTS = 4
"""Restarts of the agent that one operation outlives: one may come while the last is being mended."""


class DurableHandles(Decorator):
    """A `FileSystem` whose handles outlive those of the one inside, which may answer STALE_HANDLE at any time."""

    def __init__(self, inner: FileSystem) -> None:
        super().__init__(inner)
        self._handles = OpenHandles()

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        """See `FileSystem`."""
        return self._opened(request, caller, self.inner.open_file(request, caller))

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        """See `FileSystem`."""
        return self._opened(request, caller, self.inner.create_file(request, caller))

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        """See `FileSystem`. An agent that forgot the handle has closed it already."""
        handle = self._handles.remove(request.handle)
        if handle is None:
            return Done()
        with handle.mutex:
            agent_handle, handle.path = handle.agent_handle, None
        try:
            return self.inner.close_file(CloseFile(agent_handle), caller)
        except OperationFailed as failure:
            if failure.code != STALE_HANDLE:
                raise
            return Done()

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        answer = self._perform(request, caller, Done)
        handle = self._handles.get(request.handle)
        if handle is not None:
            self._handles.locked(handle, request)
        return answer

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        """See `FileSystem`. Of two handles, the agent does not say which is stale: each is looked at by itself."""
        for _ in range(_RESTARTS):
            try:
                return self.inner.copy_range(self._between(request), caller)
            except OperationFailed as failure:
                _raise_unless_stale(failure)
            for number in (request.handle, request.target):
                self.get_metadata(GetMetadata(handle=number), caller)
        return self.inner.copy_range(self._between(request), caller)

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        """See `FileSystem`."""
        answer = self.inner.rename_path(request, caller)
        self._handles.renamed(request.source, request.destination, exchanged=bool(request.flags & _EXCHANGE))
        return answer

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        answer = self.inner.delete_file(request, caller)
        self._handles.deleted(request.path)
        return answer

    def _opened(self, request: OpenFile | CreateFile, caller: Caller, opened: OpenedFile) -> OpenedFile:
        return msgspec.structs.replace(opened, handle=self._handles.add(request, caller, opened))

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        number: int = getattr(request, "handle", 0)
        if not number:
            return super()._perform(request, caller, reply)
        handle = self._known(number)
        for _ in range(_RESTARTS):
            agent_handle = handle.agent_handle
            try:
                return super()._perform(_with_handle(request, agent_handle), caller, reply)
            except OperationFailed as failure:
                _raise_unless_stale(failure)
            try:
                self._reopen(handle, agent_handle)
            except OperationFailed as failure:  # it may restart between the open and the locks, too
                _raise_unless_stale(failure)
        return super()._perform(_with_handle(request, handle.agent_handle), caller, reply)

    def _between(self, request: CopyRange) -> CopyRange:
        source, target = self._known(request.handle), self._known(request.target)
        return msgspec.structs.replace(request, handle=source.agent_handle, target=target.agent_handle)

    def _known(self, number: int) -> OpenHandle:
        handle = self._handles.get(number)
        if handle is None:
            # Closed by now: who asks by a handle that is not its own (see `removed_files`) is to look by name again.
            raise OperationFailed(STALE_HANDLE, f"no open file has the handle {number}")
        return handle

    def _reopen(self, handle: OpenHandle, stale: int) -> None:
        with handle.mutex:
            if handle.agent_handle != stale:
                return
            if handle.path is None:
                raise OperationFailed("ESTALE", "the agent restarted, and the open file has no name any more")
            try:
                opened = self.inner.open_file(OpenFile(handle.path, handle.flags), handle.caller)
            except OperationFailed as failure:
                if failure.code in _GONE:
                    raise OperationFailed("ESTALE", "the agent restarted, and the open file is gone") from failure
                raise
            try:
                _check_identity(handle, opened)
                self._lock_again(handle, opened.handle)
            except OperationFailed:
                with contextlib.suppress(OperationFailed):  # the agent's lease on us closes what this does not
                    self.inner.close_file(CloseFile(opened.handle), handle.caller)
                raise
            handle.agent_handle = opened.handle

    def _lock_again(self, handle: OpenHandle, agent_handle: int) -> None:
        try:
            for lock in handle.locks:
                self.inner.lock_file(msgspec.structs.replace(lock, handle=agent_handle, wait_ms=0), handle.caller)
        except OperationFailed as failure:
            if failure.code not in _TAKEN:
                raise
            # Whoever held the lock relied on it: this handle is not to work again when the other gives it back.
            handle.path = None
            raise OperationFailed("ESTALE", "the agent restarted, and somebody else took a lock meanwhile") from failure


def _raise_unless_stale(failure: OperationFailed) -> None:
    if failure.code != STALE_HANDLE:
        raise failure


def _check_identity(handle: OpenHandle, opened: OpenedFile) -> None:
    if identity_of(opened) != handle.identity:
        raise OperationFailed("ESTALE", "the agent restarted, and another file has the open file's name")


def _with_handle(request: AnyRequest, handle: int) -> AnyRequest:
    return msgspec.structs.replace(request, handle=handle)
