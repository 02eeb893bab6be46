"""Between libfuse's C structures and plain Python values: one method a callback, for libfuse 3 and for libfuse 2.

The one rule: nothing is decided here. Paths are bytes (None where libfuse gives only a handle), numbers are integers,
buffers are copied exactly once; what an operation means is the business of `Callbacks`.

`fuse_binding` mixes this into the binding's own FUSE class, which looks its methods up by name: ``x_fuse_3`` and
``x_fuse_2`` where the two libraries differ, ``x`` where they agree.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from schema.attributes import FileMetadata, VolumeStatistics

_READDIR_PLUS = 1 << 0
_FILL_DIR_PLUS = 1 << 1
_BILLION = 10**9

_memory_view = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_view.restype = ctypes.py_object
_memory_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_WRITABLE = 0x200


class Opened(NamedTuple):
    """An open file: libfuse's `fh`, whether the kernel's page cache must stay out of it, and whether to trust it."""

    handle: int
    direct_io: bool
    keep_pages: bool


class ListedEntry(NamedTuple):
    """A directory entry with the offset of the next one. `metadata` where known; `inode` is never 0."""

    name: bytes
    inode: int
    type: int
    metadata: FileMetadata | None
    next_offset: int


class RecordLock(Protocol):
    """struct flock of fcntl(2), `l_whence` SEEK_SET, as libfuse passes it to be read and, for F_GETLK, changed."""

    l_type: int
    l_whence: int
    l_start: int
    l_len: int
    l_pid: int


class Callbacks(Protocol):
    """What the translation calls, named and numbered as struct fuse_operations of libfuse 3."""

    def getattr(self, path: bytes | None, handle: int | None) -> FileMetadata: ...
    def readlink(self, path: bytes) -> bytes: ...
    def mknod(self, path: bytes, mode: int, device: int) -> None: ...
    def mkdir(self, path: bytes, mode: int) -> None: ...
    def unlink(self, path: bytes) -> None: ...
    def rmdir(self, path: bytes) -> None: ...
    def symlink(self, target: bytes, path: bytes) -> None: ...
    def rename(self, source: bytes, destination: bytes, flags: int) -> None: ...
    def link(self, existing: bytes, path: bytes) -> None: ...
    def chmod(self, path: bytes | None, mode: int, handle: int | None) -> None: ...
    def chown(self, path: bytes | None, uid: int | None, gid: int | None, handle: int | None) -> None: ...
    def truncate(self, path: bytes | None, size: int, handle: int | None) -> None: ...
    def utimens(
        self, path: bytes | None, atime: tuple[int, int], mtime: tuple[int, int], handle: int | None
    ) -> None: ...
    def open(self, path: bytes, flags: int) -> Opened: ...
    def create(self, path: bytes, mode: int, flags: int) -> Opened: ...
    def read(self, handle: int, size: int, offset: int) -> memoryview: ...
    def write(self, handle: int, data: bytes, offset: int) -> int: ...
    def statfs(self, path: bytes) -> VolumeStatistics: ...
    def flush(self, handle: int, owner: int) -> None: ...
    def release(self, handle: int) -> None: ...
    def fsync(self, handle: int, data_only: bool) -> None: ...
    def setxattr(self, path: bytes, name: bytes, value: bytes, flags: int) -> None: ...
    def getxattr(self, path: bytes, name: bytes) -> bytes: ...
    def listxattr(self, path: bytes) -> tuple[bytes, ...]: ...
    def removexattr(self, path: bytes, name: bytes) -> None: ...
    def opendir(self, path: bytes) -> int: ...
    def readdir(self, handle: int, offset: int, *, plus: bool) -> Iterable[ListedEntry]: ...
    def releasedir(self, handle: int) -> None: ...
    def fsyncdir(self, handle: int, data_only: bool) -> None: ...
    def access(self, path: bytes, mode: int) -> None: ...
    def lock(self, handle: int, command: int, lock: RecordLock, owner: int) -> None: ...
    def flock(self, handle: int, operation: int, owner: int) -> None: ...
    def fallocate(self, handle: int, mode: int, offset: int, length: int) -> None: ...
    def copy_file_range(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int: ...
    def lseek(self, handle: int, offset: int, whence: int) -> int: ...
    def destroy(self) -> None: ...


def _handle(info: Any) -> int | None:
    return int(info.contents.fh) if info else None


def _owner_id(number: int) -> int | None:
    return None if number == 0xFFFF_FFFF else number


def fill_stat(stat: Any, metadata: FileMetadata) -> None:
    """Write `metadata` into a struct stat(2), to the nanosecond."""
    stat.st_ino = metadata.inode
    stat.st_mode = metadata.mode
    stat.st_nlink = metadata.links
    stat.st_uid = metadata.uid
    stat.st_gid = metadata.gid
    stat.st_rdev = metadata.device
    stat.st_size = metadata.size
    stat.st_blksize = metadata.block_size
    stat.st_blocks = metadata.blocks
    for time, nanoseconds in (
        (stat.st_atimespec, metadata.atime_ns),
        (stat.st_mtimespec, metadata.mtime_ns),
        (stat.st_ctimespec, metadata.ctime_ns),
    ):
        time.tv_sec, time.tv_nsec = divmod(nanoseconds, _BILLION)


def _answer_bytes(value: bytes, buffer: Any, size: int) -> int:
    """The protocol of getxattr(2) and listxattr(2): the length when no buffer is given, ERANGE when it is too small."""
    if not size:
        return len(value)
    if len(value) > size:
        raise OSError(errno.ERANGE, "the buffer is too small for the extended attribute")
    ctypes.memmove(buffer, value, len(value))
    return len(value)


class Translation:
    """The callbacks as libfuse calls them. `operations` and `new_stat` are set by the class it is mixed into."""

    operations: Callbacks
    new_stat: Callable[[], Any]

    def _fill(self, path: bytes | None, buffer: Any, info: Any) -> None:
        ctypes.memset(buffer, 0, ctypes.sizeof(buffer.contents))
        fill_stat(buffer.contents, self.operations.getattr(path, _handle(info)))

    def getattr_fuse_3(self, path: bytes | None, buffer: Any, info: Any) -> None:
        self._fill(path, buffer, info)

    def getattr_fuse_2(self, path: bytes, buffer: Any) -> None:
        self._fill(path, buffer, None)

    def fgetattr(self, path: bytes | None, buffer: Any, info: Any) -> None:
        self._fill(path, buffer, info)

    def readlink(self, path: bytes, buffer: Any, size: int) -> None:
        target = self.operations.readlink(path)[: size - 1] + b"\0"
        ctypes.memmove(buffer, target, len(target))

    def mknod(self, path: bytes, mode: int, device: int) -> None:
        self.operations.mknod(path, mode, device)

    def mkdir(self, path: bytes, mode: int) -> None:
        self.operations.mkdir(path, mode)

    def unlink(self, path: bytes) -> None:
        self.operations.unlink(path)

    def rmdir(self, path: bytes) -> None:
        self.operations.rmdir(path)

    def symlink(self, target: bytes, path: bytes) -> None:
        self.operations.symlink(target, path)

    def rename_fuse_3(self, source: bytes, destination: bytes, flags: int) -> None:
        self.operations.rename(source, destination, flags)

    def rename_fuse_2(self, source: bytes, destination: bytes) -> None:
        self.operations.rename(source, destination, 0)

    def link(self, existing: bytes, path: bytes) -> None:
        self.operations.link(existing, path)

    def chmod_fuse_3(self, path: bytes | None, mode: int, info: Any) -> None:
        self.operations.chmod(path, mode, _handle(info))

    def chmod_fuse_2(self, path: bytes, mode: int) -> None:
        self.operations.chmod(path, mode, None)

    def chown_fuse_3(self, path: bytes | None, uid: int, gid: int, info: Any) -> None:
        self.operations.chown(path, _owner_id(uid), _owner_id(gid), _handle(info))

    def chown_fuse_2(self, path: bytes, uid: int, gid: int) -> None:
        self.operations.chown(path, _owner_id(uid), _owner_id(gid), None)

    def truncate_fuse_3(self, path: bytes | None, size: int, info: Any) -> None:
        self.operations.truncate(path, size, _handle(info))

    def truncate_fuse_2(self, path: bytes, size: int) -> None:
        self.operations.truncate(path, size, None)

    def ftruncate(self, path: bytes | None, size: int, info: Any) -> None:
        self.operations.truncate(path, size, _handle(info))

    def utimens_fuse_3(self, path: bytes | None, times: Any, info: Any) -> None:
        atime, mtime = times.contents.actime, times.contents.modtime
        self.operations.utimens(path, (atime.tv_sec, atime.tv_nsec), (mtime.tv_sec, mtime.tv_nsec), _handle(info))

    def utimens_fuse_2(self, path: bytes, times: Any) -> None:
        self.utimens_fuse_3(path, times, None)

    def open(self, path: bytes, info: Any) -> None:
        self._opened(info.contents, self.operations.open(path, info.contents.flags))

    def create(self, path: bytes, mode: int, info: Any) -> None:
        self._opened(info.contents, self.operations.create(path, mode, info.contents.flags))

    @staticmethod
    def _opened(info: Any, opened: Opened) -> None:
        info.fh = opened.handle
        info.direct_io = opened.direct_io
        # Otherwise the kernel drops the pages that it holds of the file: whoever closed it, we see what they wrote.
        info.keep_cache = opened.keep_pages

    def read(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        data = self.operations.read(info.contents.fh, size, offset)
        if len(data) > size:
            raise OSError(errno.EPROTO, f"asked for {size} bytes and was given {len(data)}")
        if data:
            _memory_view(buffer, len(data), _WRITABLE)[:] = data
        return len(data)

    def write(self, path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        # One copy, since libfuse takes its buffer back when we return and layers below may hold on to the data.
        return self.operations.write(info.contents.fh, ctypes.string_at(buffer, size), offset)

    def statfs(self, path: bytes, buffer: Any) -> None:
        answer, volume = buffer.contents, self.operations.statfs(path)
        answer.f_bsize = volume.block_size
        answer.f_frsize = volume.fragment_size
        answer.f_blocks = volume.blocks
        answer.f_bfree = volume.blocks_free
        answer.f_bavail = volume.blocks_available
        answer.f_files = volume.files
        answer.f_ffree = volume.files_free
        answer.f_favail = volume.files_available
        answer.f_flag = volume.flags
        answer.f_namemax = volume.name_max

    def flush(self, path: bytes | None, info: Any) -> None:
        self.operations.flush(info.contents.fh, info.contents.lock_owner)

    def release(self, path: bytes | None, info: Any) -> None:
        self.operations.release(info.contents.fh)

    def fsync(self, path: bytes | None, data_only: int, info: Any) -> None:
        self.operations.fsync(info.contents.fh, bool(data_only))

    def setxattr(self, path: bytes, name: bytes, value: Any, size: int, flags: int) -> None:
        self.operations.setxattr(path, name, ctypes.string_at(value, size), flags)

    def getxattr(self, path: bytes, name: bytes, buffer: Any, size: int) -> int:
        return _answer_bytes(self.operations.getxattr(path, name), buffer, size)

    def listxattr(self, path: bytes, buffer: Any, size: int) -> int:
        return _answer_bytes(b"".join(name + b"\0" for name in self.operations.listxattr(path)), buffer, size)

    def removexattr(self, path: bytes, name: bytes) -> None:
        self.operations.removexattr(path, name)

    def opendir(self, path: bytes, info: Any) -> None:
        info.contents.fh = self.operations.opendir(path)

    def readdir_fuse_3(  # noqa: PLR0917 - the order is fuse.h's
        self, path: bytes | None, buffer: Any, fill: Any, offset: int, info: Any, flags: int
    ) -> None:
        plus = bool(flags & _READDIR_PLUS)
        stat = self.new_stat()
        for entry in self.operations.readdir(info.contents.fh, offset, plus=plus):
            whole = plus and entry.metadata is not None
            self._fill_entry(stat, entry)
            if fill(buffer, entry.name, ctypes.byref(stat), entry.next_offset, _FILL_DIR_PLUS if whole else 0):
                return

    def readdir_fuse_2(self, path: bytes | None, buffer: Any, fill: Any, offset: int, info: Any) -> None:
        stat = self.new_stat()
        for entry in self.operations.readdir(info.contents.fh, offset, plus=False):
            self._fill_entry(stat, entry)
            if fill(buffer, entry.name, ctypes.byref(stat), entry.next_offset):
                return

    @staticmethod
    def _fill_entry(stat: Any, entry: ListedEntry) -> None:
        if entry.metadata is not None:
            fill_stat(stat, entry.metadata)
        else:
            stat.st_ino, stat.st_mode = entry.inode, entry.type

    def releasedir(self, path: bytes | None, info: Any) -> None:
        self.operations.releasedir(info.contents.fh)

    def fsyncdir(self, path: bytes | None, data_only: int, info: Any) -> None:
        self.operations.fsyncdir(info.contents.fh, bool(data_only))

    def access(self, path: bytes, mode: int) -> None:
        self.operations.access(path, mode)

    def lock(self, path: bytes | None, info: Any, command: int, lock: Any) -> None:
        self.operations.lock(info.contents.fh, command, lock.contents, info.contents.lock_owner)

    def flock(self, path: bytes | None, info: Any, operation: int) -> None:
        self.operations.flock(info.contents.fh, operation, info.contents.lock_owner)

    def fallocate(self, path: bytes | None, mode: int, offset: int, length: int, info: Any) -> None:
        self.operations.fallocate(info.contents.fh, mode, offset, length)

    def copy_file_range(  # noqa: PLR0917 - the order is fuse.h's
        self,
        path: bytes | None,
        info: Any,
        offset: int,
        to: bytes | None,
        to_info: Any,
        to_offset: int,
        length: int,
        flags: int,
    ) -> int:
        return self.operations.copy_file_range(info.contents.fh, offset, to_info.contents.fh, to_offset, length)

    def lseek(self, path: bytes | None, offset: int, whence: int, info: Any) -> int:
        return self.operations.lseek(info.contents.fh, offset, whence)

    def destroy(self, private: Any) -> None:
        self.operations.destroy()
