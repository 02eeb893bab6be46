"""C structures of libfuse that the bindings do not declare, or not as this machine has them.

The one rule: each is declared here as the header that it names has it, and nothing else is.
"""

from __future__ import annotations

import ctypes


class Context(ctypes.Structure):
    """struct fuse_context of fuse.h; not every binding declares umask."""

    _fields_ = (
        ("fuse", ctypes.c_void_p),
        ("uid", ctypes.c_uint),
        ("gid", ctypes.c_uint),
        ("pid", ctypes.c_int),
        ("private_data", ctypes.c_void_p),
        ("umask", ctypes.c_uint),
    )


class Connection2(ctypes.Structure):
    """struct fuse_conn_info of libfuse 2, which fusepy does not declare."""

    _fields_ = (
        ("proto_major", ctypes.c_uint),
        ("proto_minor", ctypes.c_uint),
        ("async_read", ctypes.c_uint),
        ("max_write", ctypes.c_uint),
        ("max_readahead", ctypes.c_uint),
        ("capable", ctypes.c_uint),
        ("want", ctypes.c_uint),
        ("max_background", ctypes.c_uint),
        ("congestion_threshold", ctypes.c_uint),
    )


class RecordLockStructure(ctypes.Structure):
    """struct flock of fcntl(2), which fusepy does not declare."""

    _fields_ = (
        ("l_type", ctypes.c_short),
        ("l_whence", ctypes.c_short),
        ("l_start", ctypes.c_longlong),
        ("l_len", ctypes.c_longlong),
        ("l_pid", ctypes.c_int),
    )
