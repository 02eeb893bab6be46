"""What a client may ask of an agent: one struct an operation, numbered for good by its tag.

A request is also the argument list of the `FileSystem` method of the same name, so that every layer between the FUSE
callback and the system call speaks of an operation in the same words.

The one rule: a request says everything the operation depends on. Nothing is remembered between two of them but open
files, by their handle. `handle` 0 means none: then `path` says which file, and it is never followed when it names a
symbolic link.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec

from schema.fingerprints import SALT_SIZE
from schema.known_names import KnownDirectory, KnownName
from schema.limits import (
    MAX_DATA,
    MAX_GROUPS,
    MAX_IN_FLIGHT,
    MAX_LINK_TARGET,
    MAX_PAGE_ENTRIES,
    MAX_XATTR_NAME,
    MAX_XATTR_VALUE,
)
from schema.paths import RelativePath

TIME_NOW: Final = -(2**62)
"""In place of a time: the agent's clock, as UTIME_NOW of utimensat(2). None leaves a time alone, as UTIME_OMIT."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U64 = Annotated[int, msgspec.Meta(ge=0)]
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o177777)]
TransferSize = Annotated[int, msgspec.Meta(ge=0, le=MAX_DATA)]
LinkTarget = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_LINK_TARGET)]
AttributeName = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_XATTR_NAME)]
AttributeValue = Annotated[bytes, msgspec.Meta(max_length=MAX_XATTR_VALUE)]

NAMELESS: Final[tuple[bytes, ...]] = ()

_Numbers = Annotated[tuple[U64, ...], msgspec.Meta(max_length=MAX_IN_FLIGHT)]


class Caller(msgspec.Struct, frozen=True, array_like=True):
    """On whose behalf: numeric ids of the calling process, its supplementary groups and its umask.

    An agent that preserves identities acts as this caller; one that maps them uses the umask only.
    """

    uid: U32
    gid: U32
    groups: Annotated[tuple[U32, ...], msgspec.Meta(max_length=MAX_GROUPS)] = ()
    umask: Annotated[int, msgspec.Meta(ge=0, le=0o777)] = 0


class RequestBody(msgspec.Struct, frozen=True, array_like=True):
    """Base of all requests."""


class _ByHandle(RequestBody, frozen=True):
    handle: U64


class _ByPath(RequestBody, frozen=True):
    path: RelativePath


class _OfFile(RequestBody, frozen=True):
    """A file by handle, or by path where there is no handle."""

    path: RelativePath = NAMELESS
    handle: U64 = 0


class Attach(_ByPath, frozen=True, tag=1):
    """Begin to use the directory `path`. Answered by `Attached`."""


class GetMetadata(_OfFile, frozen=True, tag=2):
    """fstatat(2) without following. Answered by `FileMetadata` in `Metadata`."""


class SetMetadata(_OfFile, frozen=True, tag=3):
    """chmod, chown, truncate and utimensat(2) in this order, in one step; None leaves a field alone.

    `atime_ns` and `mtime_ns` may be `TIME_NOW`. Answered by `Metadata`.
    """

    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)] | None = None
    uid: U32 | None = None
    gid: U32 | None = None
    size: Count | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class CheckAccess(_ByPath, frozen=True, tag=4):
    """access(2) with the R_OK, W_OK, X_OK bits of `mode`. Answered by `Done`."""

    mode: Annotated[int, msgspec.Meta(ge=0, le=7)]


class ListDir(_ByPath, frozen=True, tag=5):
    """One page of a directory in byte order of names, beginning after the name `after`; without ``.`` and ``..``.

    An entry that stays while the pages are read is in exactly one of them. With `metadata` each entry carries its
    attributes. Answered by `DirectoryPage`.
    """

    after: bytes = b""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE_ENTRIES)] = MAX_PAGE_ENTRIES
    metadata: bool = True


