"""What a file is said to be, and changing that: attributes, access, extended attributes, by descriptor.

The one rule: every function works on an open descriptor, for which O_PATH is enough unless it says otherwise; so
nothing can be swapped underneath. System calls that want a path get the descriptor's entry in /proc/self/fd, which
leads to the open object itself (proc(5)), a symbolic link included. All raise `OSError`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import struct
from typing import Final

from peer.agent import system_calls
from schema.attributes import FileMetadata, VolumeStatistics
from schema.limits import MAX_XATTR_VALUE
from schema.requests import TIME_NOW, Caller, SetMetadata

_NANOSECONDS: Final = 1_000_000_000
_FS_IOC_GETVERSION: Final = 0x80087601
_GENERATION: Final = struct.Struct("=i4x")
_NOT_OFFERED: Final = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW})
"""What a file system says that has not what it is asked for."""


def self_path(descriptor: int) -> bytes:
    """The path by which this process reaches what `descriptor` is open on."""
    return b"/proc/self/fd/%d" % descriptor


def metadata_of(status: os.stat_result) -> FileMetadata:
    """The answer of stat(2) as it travels."""
    return FileMetadata(
        status.st_ino,
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_blocks,
        status.st_blksize,
        status.st_dev,
        status.st_rdev,
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def metadata(descriptor: int) -> FileMetadata:
    """fstat(2)."""
    return metadata_of(os.fstat(descriptor))


def generation(descriptor: int) -> int:
    """What tells a file, opened for reading or writing, from a later one of its inode number; 0 where nothing does.

    FS_IOC_GETVERSION of ioctl_iflags(2); where a file system has none (tmpfs), 64 bits of the hash of its file handle
    (name_to_handle_at(2)), which must not be valid for another file.
    """
    for ask in (_inode_version, _hashed_handle):
        try:
            return ask(descriptor)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
    return 0


def _inode_version(descriptor: int) -> int:
    (number,) = _GENERATION.unpack(fcntl.ioctl(descriptor, _FS_IOC_GETVERSION, bytes(_GENERATION.size)))
    return int(number) & 0xFFFFFFFF


def _hashed_handle(descriptor: int) -> int:
    kind, handle = system_calls.name_to_handle_at(descriptor)
    return int.from_bytes(hashlib.blake2b(b"%d:" % kind + handle, digest_size=8).digest())


def change(descriptor: int, wanted: SetMetadata, *, opened: bool) -> FileMetadata:
    """chmod, chown, truncate and utimensat as `wanted` says, in this order (libfuse's); the attributes afterwards.

    With `opened` the descriptor is a handle, whose right to write was settled when it was opened; without, it is
    settled now. The mode of a symbolic link cannot be changed: EOPNOTSUPP.
    """
    path = self_path(descriptor)
    if wanted.mode is not None:
        if stat.S_ISLNK(os.fstat(descriptor).st_mode):
            raise OSError(errno.EOPNOTSUPP, "a symbolic link has no mode of its own")
        os.chmod(path, wanted.mode)
    if wanted.uid is not None or wanted.gid is not None:
        os.chown(path, _id(wanted.uid), _id(wanted.gid))
    if wanted.size is not None:
        os.truncate(descriptor if opened else path, wanted.size)
    if wanted.atime_ns is not None or wanted.mtime_ns is not None:
        system_calls.utimensat(path, _timespec(wanted.atime_ns), _timespec(wanted.mtime_ns))
    return metadata(descriptor)


def _id(wanted: int | None) -> int:
    if wanted == system_calls.KEEP_ID:
        raise OSError(errno.EINVAL, "not a user or group id")
    return -1 if wanted is None else wanted


def _timespec(wanted: int | None) -> tuple[int, int]:
    if wanted is None:
        return 0, system_calls.UTIME_OMIT
    if wanted == TIME_NOW:
        return 0, system_calls.UTIME_NOW
    return divmod(wanted, _NANOSECONDS)


def check_access(descriptor: int, mode: int, caller: Caller | None) -> None:
    """access(2) with the R_OK, W_OK and X_OK bits of `mode`, for the ids in force: EACCES, EROFS.

    `caller` is who these ids belong to, None the agent itself: before Linux 5.8 the kernel cannot be asked about them,
    and the permission bits decide (access ACLs are then not looked at).
    """
    try:
        system_calls.faccessat2(descriptor, mode)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        if caller is None:
            allowed = os.access(self_path(descriptor), mode)
        else:
            allowed = permitted_by_bits(os.fstat(descriptor), mode, caller)
        if not allowed:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from error


def permitted_by_bits(status: os.stat_result, mode: int, caller: Caller) -> bool:
    """Whether the permission bits of `status` give `caller` all of the R_OK, W_OK and X_OK bits of `mode`."""
    bits = status.st_mode
    if caller.uid == 0:
        return not mode & os.X_OK or stat.S_ISDIR(bits) or bool(bits & 0o111)
    if caller.uid == status.st_uid:
        granted = bits >> 6
    elif status.st_gid == caller.gid or status.st_gid in caller.groups:
        granted = bits >> 3
    else:
        granted = bits
    return mode & ~granted & 7 == 0


def volume_statistics(descriptor: int) -> VolumeStatistics:
    """fstatvfs(3)."""
    status = os.fstatvfs(descriptor)
    return VolumeStatistics(
        status.f_bsize,
        status.f_frsize,
        status.f_blocks,
        status.f_bfree,
        status.f_bavail,
        status.f_files,
        status.f_ffree,
        status.f_favail,
        status.f_flag,
        status.f_namemax,
    )


def get_xattr(descriptor: int, name: bytes) -> bytes:
    """getxattr(2). ENODATA where there is none of this name, E2BIG for a value that no kernel of today stores."""
    value = os.getxattr(self_path(descriptor), name)
    if len(value) > MAX_XATTR_VALUE:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    return value


def set_xattr(descriptor: int, name: bytes, value: bytes, flags: int) -> None:
    """setxattr(2)."""
    os.setxattr(self_path(descriptor), name, value, flags)


def list_xattrs(descriptor: int) -> tuple[bytes, ...]:
    """listxattr(2)."""
    return tuple(os.fsencode(name) for name in os.listxattr(self_path(descriptor)))


def remove_xattr(descriptor: int, name: bytes) -> None:
    """removexattr(2)."""
    os.removexattr(self_path(descriptor), name)
