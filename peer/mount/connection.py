"""The kernel's end of a mount, and how it is told that nobody answers any more, by fusectl (see fuse.txt).

A thread of ours that makes a call on our own mount may be waiting when the mount ends: for an answer to a request that
libfuse had read and then left. Nothing wakes it, not even the end of the process, which waits for it; and what it
holds, a directory's lock, holds up others. With the connection aborted, all such calls fail at once.

The one rule: what is aborted is the connection that was there when the mount came up, by a descriptor of its own: its
number may be another mount's once it has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from typing import Final

log = logging.getLogger(__name__)

CONTROL: Final = "/sys/fs/fuse/connections"
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_CLOEXEC: Final = 1
_CMD_CREATE: Final = 6

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Connection:
    """The connection of one mount, once it is up."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._abort: int | None = None

    def begin(self, device: str) -> bool:
        """The mount with the device number "major:minor" is up, and ours. Whether it can be aborted."""
        number = device.partition(":")[2]
        try:
            self._abort = _opened(number)
        except OSError as failure:
            log.debug("the connection %s could not be aborted if it had to: %s", number, failure)
        return self._abort is not None

    def end(self) -> None:
        """Nobody answers any more: calls on the mount that still wait fail now. Nothing happens the second time."""
        with self._lock:
            descriptor, self._abort = self._abort, None
        if descriptor is None:
            return
        try:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.write(descriptor, b"1")
        finally:
            os.close(descriptor)


def _opened(number: str) -> int:
    """The file that aborts a connection. Where the control file system is not mounted, root mounts it out of sight."""
    with contextlib.suppress(OSError):
        return os.open(f"{CONTROL}/{number}/abort", os.O_WRONLY | os.O_CLOEXEC)
    context = _call(_SYS_FSOPEN, b"fusectl", _CLOEXEC)
    try:
        _call(_SYS_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        control = _call(_SYS_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        return os.open(f"{number}/abort", os.O_WRONLY | os.O_CLOEXEC, dir_fd=control)
    finally:
        os.close(control)


def _call(number: int, *arguments: int | bytes | None) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure))
    return result
