"""What libfuse is told that this mount can do, and wants of the kernel.

The one rule: only what the kernel offers is asked for, and each bit that is not left to libfuse says why.
"""

from __future__ import annotations

from typing import Any, Final

from schema.limits import MAX_DATA

# Capability bits of struct fuse_conn_info (fuse_common.h); the lower ones are the same in libfuse 2.
_CAP_ATOMIC_O_TRUNC: Final = 1 << 3
_CAP_EXPORT_SUPPORT: Final = 1 << 4
_CAP_BIG_WRITES_2: Final = 1 << 5
_CAP_DONT_MASK: Final = 1 << 6
_CAP_SPLICE_READ: Final = 1 << 9
_CAP_AUTO_INVAL_DATA: Final = 1 << 12
_CAP_READDIRPLUS_AUTO: Final = 1 << 14
_CAP_WRITEBACK_CACHE: Final = 1 << 16
_CAP_PARALLEL_DIROPS: Final = 1 << 18
_CAP_POSIX_ACL: Final = 1 << 19
_CAP_HANDLE_KILLPRIV: Final = 1 << 20

_MAX_WRITE_2: Final = 128 * 1024
"""What the buffers of libfuse 2 hold."""
_MAX_BACKGROUND: Final = 64


def configure(connection: Any, *, three: bool, posix_acl: bool) -> None:
    """Set what is wanted in libfuse's live struct fuse_conn_info, that of libfuse 3 if it is `three`."""
    wanted = _CAP_ATOMIC_O_TRUNC | _CAP_EXPORT_SUPPORT | _CAP_DONT_MASK
    if three:
        wanted |= _CAP_AUTO_INVAL_DATA | _CAP_PARALLEL_DIROPS | _CAP_HANDLE_KILLPRIV
        if posix_acl:
            wanted |= _CAP_POSIX_ACL
    else:
        wanted |= _CAP_BIG_WRITES_2
    # Written data comes by a copy into our buffer anyway; splicing it through a pipe first is one copy more.
    unwanted = _CAP_WRITEBACK_CACHE | _CAP_SPLICE_READ
    if three:
        # By itself the kernel asks for attributes with the first names of a directory only, unless somebody looks
        # at files before he has read them all; who looks then, asks for each: that takes four times as long.
        unwanted |= _CAP_READDIRPLUS_AUTO
    connection.want = (connection.want | (wanted & connection.capable)) & ~unwanted
    connection.max_write = MAX_DATA if three else _MAX_WRITE_2
    connection.max_background = _MAX_BACKGROUND
    connection.congestion_threshold = _MAX_BACKGROUND * 3 // 4
    # The kernel takes the lesser of this and of its own setting: see `kernel_read_ahead`.
    connection.max_readahead = MAX_DATA
    if three:
        connection.max_read = MAX_DATA
