"""Which inodes of one file system are watched by inotify(7), as /proc/PID/fdinfo says (proc_pid_fdinfo(5)).

The one rule: it only reads, and what cannot be read (another user's process, one that ended meanwhile) watches nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

_INOTIFY = "anon_inode:inotify"
_WATCH = re.compile(rb"^inotify wd:\w+ ino:([0-9a-f]+) sdev:([0-9a-f]+) ", re.MULTILINE)
_MINOR_BITS = 20
"""As linux/kdev_t.h packs a device number inside the kernel."""


def watched_inodes(device: int, proc: str = "/proc") -> frozenset[int]:
    """Numbers of the inodes of `device` (st_dev of stat(2)) on which any process that we may look into has a watch."""
    wanted = os.major(device) << _MINOR_BITS | os.minor(device)
    return frozenset(
        int(inode, 16)
        for content in _inotify_instances(proc)
        for inode, on in _WATCH.findall(content)
        if int(on, 16) == wanted
    )


def _inotify_instances(proc: str) -> Iterator[bytes]:
    for process in _names(proc):
        if not process.isdigit():
            continue
        for descriptor in _names(f"{proc}/{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"{proc}/{process}/fd/{descriptor}") == _INOTIFY:
                    with open(f"{proc}/{process}/fdinfo/{descriptor}", "rb") as info:
                        yield info.read()


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
