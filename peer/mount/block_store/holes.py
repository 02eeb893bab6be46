"""Which slots of a container are written, by its holes: the file system knows, without a look at what is in them.

The one rule: whole slots are counted without being read. On a cold disk a look at each salt is a wait for the disk for
each block, and the single pages that it leaves in memory break what is read afterwards into as many pieces.

Where the file system does not tell holes as small as a slot (NFS before 4.2, ZFS), the salts are looked at after all.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

from peer.mount.block_store.layout import SALT_SIZE, SLOT_SIZE

_COARSE: Final = 64 * 1024
"""The largest unit of allocation of which there is a whole one in each slot, wherever it begins."""
_PUNCH: Final = 0x02 | 0x01
"""FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE of linux/falloc.h."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def written(descriptor: int, slots: range, end: int) -> Iterator[int]:
    """Which of `slots`, of which the last one ends at `end`, are written, in order. Raises OSError."""
    status = os.fstat(descriptor)
    data = list(_data(descriptor, slots.start * SLOT_SIZE))
    if status.st_blksize > _COARSE or status.st_blocks * 512 < sum(hole - begin for begin, hole in data):
        yield from (slot for slot in slots if _has_salt(descriptor, slot))
        return
    slot = slots.start
    for begin, hole in data:
        slot = max(slot, -(-begin // SLOT_SIZE))
        while slot < slots.stop and min((slot + 1) * SLOT_SIZE, end) <= hole:
            # One that is shorter may have lain in parts of disk blocks only, which no hole can show.
            if (slot + 1) * SLOT_SIZE <= end or _has_salt(descriptor, slot):
                yield slot
            slot += 1
        if slot >= slots.stop:
            return


def punch(descriptor: int, offset: int, length: int) -> None:
    """Make a hole; where that cannot be, raises OSError."""
    if _libc.fallocate64(descriptor, _PUNCH, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _data(descriptor: int, offset: int) -> Iterator[tuple[int, int]]:
    """Where data begin and end, from `offset` on, in order."""
    while True:
        try:
            begin = os.lseek(descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        offset = os.lseek(descriptor, begin, os.SEEK_HOLE)
        yield begin, offset


def _has_salt(descriptor: int, slot: int) -> bool:
    return bool(os.pread(descriptor, SALT_SIZE, slot * SLOT_SIZE).strip(b"\0"))
