"""An export: a directory that no path of a client leads out of.

The one rule: a path is walked by descriptor and no symbolic link on it is ever followed, not even one that is swapped
in meanwhile. Following links is the work of the client's kernel; it sends paths whose links are resolved. So where an
inner component turns out to be a link, the client's picture of the tree is out of date, and the answer is ESTALE: the
VFS then looks every component up afresh (path_resolution(7), `retry_estale` in the kernel) and finds its way.

The root is the directory that the path named when it was opened, whatever is moved in its place later. Once it is
removed, the next directory of that name takes over (`renew`), unless a symbolic link leads there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, Self

from peer.agent import system_calls

_RESOLVE: Final = system_calls.RESOLVE_BENEATH | system_calls.RESOLVE_NO_MAGICLINKS | system_calls.RESOLVE_NO_SYMLINKS
_PIECE: Final = 4000
"""Bytes of a path that go into one system call: under PATH_MAX, so paths may be longer than it."""

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ATTEMPTS: Final = 16

Walk = Callable[[int, tuple[bytes, ...], int], int]
"""(directory descriptor, components under `_PIECE` bytes, flags) -> descriptor."""


class ConfinedRoot:
    """The directory `path`, held by descriptor; close it with `close`, or use it as a context manager."""

    def __init__(self, path: bytes | str, walk: Walk | None = None) -> None:
        """Open the export. Raises `OSError`: ENOENT, ENOTDIR. Links in `path` itself are followed: it is ours.

        `walk` says how a piece of a path is walked: None picks `walk_by_openat2` where the kernel has it (Linux 5.6)
        and `walk_by_component` elsewhere.
        """
        self.path: Final = os.fsencode(path)
        self._place: Final = os.path.realpath(self.path)
        self.descriptor: Final = os.open(self.path, _DIRECTORY)
        self._walk: Final = walk if walk is not None else _best_walk(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; the root is of no use afterwards."""
        os.close(self.descriptor)

    def renew(self) -> bool:
        """If the root was removed, go over to the directory that is there now; whether that was so.

        Links are followed no more: who may change what is above the root may not lead us elsewhere. The descriptor
        keeps its number, so that whoever is using it at this moment uses one directory or the other. Raises `OSError`
        where there is none.
        """
        if os.fstat(self.descriptor).st_nlink:
            return False
        top = os.open(b"/", _DIRECTORY)
        try:
            found = self._walk(top, tuple(self._place.strip(b"/").split(b"/")), _DIRECTORY)
        finally:
            os.close(top)
        try:
            os.dup2(found, self.descriptor, inheritable=False)
        finally:
            os.close(found)
        return True

    @contextlib.contextmanager
    def parent(self, components: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
        """The directory that holds what `components` names, as a descriptor (O_PATH), and the name in it.

        The root has no name in here: EBUSY. Raises `OSError`.
        """
        if not components:
            raise OSError(errno.EBUSY, "the root of an export stays as it is")
        *above, name = components
        if not above:
            yield self.descriptor, name
            return
        directory = self.open(tuple(above), _DIRECTORY)
        try:
            yield directory, name
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def object(self, components: tuple[bytes, ...]) -> Iterator[int]:
        """What `components` names, as a descriptor (O_PATH), be it a symbolic link. Raises `OSError`."""
        descriptor = self.open(components, os.O_PATH | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def directory(self, components: tuple[bytes, ...]) -> Iterator[int]:
        """The directory that `components` names, opened for reading. Raises `OSError`."""
        descriptor = self.open(components, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, components: tuple[bytes, ...], flags: int) -> int:
        """A new descriptor for what `components` names; `flags` are those of openat2. Raises `OSError`."""
        if not components:
            return os.open(b".", flags | os.O_CLOEXEC, dir_fd=self.descriptor)
        if sum(map(len, components)) + len(components) <= _PIECE:
            return self._walk(self.descriptor, components, flags)
        pieces = list(_pieces(components))
        directory = self.descriptor
        try:
            for piece in pieces[:-1]:
                further = self._walk(directory, piece, _DIRECTORY)
                self._close_inner(directory)
                directory = further
            return self._walk(directory, pieces[-1], flags)
        finally:
            self._close_inner(directory)

    def _close_inner(self, descriptor: int) -> None:
        if descriptor != self.descriptor:
            os.close(descriptor)


def walk_by_openat2(directory: int, components: tuple[bytes, ...], flags: int) -> int:
    """The walk by one openat2(2) that resolves beneath `directory` and follows nothing."""
    path = b"/".join(components)
    for _ in range(_ATTEMPTS):
        try:
            return system_calls.openat2(directory, path, flags, 0, _RESOLVE)
        except BlockingIOError:
            continue  # EAGAIN: a rename elsewhere kept the kernel from being sure (openat2(2), RESOLVE_BENEATH)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV):
                raise _stale() from error
            raise
    raise OSError(errno.EAGAIN, "the directories on the way are being renamed all the time")


def walk_by_component(directory: int, components: tuple[bytes, ...], flags: int) -> int:
    """The same walk for kernels without openat2(2): one openat(2) with O_NOFOLLOW for each component."""
    *above, name = components
    at = directory
    try:
        for component in above:
            further = _step(at, component, _DIRECTORY)
            if at != directory:
                os.close(at)
            at = further
        return _step(at, name, flags)
    finally:
        if at != directory:
            os.close(at)


def _step(directory: int, name: bytes, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and _is_link(directory, name)):
            raise _stale() from error
        raise


def _is_link(directory: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _stale() -> OSError:
    return OSError(errno.ESTALE, "a symbolic link where the path has a directory or file: look it up again")


def _pieces(components: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    """`components` in runs that are under `_PIECE` bytes when joined."""
    begin, size = 0, 0
    for index, component in enumerate(components):
        if size + len(component) >= _PIECE:
            yield components[begin:index]
            begin, size = index, 0
        size += len(component) + 1
    if begin < len(components):
        yield components[begin:]


def _best_walk(descriptor: int) -> Walk:
    try:
        os.close(system_calls.openat2(descriptor, b".", _DIRECTORY, 0, _RESOLVE))
    except OSError as error:
        # EPERM: seccomp filters that predate the call answer so (systemd, older container runtimes).
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return walk_by_component
        raise
    return walk_by_openat2
