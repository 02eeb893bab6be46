"""The system calls on our own mount, from which the kernel makes its events.

The one rule: nothing but the mount itself is ever touched. Directories are opened beneath its root, through no link
and onto no other file system; what has been unmounted or mounted over is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from peer.mount.openat2 import BENEATH, NO_SYMLINKS, NO_XDEV, openat2
from peer.mount.watcher_echo.echoes import Call, Echo
from schema.attributes import FileMetadata
from schema.paths import RelativePath

_WITHIN: Final = BENEATH | NO_SYMLINKS | NO_XDEV
_EXECUTABLE: Final = 0o111


@contextlib.contextmanager
def directory(mountpoint: bytes, device: int, path: RelativePath) -> Iterator[int]:
    """A descriptor (O_PATH) of the directory `path` below what is mounted on `mountpoint` with the number `device`.

    Raises `OSError`; ENOTCONN when something else or nothing is mounted there.
    """
    root = os.open(mountpoint, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(root).st_dev != device:
            raise OSError(errno.ENOTCONN, "the mount is gone", mountpoint)
        found = openat2(root, b"/".join(path) or b".", os.O_PATH | os.O_DIRECTORY, _WITHIN)
    finally:
        os.close(root)
    try:
        yield found
    finally:
        os.close(found)


def perform(echo: Echo, parent: int, source_parent: int, *, written: bool) -> None:
    """Do what `echo` says in the directory `parent`, in which `echo.path` is (and `source_parent`: its source).

    With `written` a file is opened for writing and closed, too. Raises `OSError`.
    """
    name, now, before = echo.path[-1], echo.now, echo.before
    match echo.call:
        case Call.RENAME if echo.source is not None:
            os.rename(echo.source[-1], name, src_dir_fd=source_parent, dst_dir_fd=parent)
        case Call.REMOVE if before is not None and stat.S_ISDIR(before.mode):
            os.rmdir(name, dir_fd=parent)
        case Call.REMOVE:
            os.unlink(name, dir_fd=parent)
        case Call.WRITE if now is not None:
            _write(parent, name, now.size, written=written and not now.mode & _EXECUTABLE)
        case Call.TOUCH if now is not None:
            with _opened(openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, _WITHIN)) as file:
                os.utime(f"/proc/self/fd/{file}", ns=(now.atime_ns, now.mtime_ns))
        case Call.MAKE if now is not None:
            _make(parent, name, now)


def _make(parent: int, name: bytes, now: FileMetadata) -> None:
    if stat.S_ISDIR(now.mode):
        os.mkdir(name, stat.S_IMODE(now.mode), dir_fd=parent)
    elif stat.S_ISLNK(now.mode):
        os.symlink(b".", name, dir_fd=parent)
    elif stat.S_ISREG(now.mode):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _opened(os.open(name, flags, stat.S_IMODE(now.mode), dir_fd=parent)) as file:
            if now.size:
                os.ftruncate(file, now.size)
    else:
        os.mknod(name, now.mode, now.device, dir_fd=parent)


def _write(parent: int, name: bytes, size: int, *, written: bool) -> None:
    """Of an executable only the size is set: execve(2) fails while a file is open for writing."""
    flags = os.O_WRONLY | os.O_NONBLOCK if written else os.O_PATH
    with _opened(openat2(parent, name, flags | os.O_NOFOLLOW, _WITHIN)) as file:
        if written:
            os.ftruncate(file, size)
        else:
            os.truncate(f"/proc/self/fd/{file}", size)


@contextlib.contextmanager
def _opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
