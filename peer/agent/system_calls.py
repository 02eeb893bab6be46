"""System calls of Linux that Python does not offer, or not in the form that the agent needs.

The one rule: each function is the system call of its name (man section 2) and nothing more. It raises `OSError` with
the errno of the kernel and decides nothing; what may block gives up the interpreter lock, what cannot block keeps it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import platform
import struct
from typing import Final, NamedTuple

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

UTIME_NOW: Final = 0x3FFFFFFF
UTIME_OMIT: Final = 0x3FFFFFFE

KEEP_ID: Final = 0xFFFFFFFF
"""In place of a user or group id: change nothing."""

_AT_FDCWD: Final = -100
_AT_EACCESS: Final = 0x200
_AT_EMPTY_PATH: Final = 0x1000
_HANDLE_BYTES: Final = 128
"""MAX_HANDLE_SZ of fcntl.h."""
_CLONE_FS: Final = 0x200
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Numbers(NamedTuple):
    """System call numbers that differ between machines (asm/unistd.h)."""

    capget: int
    capset: int
    setgroups: int
    renameat2: int


_NUMBERS: Final = {
    "x86_64": _Numbers(capget=125, capset=126, setgroups=116, renameat2=316),
    "aarch64": _Numbers(capget=90, capset=91, setgroups=159, renameat2=276),
}
_OPENAT2: Final = 437
_FACCESSAT2: Final = 439

_number: Final = _NUMBERS.get(platform.machine())
_blocking: Final = ctypes.CDLL(None, use_errno=True)
_quick: Final = ctypes.PyDLL(None, use_errno=True)
_syscall_openat2: Final = _blocking["syscall"]  # a function object of its own, with types of its own
_syscall_openat2.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_OPEN_HOW: Final = struct.Struct("=QQQ")
_FLOCK_RECORD: Final = struct.Struct("hhqqi0q")


class _FileHandle(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * _HANDLE_BYTES))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _numbers() -> _Numbers:
    if _number is None:
        raise OSError(errno.ENOSYS, f"system call numbers of {platform.machine()} are not known here")
    return _number


def openat2(directory: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """Open beneath `directory`: a new descriptor, close-on-exec. ENOSYS before Linux 5.6."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    return _checked(_syscall_openat2(_OPENAT2, directory, path, how, _OPEN_HOW.size))


def renameat2(source_directory: int, source: bytes, directory: int, name: bytes, flags: int) -> None:
    """Rename with the RENAME bits of `flags`."""
    _checked(
        _blocking.syscall(
            ctypes.c_long(_numbers().renameat2),
            ctypes.c_long(source_directory),
            ctypes.c_char_p(source),
            ctypes.c_long(directory),
            ctypes.c_char_p(name),
            ctypes.c_ulong(flags),
        )
    )


def set_lease(descriptor: int, kind: int) -> None:
    """F_SETLEASE of fcntl(2): F_RDLCK, F_WRLCK or F_UNLCK. None of our threads gets between two of them."""
    _checked(_quick.fcntl(ctypes.c_int(descriptor), ctypes.c_int(fcntl.F_SETLEASE), ctypes.c_int(kind)))


def set_signal(descriptor: int, number: int) -> None:
    """F_SETSIG of fcntl(2)."""
    _checked(_quick.fcntl(ctypes.c_int(descriptor), ctypes.c_int(fcntl.F_SETSIG), ctypes.c_int(number)))


def name_to_handle_at(descriptor: int) -> tuple[int, bytes]:
    """The type and the bytes of the file handle of what `descriptor` is open on. EOPNOTSUPP where there are none."""
    handle, mount_id = _FileHandle(size=_HANDLE_BYTES), ctypes.c_int()
    _checked(
        _blocking.name_to_handle_at(
            ctypes.c_int(descriptor), b"", ctypes.byref(handle), ctypes.byref(mount_id), ctypes.c_int(_AT_EMPTY_PATH)
        )
    )
    return handle.type, bytes(handle.data[: handle.size])


