"""Three system calls that Python's os module does not offer in full, by ctypes and independent of the code under test.

The one rule: a call that fails raises `OSError` with the errno of the C library.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2
AT_SYMLINK_NOFOLLOW: Final = 0x100

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def utimensat(
    descriptor: int, name: bytes, times: tuple[tuple[int, int], tuple[int, int]], *, follow: bool = False
) -> None:
    """utimensat(2); each time is (seconds, nanoseconds), the latter perhaps UTIME_NOW or UTIME_OMIT."""
    flags = 0 if follow else AT_SYMLINK_NOFOLLOW
    _checked(_libc.utimensat(descriptor, name, (_Timespec * 2)(_Timespec(*times[0]), _Timespec(*times[1])), flags))


def renameat2(source_dir: int, source: bytes, destination_dir: int, destination: bytes, flags: int) -> None:
    """renameat2(2)."""
    _checked(_libc.renameat2(source_dir, source, destination_dir, destination, flags))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2)."""
    _checked(_libc.fallocate(descriptor, mode, offset, length))
