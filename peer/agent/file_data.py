"""The bytes of open files.

The one rule: a request is done as a whole or says how far it came; the position of a descriptor means nothing and is
never relied on. All raise `OSError`.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from schema.requests import CopyRange

COPY_LIMIT: Final = 8 * 1024 * 1024
"""Bytes that one CopyRange copies at most, so that it cannot hold a thread for long: callers ask for the rest."""

_COPY_PIECE: Final = 1024 * 1024
_NOT_HERE: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ETXTBSY})
"""Errors of copy_file_range(2) that say nothing against copying by reading and writing."""


def read(descriptor: int, offset: int, size: int) -> bytes:
    """pread(2) of `size` bytes; fewer only at the end of the file."""
    data = os.pread(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    pieces = [data]
    position, missing = offset + len(data), size - len(data)
    while missing and (more := os.pread(descriptor, missing, position)):
        pieces.append(more)
        position += len(more)
        missing -= len(more)
    return data if len(pieces) == 1 else b"".join(pieces)


def write(descriptor: int, offset: int, data: memoryview | bytes) -> int:
    """pwrite(2) of all of `data`; with O_APPEND at the end, in one piece. The number of bytes written.

    Where the disk is full half way, or a limit is met, that number is short; the error is raised when nothing was
    written.
    """
    done = os.pwrite(descriptor, data, offset)
    rest = memoryview(data)
    try:
        while done < len(rest):
            more = os.pwrite(descriptor, rest[done:], offset + done)
            if not more:
                break
            done += more
    except OSError:
        if not done:
            raise
    return done


def copy(source: int, target: int, request: CopyRange) -> int:
    """copy_file_range(2) of up to `COPY_LIMIT` bytes; 0 only at the end of the source. The number of bytes copied.

    Falls back to reading and writing where the two files' file systems know no better.
    """
    done, wanted = 0, min(request.length, COPY_LIMIT)
    try:
        while done < wanted:
            more = os.copy_file_range(
                source, target, wanted - done, request.offset + done, request.target_offset + done
            )
            if not more:
                break
            done += more
    except OSError as error:
        if done:
            return done
        if error.errno not in _NOT_HERE or _overlap(source, target, request):
            raise
        return _copy_by_hand(source, target, request.offset, request.target_offset, wanted)
    return done


def _overlap(source: int, target: int, request: CopyRange) -> bool:
    return os.path.sameopenfile(source, target) and abs(request.offset - request.target_offset) < request.length


def _copy_by_hand(source: int, target: int, offset: int, target_offset: int, size: int) -> int:
    done = 0
    try:
        while done < size and (data := read(source, offset + done, min(_COPY_PIECE, size - done))):
            written = write(target, target_offset + done, data)
            done += written
            if written < len(data):
                break
    except OSError:
        if not done:
            raise
    return done


def seek(descriptor: int, offset: int, whence: int) -> int:
    """lseek(2) with SEEK_DATA or SEEK_HOLE. ENXIO past the end, and where no data follows."""
    return os.lseek(descriptor, offset, whence)


def flush(descriptor: int) -> None:
    """What close(2) may report (delayed write errors of a network file system), without closing `descriptor`."""
    os.close(os.dup(descriptor))


def sync(descriptor: int, *, data_only: bool) -> None:
    """fsync(2), or fdatasync(2) with `data_only`."""
    if data_only:
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)