def utimensat(path: bytes, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    """Set times, following; each is (seconds, nanoseconds), `UTIME_NOW` or `UTIME_OMIT` for the latter."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _checked(_blocking.utimensat(ctypes.c_int(_AT_FDCWD), ctypes.c_char_p(path), times, ctypes.c_int(0)))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Allocate or free space by the FALLOC_FL bits of `mode`; begun again when a signal interrupts it."""
    while True:
        try:
            _checked(
                _blocking.fallocate64(
                    ctypes.c_int(descriptor), ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length)
                )
            )
        except InterruptedError:
            continue
        return


def faccessat2(descriptor: int, mode: int) -> None:
    """access(2) of what `descriptor` is open on (O_PATH will do), by the file-system ids. ENOSYS before Linux 5.8."""
    _checked(
        _blocking.syscall(
            ctypes.c_long(_FACCESSAT2),
            ctypes.c_long(descriptor),
            ctypes.c_char_p(b""),
            ctypes.c_long(mode),
            ctypes.c_long(_AT_EACCESS | _AT_EMPTY_PATH),
        )
    )


def unshare_umask() -> None:
    """unshare(2) with CLONE_FS: from now on this thread has a umask (and a working directory) of its own."""
    _checked(_quick.unshare(ctypes.c_int(_CLONE_FS)))


def setfsuid(uid: int) -> int:
    """Set this thread's id for file access: the one in force afterwards, to be compared, since no error is told."""
    _quick.setfsuid(ctypes.c_uint(uid))
    return int(_quick.setfsuid(ctypes.c_uint(KEEP_ID))) & 0xFFFFFFFF


def setfsgid(gid: int) -> int:
    """Set this thread's group for file access: the one in force afterwards, to be compared likewise."""
    _quick.setfsgid(ctypes.c_uint(gid))
    return int(_quick.setfsgid(ctypes.c_uint(KEEP_ID))) & 0xFFFFFFFF


def setgroups_of_thread(groups: tuple[int, ...]) -> None:
    """setgroups(2) of this thread alone: the C library's would change every thread (nptl(7))."""
    _checked(
        _quick.syscall(
            ctypes.c_long(_numbers().setgroups),
            ctypes.c_size_t(len(groups)),
            (ctypes.c_uint32 * len(groups))(*groups),
        )
    )


class Capabilities(NamedTuple):
    """The sets of capabilities(7) of one thread, as masks."""

    effective: int
    permitted: int
    inheritable: int


_CAPABILITY_HEADER: Final = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
_CAPABILITY_DATA: Final = struct.Struct("6I")


def capget() -> Capabilities:
    """What this thread has."""
    data = ctypes.create_string_buffer(_CAPABILITY_DATA.size)
    _checked(_quick.syscall(ctypes.c_long(_numbers().capget), ctypes.c_char_p(_CAPABILITY_HEADER), data))
    halves = _CAPABILITY_DATA.unpack(data.raw)
    return Capabilities(*(halves[i] | halves[i + 3] << 32 for i in range(3)))


def capset(sets: Capabilities) -> None:
    """Set what this thread has."""
    data = ctypes.c_char_p(_packed(sets))
    _checked(_quick.syscall(ctypes.c_long(_numbers().capset), ctypes.c_char_p(_CAPABILITY_HEADER), data))


@functools.lru_cache(maxsize=16)
def _packed(sets: Capabilities) -> bytes:
    return _CAPABILITY_DATA.pack(*(one & 0xFFFFFFFF for one in sets), *(one >> 32 for one in sets))


class RecordLock(NamedTuple):
    """A struct flock of fcntl(2): F_RDLCK, F_WRLCK or F_UNLCK on `length` bytes (0: to the end) from `start`."""

    kind: int
    start: int
    length: int
    pid: int = 0


def ofd_setlk(descriptor: int, lock: RecordLock) -> None:
    """fcntl(2) F_OFD_SETLK: a lock of the open file description, never waiting; EAGAIN when another is in the way."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK_RECORD.pack(lock.kind, os.SEEK_SET, lock.start, lock.length, 0))


def ofd_getlk(descriptor: int, lock: RecordLock) -> RecordLock:
    """fcntl(2) F_OFD_GETLK: the first lock in the way of `lock`, of kind F_UNLCK when there is none."""
    asked = _FLOCK_RECORD.pack(lock.kind, os.SEEK_SET, lock.start, lock.length, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    kind, _, start, length, pid = _FLOCK_RECORD.unpack(answer)
    return RecordLock(kind, start, length, pid)
