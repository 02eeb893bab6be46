"""inotify(7) by way of watchdog's binding: directories by descriptor, events as they come.

watchdog's own emitters hide what coherence depends on: they give an unmatched move half a second, tell nobody which
part the watch limit left out, and rename paths one by one. Its binding of the system calls has none of that.

The one rule: nothing is swallowed. An overflow and a watch that the kernel took away are events like any other.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
import termios
from typing import Final, NamedTuple

from watchdog.observers import inotify_c
from watchdog.observers.inotify_c import InotifyConstants

from peer.agent.file_attributes import self_path

_WANTED: Final = (
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_HEAD: Final = struct.Struct("iIII")
_COUNT: Final = struct.Struct("i")
_READ: Final = 256 * 1024
_MOST: Final = 16
"""Reads in one go: a program that writes without a pause must not keep what it did from being told."""


class InotifyEvent(NamedTuple):
    """One event: watch, mask, what joins the two halves of a move, and the name in the directory (may be empty)."""

    watch: int
    mask: int
    cookie: int
    name: bytes

    def has(self, bits: int) -> bool:
        """Whether any of `bits` (of `InotifyConstants`) is set."""
        return bool(self.mask & bits)


class Inotify:
    """One inotify instance. Not thread-safe, but for `quiet`.

    Of what `read` takes the reader says by `told` when it has passed it on.
    """

    def __init__(self) -> None:
        """Raises `OSError` EMFILE when this user has too many (fs.inotify.max_user_instances)."""
        self.descriptor: Final = _checked(inotify_c.inotify_init())
        os.set_inheritable(self.descriptor, False)  # noqa: FBT003 - os calls take booleans by position
        os.set_blocking(self.descriptor, False)
        self._telling = False

    def watch(self, directory: int) -> int:
        """Watch what the descriptor `directory` (opened for reading) is open on; the same number for the same one.

        Raises `OSError`: ENOSPC at the watch limit (fs.inotify.max_user_watches).
        """
        return _checked(inotify_c.inotify_add_watch(self.descriptor, self_path(directory), _WANTED))

    def unwatch(self, watch: int) -> None:
        """Give a watch back; one that the kernel took away meanwhile is no error."""
        try:
            _checked(inotify_c.inotify_rm_watch(self.descriptor, inotify_c.WatchDescriptor(watch)))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def read(self) -> list[InotifyEvent]:
        """What has happened since, in order; a bounded part of it when there is no end."""
        self._telling = True  # before anything is taken, see `quiet`
        events: list[InotifyEvent] = []
        for _ in range(_MOST):
            try:
                buffer = os.read(self.descriptor, _READ)
            except BlockingIOError:
                break
            at = 0
            while at < len(buffer):
                watch, mask, cookie, length = _HEAD.unpack_from(buffer, at)
                at += _HEAD.size
                events.append(InotifyEvent(watch, mask, cookie, buffer[at : at + length].rstrip(b"\0")))
                at += length
        return events

    def told(self) -> None:
        """All that was read has been told."""
        self._telling = False

    def pending(self) -> bool:
        """Whether something has happened that was not read."""
        return _COUNT.unpack(fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(_COUNT.size))) != (0,)

    def quiet(self) -> bool:
        """Whether all that had happened when this was called has been read, and told. From any thread.

        The kernel queues an event before the system call returns that it tells of. First the queue, then the mark:
        what is not in the queue any more was taken after the mark had been set.
        """
        return not self.pending() and not self._telling

    def close(self) -> None:
        """Give all watches back."""
        os.close(self.descriptor)


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class _Statfs(ctypes.Structure):
    """The head of struct statfs of statfs(2), and room for the rest of it."""

    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


_fstatfs: Final = ctypes.CDLL(None, use_errno=True).fstatfs
_SILENT: Final = frozenset(
    {
        0x6969,  # nfs
        0x517B,  # smb
        0xFF534D42,  # cifs
        0xFE534D42,  # smb2 and later
        0x65735546,  # fuse, virtiofs
        0x01021997,  # 9p
        0x00C36400,  # ceph
        0x5346414F,  # afs
        0x6B414653,  # afs, of the kernel
        0x73757245,  # coda
        0x01161970,  # gfs2
        0x7461636F,  # ocfs2
        0x0BD00BD0,  # lustre
        0x786F4256,  # vboxsf
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x64626720,  # debugfs
        0x74726163,  # tracefs
    }
)
"""File systems, by the f_type of statfs(2), that change without inotify being told: elsewhere, or by the kernel."""


def reports_changes(descriptor: int) -> bool:
    """Whether inotify tells of all changes in the file system that `descriptor` is open on, those by mmap aside."""
    status = _Statfs()
    _checked(_fstatfs(descriptor, ctypes.byref(status)))
    return status.type & 0xFFFFFFFF not in _SILENT
