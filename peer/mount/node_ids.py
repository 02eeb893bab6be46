"""The kernel's number of an inode of our own mount, which its notifications speak of.

The one rule: asked with `cached_only`, the walk uses nothing but what the kernel holds in memory, so it never waits for
a lock and never comes back to us as a question (RESOLVE_CACHED of openat2(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Final

from schema.paths import RelativePath

ROOT: Final = 1
"""FUSE_ROOT_ID of linux/fuse.h."""

_FILEID_INO64_GEN: Final = 0x81
"""linux/exportfs.h: node id (high, low) and generation, each 32 bits, as fuse_encode_fh writes them."""
_SYS_OPENAT2: Final = 437
_RESOLVE_CACHED: Final = 0x20
_AT_EMPTY_PATH: Final = 0x1000
_LONGEST: Final = 4000
"""Bytes of a path that one system call is given, under PATH_MAX."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _FileHandle(ctypes.Structure):
    _fields_ = (("handle_bytes", ctypes.c_uint), ("handle_type", ctypes.c_int), ("words", ctypes.c_uint32 * 32))


def _open(directory: int, path: bytes, *, cached_only: bool) -> int:
    how = _OpenHow(os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE_CACHED if cached_only else 0)
    descriptor = int(_libc.syscall(_SYS_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how)))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return descriptor


def _pieces(path: RelativePath) -> list[bytes]:
    pieces: list[bytes] = []
    for name in path:
        if pieces and len(pieces[-1]) + len(name) < _LONGEST:
            pieces[-1] += b"/" + name
        else:
            pieces.append(name)
    return pieces


class NodeIds:
    """Node ids below one mount; paths are the agent's, `root` is the one that is mounted."""

    def __init__(self, mountpoint: bytes, root: RelativePath) -> None:
        self._mountpoint = mountpoint
        self._root = root

    def of(self, path: RelativePath, *, cached_only: bool) -> int | None:
        """The node id of `path`; None when the kernel holds none or (cached_only) cannot say without asking."""
        if path[: len(self._root)] != self._root:
            return None
        below = path[len(self._root) :]
        if not below:
            return ROOT
        try:
            return self._walk(_pieces(below), cached_only=cached_only)
        except OSError as failure:
            # ENOENT and the like: nothing to forget. EAGAIN: not cached. EINVAL, ENOSYS: a kernel before 5.12.
            if failure.errno in (errno.EMFILE, errno.ENFILE):
                raise
            return None

    def _walk(self, pieces: list[bytes], *, cached_only: bool) -> int | None:
        descriptor = _open(-1, self._mountpoint + b"/" + pieces[0], cached_only=cached_only)
        try:
            for piece in pieces[1:]:
                above = descriptor
                descriptor = _open(above, piece, cached_only=cached_only)
                os.close(above)
            handle = _FileHandle(handle_bytes=ctypes.sizeof(_FileHandle) - 8)
            mount_id = ctypes.c_int()
            if _libc.name_to_handle_at(descriptor, b"", ctypes.byref(handle), ctypes.byref(mount_id), _AT_EMPTY_PATH):
                return None
            if handle.handle_type != _FILEID_INO64_GEN:
                return None
            return int(handle.words[0]) << 32 | int(handle.words[1])
        finally:
            os.close(descriptor)
