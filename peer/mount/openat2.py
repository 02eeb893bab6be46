"""openat2(2), which Python 3.11 does not have.

The one rule: it opens, and decides nothing. Needs Linux 5.6, and 5.12 for `CACHED`.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

NO_XDEV: Final = 0x01
NO_SYMLINKS: Final = 0x04
BENEATH: Final = 0x08
CACHED: Final = 0x20
"""RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH and RESOLVE_CACHED of linux/openat2.h."""
_SYS_OPENAT2: Final = 437

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """A descriptor of `path`, closed on exec. Raises `OSError`: what `resolve` forbids is EAGAIN, ELOOP or EXDEV."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    descriptor = int(_libc.syscall(_SYS_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how)))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return descriptor