class OpenFile(_ByPath, frozen=True, tag=6):
    """open(2) of an existing file with the access mode, O_APPEND, O_TRUNC and O_DIRECT bits of `flags` (Linux values).

    With `first_bytes` the answer carries up to so many bytes from the beginning, where the handle may read.
    Answered by `OpenedFile`.
    """

    flags: U32
    first_bytes: TransferSize = 0


class CreateFile(_ByPath, frozen=True, tag=7):
    """open(2) with O_CREAT and the further `flags` (O_EXCL among them). Answered by `OpenedFile`."""

    flags: U32
    mode: Mode


class ReadFile(_ByHandle, frozen=True, tag=8):
    """pread(2); fewer bytes than `size` only at the end of the file. Answered by `FileData`."""

    offset: Count
    size: TransferSize


class WriteFile(_ByHandle, frozen=True, tag=9):
    """pwrite(2) of all of `data`, at the end of a file opened with O_APPEND. Answered by `Written`."""

    offset: Count
    data: memoryview


class FlushFile(_ByHandle, frozen=True, tag=10):
    """What close(2) of one descriptor may report, without closing the handle. Answered by `Done`."""


class SyncFile(_OfFile, frozen=True, tag=11):
    """fsync(2), fdatasync(2) when `data_only`; a directory by path. Answered by `Done`."""

    data_only: bool = False


class CloseFile(_ByHandle, frozen=True, tag=12):
    """Give a handle back, with the locks that it holds. Answered by `Done`."""


class CreateDir(_ByPath, frozen=True, tag=13):
    """mkdir(2). Answered by `Metadata`."""

    mode: Mode


class RemoveDir(_ByPath, frozen=True, tag=14):
    """rmdir(2). Answered by `Done`."""


class DeleteFile(_ByPath, frozen=True, tag=15):
    """unlink(2). Open handles stay good. Answered by `Done`."""


class RenamePath(RequestBody, frozen=True, tag=16):
    """renameat2(2) with `flags` 0, RENAME_NOREPLACE (1) or RENAME_EXCHANGE (2). Answered by `Done`."""

    source: RelativePath
    destination: RelativePath
    flags: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0


class CreateLink(RequestBody, frozen=True, tag=17):
    """link(2): `path` becomes another name of `existing`. Answered by `Metadata`."""

    existing: RelativePath
    path: RelativePath


class CreateSymlink(_ByPath, frozen=True, tag=18):
    """symlink(2): `path` becomes a symbolic link to `target`, stored as it is. Answered by `Metadata`."""

    target: LinkTarget


class ReadSymlink(_ByPath, frozen=True, tag=19):
    """readlink(2). Answered by `SymlinkTarget`."""


class CreateNode(_ByPath, frozen=True, tag=20):
    """mknod(2): fifo, socket, device or plain file as the type bits of `mode` say. Answered by `Metadata`."""

    mode: Mode
    device: U64 = 0


class StatVolume(_ByPath, frozen=True, tag=21):
    """statvfs(3) of the file system that holds `path`. Answered by `Volume`."""


class GetXattr(_OfFile, frozen=True, tag=22, kw_only=True):
    """lgetxattr(2). Answered by `XattrValue`."""

    name: AttributeName


class SetXattr(_OfFile, frozen=True, tag=23, kw_only=True):
    """lsetxattr(2) with `flags` 0, XATTR_CREATE (1) or XATTR_REPLACE (2). Answered by `Done`."""

    name: AttributeName
    value: AttributeValue
    flags: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0


class ListXattrs(_OfFile, frozen=True, tag=24):
    """llistxattr(2). Answered by `XattrNames`."""


class RemoveXattr(_OfFile, frozen=True, tag=25, kw_only=True):
    """lremovexattr(2). Answered by `Done`."""

    name: AttributeName


class LockStyle(enum.IntEnum):
    """Whose a lock is: of a process on an inode (fcntl(2) F_SETLK), or of an open file (flock(2))."""

    FCNTL = 0
    FLOCK = 1


class LockMode(enum.IntEnum):
    """What a lock allows others."""

    SHARED = 0
    EXCLUSIVE = 1
    UNLOCK = 2


