"""The kernel's number of an inode of our own mount, which its notifications speak of.

The one rule: asked with `cached_only`, the walk uses nothing but what the kernel holds in memory, so it never waits for
a lock and never comes back to us as a question (RESOLVE_CACHED of openat2(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from peer.mount.openat2 import CACHED, openat2
from schema.paths import RelativePath

ROOT: Final = 1
"""FUSE_ROOT_ID of linux/fuse.h."""

_FILEID_INO64_GEN: Final = 0x81
"""linux/exportfs.h: node id (high, low) and generation, each 32 bits, as fuse_encode_fh writes them."""
_AT_EMPTY_PATH: Final = 0x1000
_LONGEST: Final = 4000
"""Bytes of a path that one system call is given, under PATH_MAX."""

_REMEMBERED: Final = 65_536
"""Directories, the last ones that something was said of."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _FileHandle(ctypes.Structure):
    _fields_ = (("handle_bytes", ctypes.c_uint), ("handle_type", ctypes.c_int), ("words", ctypes.c_uint32 * 32))


def _open(directory: int, path: bytes, *, cached_only: bool) -> int:
    return openat2(directory, path, os.O_PATH | os.O_NOFOLLOW, CACHED if cached_only else 0)


def _pieces(path: RelativePath) -> list[bytes]:
    pieces: list[bytes] = []
    for name in path:
        if pieces and len(pieces[-1]) + len(name) < _LONGEST:
            pieces[-1] += b"/" + name
        else:
            pieces.append(name)
    return pieces


class NodeIds:
    """Node ids below one mount; paths are the agent's, `root` is the one that is mounted.

    Those of directories are remembered: the kernel may hold the names in a directory whose own name it has to ask for.
    """

    def __init__(self, mountpoint: bytes, root: RelativePath) -> None:
        self._mountpoint = mountpoint
        self._root = root
        self._lock = threading.Lock()
        self._directories: OrderedDict[RelativePath, int] = OrderedDict()

    def local(self, path: RelativePath) -> bytes:
        """Where `path` is on this machine."""
        return b"/".join((self._mountpoint, *path[len(self._root) :]))

    def of(self, path: RelativePath, *, cached_only: bool) -> int | None:
        """The node id of `path`; None when the kernel holds none or (cached_only) cannot say without asking."""
        if path[: len(self._root)] != self._root:
            return None
        if path == self._root:
            return ROOT
        try:
            descriptor = self._open(path, cached_only=cached_only)
        except OSError as failure:
            _none_because(failure)
            return None
        try:
            return _node_of(descriptor)
        finally:
            os.close(descriptor)

    def of_directory(self, path: RelativePath, *, cached_only: bool) -> int | None:
        """As `of`, or what it was last time."""
        node = self.known(path)
        if node is None and not cached_only:
            node = self.of(path, cached_only=False)
        if node is not None and path != self._root:
            with self._lock:
                self._directories.pop(path, None)
                self._directories[path] = node
                if len(self._directories) > _REMEMBERED:
                    self._directories.popitem(last=False)
        return node

    def known(self, path: RelativePath) -> int | None:
        """The node id of `path` without asking, as far as it is known."""
        return self.of(path, cached_only=True) or self._directories.get(path)

    def forget(self, path: RelativePath) -> None:
        """The kernel holds the directory `path` under another number, if at all."""
        with self._lock:
            self._directories.pop(path, None)

    def moved(self, source: RelativePath, destination: RelativePath) -> None:
        """`source` was renamed to `destination` through this mount, or both were exchanged."""
        with self._lock:
            for path in list(self._directories):
                if source in (path, path[: len(source)]) or destination in (path, path[: len(destination)]):
                    del self._directories[path]

    def within(self, path: RelativePath, names: Iterable[bytes]) -> Iterator[int]:
        """The node ids that the kernel can say without asking of `names` in the directory `path`."""
        try:
            directory = self._open(path, cached_only=True)
        except OSError as failure:
            _none_because(failure)
            return
        try:
            for name in names:
                try:
                    descriptor = _open(directory, name, cached_only=True)
                except OSError as failure:
                    _none_because(failure)
                    continue
                try:
                    node = _node_of(descriptor)
                finally:
                    os.close(descriptor)
                if node is not None:
                    yield node
        finally:
            os.close(directory)

    def _open(self, path: RelativePath, *, cached_only: bool) -> int:
        pieces = _pieces(path[len(self._root) :])
        first = self._mountpoint + b"/" + pieces[0] if pieces else self._mountpoint
        descriptor = _open(-1, first, cached_only=cached_only)
        for piece in pieces[1:]:
            try:
                below = _open(descriptor, piece, cached_only=cached_only)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def _none_because(failure: OSError) -> None:
    """ENOENT and the like: nothing to forget. EAGAIN: not cached. EINVAL, ENOSYS: a kernel before 5.12."""
    if failure.errno in (errno.EMFILE, errno.ENFILE):
        raise failure


def _node_of(descriptor: int) -> int | None:
    handle = _FileHandle(handle_bytes=ctypes.sizeof(_FileHandle) - 8)
    mount_id = ctypes.c_int()
    if _libc.name_to_handle_at(descriptor, b"", ctypes.byref(handle), ctypes.byref(mount_id), _AT_EMPTY_PATH):
        return None
    if handle.handle_type != _FILEID_INO64_GEN:
        return None
    return int(handle.words[0]) << 32 | int(handle.words[1])
