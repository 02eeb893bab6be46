"""The one interface of the house: a file system, one method an operation, named after the operation's request.

Every layer that answers for files has this shape: the agent's own file operations, the remote file system on the
laptop, and each decorator around it. A method takes the request and the caller and returns the reply's body.

The one rule: a method returns the reply that its request names or raises `OperationFailed`; a transport that cannot
answer in time raises it too, with ETIMEDOUT or EHOSTUNREACH. Nothing waits without a deadline.
"""

from __future__ import annotations

import abc
import re
from typing import Any, Final, Protocol, TypeVar, get_args

from peer.errors import OperationFailed
from schema.failure_codes import MALFORMED
from schema.replies import (
    AnyReply,
    Attached,
    Changes,
    Copied,
    DirectoryPage,
    Done,
    FileData,
    Following,
    LockState,
    Metadata,
    OpenedFile,
    Position,
    SymlinkTarget,
    VerifiedMetadata,
    Volume,
    Written,
    XattrNames,
    XattrValue,
)
from schema.requests import (
    AllocateSpace,
    AnyRequest,
    Attach,
    Caller,
    Cancel,
    CheckAccess,
    CloseFile,
    CopyRange,
    CreateDir,
    CreateFile,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    FetchChanges,
    FlushFile,
    FollowChanges,
    GetMetadata,
    GetXattr,
    KeepAlive,
    ListDir,
    ListXattrs,
    LockFile,
    OpenFile,
    ReadFile,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    RequestBody,
    SeekData,
    SetMetadata,
    SetXattr,
    StatVolume,
    SyncFile,
    TestLock,
    VerifyMetadata,
    WriteFile,
)

R = TypeVar("R")


class FileSystem(Protocol):
    """What a file system can be asked. The requests' own docstrings say what each operation does."""

    def attach(self, request: Attach, caller: Caller) -> Attached: ...
    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata: ...
    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata: ...
    def check_access(self, request: CheckAccess, caller: Caller) -> Done: ...
    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage: ...
    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile: ...
    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile: ...
    def read_file(self, request: ReadFile, caller: Caller) -> FileData: ...
    def write_file(self, request: WriteFile, caller: Caller) -> Written: ...
    def flush_file(self, request: FlushFile, caller: Caller) -> Done: ...
    def sync_file(self, request: SyncFile, caller: Caller) -> Done: ...
    def close_file(self, request: CloseFile, caller: Caller) -> Done: ...
    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata: ...
    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done: ...
    def delete_file(self, request: DeleteFile, caller: Caller) -> Done: ...
    def rename_path(self, request: RenamePath, caller: Caller) -> Done: ...
    def create_link(self, request: CreateLink, caller: Caller) -> Metadata: ...
    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata: ...
    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget: ...
    def create_node(self, request: CreateNode, caller: Caller) -> Metadata: ...
    def stat_volume(self, request: StatVolume, caller: Caller) -> Volume: ...
    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue: ...
    def set_xattr(self, request: SetXattr, caller: Caller) -> Done: ...
    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames: ...
    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done: ...
    def lock_file(self, request: LockFile, caller: Caller) -> Done: ...
    def test_lock(self, request: TestLock, caller: Caller) -> LockState: ...
    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata: ...
    def copy_range(self, request: CopyRange, caller: Caller) -> Copied: ...
    def seek_data(self, request: SeekData, caller: Caller) -> Position: ...
    def follow_changes(self, request: FollowChanges, caller: Caller) -> Following: ...
    def fetch_changes(self, request: FetchChanges, caller: Caller) -> Changes: ...
    def verify_metadata(self, request: VerifyMetadata, caller: Caller) -> VerifiedMetadata: ...


class PerformedFileSystem(abc.ABC):
    """A `FileSystem` made of one function: each operation is `_perform` of its request, and the type of its reply.

    What carries requests elsewhere (over a wire, to another file system) derives from it and overrides the operations
    that it does more for.
    """

    @abc.abstractmethod
    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        """Do `request` and answer in the shape `reply`, or raise `OperationFailed`."""

    def attach(self, request: Attach, caller: Caller) -> Attached:
        return self._perform(request, caller, Attached)

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def check_access(self, request: CheckAccess, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage:
        return self._perform(request, caller, DirectoryPage)

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        return self._perform(request, caller, OpenedFile)

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        return self._perform(request, caller, OpenedFile)

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        return self._perform(request, caller, FileData)

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        return self._perform(request, caller, Written)

    def flush_file(self, request: FlushFile, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def sync_file(self, request: SyncFile, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def create_link(self, request: CreateLink, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget:
        return self._perform(request, caller, SymlinkTarget)

    def create_node(self, request: CreateNode, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def stat_volume(self, request: StatVolume, caller: Caller) -> Volume:
        return self._perform(request, caller, Volume)

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        return self._perform(request, caller, XattrValue)

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames:
        return self._perform(request, caller, XattrNames)

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        return self._perform(request, caller, Done)

    def test_lock(self, request: TestLock, caller: Caller) -> LockState:
        return self._perform(request, caller, LockState)

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        return self._perform(request, caller, Metadata)

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        return self._perform(request, caller, Copied)

    def seek_data(self, request: SeekData, caller: Caller) -> Position:
        return self._perform(request, caller, Position)

    def follow_changes(self, request: FollowChanges, caller: Caller) -> Following:
        return self._perform(request, caller, Following)

    def fetch_changes(self, request: FetchChanges, caller: Caller) -> Changes:
        return self._perform(request, caller, Changes)

    def verify_metadata(self, request: VerifyMetadata, caller: Caller) -> VerifiedMetadata:
        return self._perform(request, caller, VerifiedMetadata)


class Decorator(PerformedFileSystem):
    """A file system around another: what a subclass does not override goes through unchanged."""

    def __init__(self, inner: FileSystem) -> None:
        self.inner: Final = inner

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        return expect(perform(self.inner, request, caller), reply)


_METHODS: Final = {
    request: re.sub(r"(?<!^)(?=[A-Z])", "_", request.__name__).lower()
    for request in get_args(AnyRequest)
    if request not in (Cancel, KeepAlive)
}


def perform(filesystem: FileSystem, request: RequestBody, caller: Caller) -> AnyReply:
    """Do `request` by the method of its name. Raises `OperationFailed`, also for a request that is no operation."""
    method = _METHODS.get(type(request))
    if method is None:
        raise OperationFailed(MALFORMED, f"{type(request).__name__} is not an operation on files")
    answer: AnyReply = getattr(filesystem, method)(request, caller)
    return answer


def expect(reply: Any, shape: type[R]) -> R:
    """`reply` if it has the shape that its request promises; a peer that answers otherwise is at fault: EPROTO."""
    if isinstance(reply, shape):
        return reply
    raise OperationFailed(MALFORMED, f"expected {shape.__name__} as the answer, got {type(reply).__name__}")
