"""A short way to say in a test what is asked of a file system and what is expected of it.

The one rule: nothing is interpreted here. Each method makes one kind of request (`put` and `get` make several) and
gives back the reply's content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from peer.errors import OperationFailed
from peer.filesystem import FileSystem
from schema.attributes import FileMetadata
from schema.failure_codes import STALE_HANDLE, errno_of
from schema.limits import MAX_PAGE_ENTRIES
from schema.replies import DirectoryEntry, DirectoryPage, LockState
from schema.requests import (
    NAMELESS,
    AllocateSpace,
    Caller,
    CheckAccess,
    CloseFile,
    CopyRange,
    CreateDir,
    CreateFile,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    GetMetadata,
    GetXattr,
    ListDir,
    ListXattrs,
    LockFile,
    LockMode,
    LockStyle,
    OpenFile,
    ReadFile,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SeekData,
    SetMetadata,
    SetXattr,
    TestLock,
    WriteFile,
)

Where = bytes | tuple[bytes, ...]
"""A place below the directory under test: ``b"a/b"``, or components where a name is unusual."""

LONG_AGO: Final = 1_000_000_000_000_000_000
"""A time in nanoseconds that every change of today is after."""


@contextmanager
def refused(*codes: str) -> Iterator[None]:
    """The block must fail with one of `codes`; names of one errno (EAGAIN, EWOULDBLOCK) count as the same."""
    with pytest.raises(OperationFailed) as caught:
        yield
    got = caught.value.code
    assert errno_of(got) in {errno_of(code) for code in codes}, f"expected {codes}, got {caught.value}"
    if got == STALE_HANDLE:
        assert STALE_HANDLE in codes, f"expected {codes}, got {caught.value}"


class Files:
    """The directory `root` of `filesystem`, used as `caller`."""

    def __init__(self, filesystem: FileSystem, root: tuple[bytes, ...] = (), caller: Caller | None = None) -> None:
        self.filesystem: Final = filesystem
        self.root: Final = root
        self.caller: Final = caller or Caller(os.getuid(), os.getgid(), (), 0o022)
        self._handles: Final[set[int]] = set()

    def at(self, where: Where) -> tuple[bytes, ...]:
        """The path of `where` as requests carry it."""
        if isinstance(where, bytes):
            where = tuple(where.split(b"/")) if where else ()
        return self.root + where

    def _of(self, file: Where | int) -> tuple[tuple[bytes, ...], int]:
        return (NAMELESS, file) if isinstance(file, int) else (self.at(file), 0)

    # -- attributes

    def stat(self, file: Where | int) -> FileMetadata:
        path, handle = self._of(file)
        return self.filesystem.get_metadata(GetMetadata(path, handle), self.caller).metadata

    def change(
        self,
        file: Where | int,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        size: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> FileMetadata:
        path, handle = self._of(file)
        request = SetMetadata(path, handle, mode, uid, gid, size, atime_ns, mtime_ns)
        return self.filesystem.set_metadata(request, self.caller).metadata

    def access(self, where: Where, mode: int) -> None:
        self.filesystem.check_access(CheckAccess(self.at(where), mode), self.caller)

    # -- names

    def page(
        self, where: Where = b"", after: bytes = b"", limit: int = MAX_PAGE_ENTRIES, *, metadata: bool = True
    ) -> DirectoryPage:
        return self.filesystem.list_dir(ListDir(self.at(where), after, limit, metadata), self.caller)

    def entries(self, where: Where = b"", limit: int = MAX_PAGE_ENTRIES) -> list[DirectoryEntry]:
        """All entries, page by page."""
        found: list[DirectoryEntry] = []
        while True:
            page = self.page(where, found[-1].name if found else b"", limit)
            found += page.entries
            if page.complete:
                return found
            assert page.entries, "a page that is not the last one says something"

    def names(self, where: Where = b"", limit: int = MAX_PAGE_ENTRIES) -> list[bytes]:
        return [entry.name for entry in self.entries(where, limit)]

    def mkdir(self, where: Where, mode: int = 0o777) -> FileMetadata:
        return self.filesystem.create_dir(CreateDir(self.at(where), mode), self.caller).metadata

    def rmdir(self, where: Where) -> None:
        self.filesystem.remove_dir(RemoveDir(self.at(where)), self.caller)

    def unlink(self, where: Where) -> None:
        self.filesystem.delete_file(DeleteFile(self.at(where)), self.caller)

    def rename(self, source: Where, destination: Where, flags: int = 0) -> None:
        self.filesystem.rename_path(RenamePath(self.at(source), self.at(destination), flags), self.caller)

    def link(self, existing: Where, where: Where) -> FileMetadata:
        return self.filesystem.create_link(CreateLink(self.at(existing), self.at(where)), self.caller).metadata

    def symlink(self, target: bytes, where: Where) -> FileMetadata:
        return self.filesystem.create_symlink(CreateSymlink(self.at(where), target), self.caller).metadata

    def readlink(self, where: Where) -> bytes:
        return self.filesystem.read_symlink(ReadSymlink(self.at(where)), self.caller).target

    def mknod(self, where: Where, mode: int, device: int = 0) -> FileMetadata:
        return self.filesystem.create_node(CreateNode(self.at(where), mode, device), self.caller).metadata

    # -- open files

    def open(self, where: Where, flags: int = os.O_RDWR) -> int:
        return self._kept(self.filesystem.open_file(OpenFile(self.at(where), flags), self.caller).handle)

    def first_bytes(self, where: Where, size: int, flags: int = os.O_RDONLY) -> bytes:
        """What opening says of the beginning of the file."""
        opened = self.filesystem.open_file(OpenFile(self.at(where), flags, size), self.caller)
        self._kept(opened.handle)
        return bytes(opened.data)

    def create(self, where: Where, flags: int = os.O_RDWR, mode: int = 0o666) -> int:
        return self._kept(self.filesystem.create_file(CreateFile(self.at(where), flags, mode), self.caller).handle)

    def _kept(self, handle: int) -> int:
        assert handle > 0, "0 means no handle"
        assert handle not in self._handles, "two open files have two handles"
        self._handles.add(handle)
        return handle

    def close(self, handle: int) -> None:
        self._handles.discard(handle)
        self.filesystem.close_file(CloseFile(handle), self.caller)

    def close_all(self) -> None:
        """Give back the handles that are still open."""
        for handle in tuple(self._handles):
            self.close(handle)

    def read(self, handle: int, offset: int = 0, size: int = 65_536) -> bytes:
        return bytes(self.filesystem.read_file(ReadFile(handle, offset, size), self.caller).data)

    def write(self, handle: int, offset: int, data: bytes) -> FileMetadata:
        """Write all of `data`."""
        written = self.filesystem.write_file(WriteFile(handle, offset, memoryview(data)), self.caller)
        assert written.size == len(data)
        return written.metadata

    def put(self, where: Where, data: bytes = b"") -> None:
        """A file with this content, closed."""
        handle = self.create(where, os.O_WRONLY | os.O_TRUNC)
        if data:
            self.write(handle, 0, data)
        self.close(handle)

    def get(self, where: Where) -> bytes:
        """The content of a file of up to 64 KiB."""
        handle = self.open(where, os.O_RDONLY)
        data = self.read(handle)
        self.close(handle)
        return data

    def allocate(self, handle: int, mode: int, offset: int, length: int) -> FileMetadata:
        return self.filesystem.allocate_space(AllocateSpace(handle, mode, offset, length), self.caller).metadata

    def copy(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int:
        """Bytes copied, asking again until the end of the source or all of `length`."""
        done = 0
        while done < length:
            request = CopyRange(source, offset + done, target, target_offset + done, length - done)
            copied = self.filesystem.copy_range(request, self.caller).size
            if copied == 0:
                break
            done += copied
        return done

    def seek(self, handle: int, offset: int, whence: int) -> int:
        return self.filesystem.seek_data(SeekData(handle, offset, whence), self.caller).offset

    # -- extended attributes

    def getxattr(self, file: Where | int, name: bytes) -> bytes:
        path, handle = self._of(file)
        return self.filesystem.get_xattr(GetXattr(path, handle, name=name), self.caller).value

    def setxattr(self, file: Where | int, name: bytes, value: bytes, flags: int = 0) -> None:
        path, handle = self._of(file)
        self.filesystem.set_xattr(SetXattr(path, handle, name=name, value=value, flags=flags), self.caller)

    def xattrs(self, file: Where | int) -> set[bytes]:
        path, handle = self._of(file)
        return set(self.filesystem.list_xattrs(ListXattrs(path, handle), self.caller).names)

    def removexattr(self, file: Where | int, name: bytes) -> None:
        path, handle = self._of(file)
        self.filesystem.remove_xattr(RemoveXattr(path, handle, name=name), self.caller)

    # -- locks

    def lock(
        self, handle: int, owner: int, mode: LockMode, start: int = 0, length: int = 0, *, wait_ms: int = 0
    ) -> None:
        request = LockFile(handle, owner, LockStyle.FCNTL, mode, start, length, wait_ms)
        self.filesystem.lock_file(request, self.caller)

    def flock(self, handle: int, mode: LockMode, *, owner: int = 1, wait_ms: int = 0) -> None:
        self.filesystem.lock_file(LockFile(handle, owner, LockStyle.FLOCK, mode, 0, 0, wait_ms), self.caller)

    def blocker(self, handle: int, owner: int, mode: LockMode, start: int = 0, length: int = 0) -> LockState:
        return self.filesystem.test_lock(TestLock(handle, owner, mode, start, length), self.caller)