class LockFile(_ByHandle, frozen=True, tag=26):
    """Take or give back a lock of `owner` (any number that tells the client's processes apart) on a range of bytes.

    `length` 0 reaches to the end of the file however it grows; FLOCK takes the whole file. With `wait` the agent
    answers when it has the lock, or EAGAIN once `wait_ms` milliseconds are over: then ask again. Without, EAGAIN
    at once. Answered by `Done`.
    """

    owner: U64
    style: LockStyle
    mode: LockMode
    start: Count = 0
    length: Count = 0
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=30_000)] = 0


class TestLock(_ByHandle, frozen=True, tag=27):
    """fcntl(2) F_GETLK: who would stand in the way. Answered by `LockState`."""

    owner: U64
    mode: LockMode
    start: Count = 0
    length: Count = 0


class AllocateSpace(_ByHandle, frozen=True, tag=28):
    """fallocate(2) with the `mode` bits of Linux, hole punching among them. Answered by `Metadata`."""

    mode: U32
    offset: Count
    length: Count


class CopyRange(_ByHandle, frozen=True, tag=29):
    """copy_file_range(2) from `handle` to `target`, both open at the agent. Answered by `Copied`."""

    offset: Count
    target: U64
    target_offset: Count
    length: Count


class SeekData(_ByHandle, frozen=True, tag=30):
    """lseek(2) with SEEK_DATA (3) or SEEK_HOLE (4). Answered by `Position`."""

    offset: Count
    whence: Annotated[int, msgspec.Meta(ge=3, le=4)]


class Cancel(RequestBody, frozen=True, tag=31):
    """Stop waiting in the request numbered `request` (a lock): it answers EINTR now. Answered by `Done`."""

    request: U64


class KeepAlive(RequestBody, frozen=True, tag=32):
    """The client is there, and wants its open files and locks kept. Answered by `Done`."""


class FollowChanges(_ByPath, frozen=True, tag=33):
    """Where to hear of changes at and below `path`: the feed that covers what this client may see there.

    Answered by `Following`.
    """


class FetchChanges(RequestBody, frozen=True, tag=34):
    """The changes numbered `first` and later of `epoch`, as many as fit. Answered by `Changes`.

    ESTALE when the epoch is over or `first` is no longer kept: then nothing cached may be trusted unchecked.
    """

    path: RelativePath
    epoch: U64
    first: U64


class VerifyMetadata(RequestBody, frozen=True, tag=35):
    """Which of `names`, those in each of `directories` in turn, differ. Answered by `VerifiedMetadata`."""

    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    directories: Annotated[tuple[KnownDirectory, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)]
    names: Annotated[tuple[KnownName, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)]


AnyRequest = (
    Attach
    | GetMetadata
    | SetMetadata
    | CheckAccess
    | ListDir
    | OpenFile
    | CreateFile
    | ReadFile
    | WriteFile
    | FlushFile
    | SyncFile
    | CloseFile
    | CreateDir
    | RemoveDir
    | DeleteFile
    | RenamePath
    | CreateLink
    | CreateSymlink
    | ReadSymlink
    | CreateNode
    | StatVolume
    | GetXattr
    | SetXattr
    | ListXattrs
    | RemoveXattr
    | LockFile
    | TestLock
    | AllocateSpace
    | CopyRange
    | SeekData
    | Cancel
    | KeepAlive
    | FollowChanges
    | FetchChanges
    | VerifyMetadata
)


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A numbered request, and what its sender waits for. Ids of one client instance increase.

    Every id up to `acknowledged` but this one and those in `waiting` has been answered or given up: its reply is not
    needed any more, and it must not be begun should it still arrive. `abandoned` are ids among those given up whose
    effect somebody has to undo: a file that they opened is to be closed.
    """

    id: U64
    acknowledged: U64
    caller: Caller
    body: AnyRequest
    waiting: _Numbers = ()
    abandoned: _Numbers = ()
