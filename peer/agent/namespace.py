"""Making, naming and removing files below an export, and opening them.

The one rule: every name is given to the kernel as (directory descriptor, name), both found by `ConfinedRoot`, and what
is opened for its bytes is a regular file, looked at before it is opened: a fifo or a device of the remote machine can
neither block the agent nor be driven through it. The client's kernel has its own fifos and devices.
All functions raise `OSError`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from peer.agent import system_calls
from peer.agent.confined_root import ConfinedRoot
from peer.agent.file_attributes import metadata_of, self_path
from schema.attributes import FileMetadata

PERMISSIONS: Final = 0o7777
_OPEN_FLAGS: Final = os.O_ACCMODE | os.O_APPEND | os.O_TRUNC | os.O_SYNC | os.O_DSYNC | os.O_NOATIME
"""What the agent's own descriptor needs of a caller's flags; these have the same values on every Linux machine.
O_DIRECT is a matter between the caller and the client's kernel."""

_O_TMPFILE: Final = 0o20000000
_RENAME_FLAGS: Final = 3
_ATTEMPTS: Final = 16


class Place(NamedTuple):
    """Where a path leads: an export, the components below it, and whether nothing may be changed there."""

    root: ConfinedRoot
    components: tuple[bytes, ...]
    read_only: bool = False


def open_file(place: Place, flags: int) -> int:
    """open(2) of an existing regular file: a descriptor. EISDIR for a directory.

    ESTALE for anything else: a client that asks for its bytes thinks it is a file, so its picture is out of date.
    """
    _refuse_unnamed(flags)
    with place.root.object(place.components) as pinned:
        kind = os.fstat(pinned).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(kind):
            raise OSError(errno.ESTALE, "no longer a regular file: look it up again")
        return reopen(pinned, flags)


def reopen(descriptor: int, flags: int) -> int:
    """Another open file description of what `descriptor` (O_PATH will do) is open on, a file or directory.

    Of `flags` those count that matter here. The right to open is settled anew.
    """
    return os.open(self_path(descriptor), flags & _OPEN_FLAGS | os.O_CLOEXEC)


def create_file(place: Place, flags: int, mode: int) -> int:
    """open(2) with O_CREAT, and O_EXCL where `flags` have it: a descriptor.

    A name that is a symbolic link answers EEXIST with O_EXCL, else ESTALE: the client's kernel would have followed it.
    """
    _refuse_unnamed(flags)
    for _ in range(_ATTEMPTS):
        try:
            with place.root.parent(place.components) as (directory, name):
                creating = flags & _OPEN_FLAGS & ~os.O_TRUNC | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                return os.open(name, creating, mode & PERMISSIONS, dir_fd=directory)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
        try:
            return open_file(place, flags)
        except FileNotFoundError:
            continue  # deleted since: then it can be created
    raise OSError(errno.ESTALE, "the file comes and goes all the time")


def open_where_read_only(place: Place, flags: int) -> int:
    """open(2) with O_CREAT as a read-only file system has it: EROFS unless the file is there and only to be read."""
    try:
        with place.root.object(place.components):
            pass
    except FileNotFoundError:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS)) from None
    if flags & os.O_EXCL:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if flags & (os.O_ACCMODE | os.O_TRUNC):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return open_file(place, flags)


@contextlib.contextmanager
def opened_to_sync(place: Place) -> Iterator[int]:
    """A regular file or a directory, opened for reading. EINVAL for anything else: fsync(2) has nothing to do there."""
    with place.root.object(place.components) as pinned:
        kind = os.fstat(pinned).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise OSError(errno.EINVAL, "neither a file nor a directory")
        descriptor = reopen(pinned, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_unnamed(flags: int) -> None:
    if flags & _O_TMPFILE:
        raise OSError(errno.EOPNOTSUPP, "files without a name are not offered")


def make_directory(place: Place, mode: int) -> FileMetadata:
    """mkdir(2)."""
    with place.root.parent(place.components) as (directory, name):
        os.mkdir(name, mode & PERMISSIONS, dir_fd=directory)
        return _metadata(directory, name)


def make_node(place: Place, mode: int, device: int) -> FileMetadata:
    """mknod(2)."""
    with place.root.parent(place.components) as (directory, name):
        os.mknod(name, mode, device, dir_fd=directory)
        return _metadata(directory, name)


def make_symlink(place: Place, target: bytes) -> FileMetadata:
    """symlink(2)."""
    with place.root.parent(place.components) as (directory, name):
        os.symlink(target, name, dir_fd=directory)
        return _metadata(directory, name)


def make_link(existing: Place, place: Place) -> FileMetadata:
    """link(2); a symbolic link is linked itself. EXDEV between exports."""
    _same_root(existing, place)
    with (
        existing.root.parent(existing.components) as (old_directory, old_name),
        place.root.parent(place.components) as (directory, name),
    ):
        os.link(old_name, name, src_dir_fd=old_directory, dst_dir_fd=directory, follow_symlinks=False)
        return _metadata(directory, name)


def remove_directory(place: Place) -> None:
    """rmdir(2)."""
    with place.root.parent(place.components) as (directory, name):
        os.rmdir(name, dir_fd=directory)


def remove_file(place: Place) -> None:
    """unlink(2)."""
    with place.root.parent(place.components) as (directory, name):
        os.unlink(name, dir_fd=directory)


def rename(source: Place, destination: Place, flags: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE or no flag. EXDEV between exports."""
    if flags & ~_RENAME_FLAGS:
        raise OSError(errno.EINVAL, "renaming knows the flags RENAME_NOREPLACE and RENAME_EXCHANGE")
    _same_root(source, destination)
    with (
        source.root.parent(source.components) as (old_directory, old_name),
        destination.root.parent(destination.components) as (directory, name),
    ):
        if flags:
            system_calls.renameat2(old_directory, old_name, directory, name, flags)
        else:
            os.rename(old_name, name, src_dir_fd=old_directory, dst_dir_fd=directory)


def read_symlink(place: Place) -> bytes:
    """readlink(2). EINVAL for anything but a symbolic link."""
    with place.root.object(place.components) as link:
        if not stat.S_ISLNK(os.fstat(link).st_mode):
            raise OSError(errno.EINVAL, "not a symbolic link")
        return os.readlink(b"", dir_fd=link)


def _same_root(one: Place, other: Place) -> None:
    if one.root is not other.root:
        raise OSError(errno.EXDEV, "the two paths are in different exports")


def _metadata(directory: int, name: bytes) -> FileMetadata:
    return metadata_of(os.stat(name, dir_fd=directory, follow_symlinks=False))
