"""Whether a directory can be mounted on, and what to do when a mount of ours died on it.

The one rule: whatever is wrong is one sentence that names the path and the next step, and nothing but a dead mount of
our own is ever detached.
"""

from __future__ import annotations

import errno
import os
import subprocess
from typing import Final, NamedTuple

from peer.errors import PeerError

FILESYSTEM_TYPE: Final = "fuse.remotefs"
"""As /proc/self/mountinfo names a mount of ours."""
_DEVICE: Final = "/dev/fuse"
_DETACH_DEADLINE: Final = 10.0


class MountError(PeerError):
    """A directory that cannot be mounted on, or a mount that failed."""


def _unescaped(field: str) -> bytes:
    """A path as mountinfo writes it, in octal where it holds blanks (proc_pid_mountinfo(5))."""
    raw, parts = os.fsencode(field), []
    while (at := raw.find(b"\\")) >= 0:
        parts += [raw[:at], bytes([int(raw[at + 1 : at + 4], 8)])]
        raw = raw[at + 4 :]
    return b"".join([*parts, raw])


class MountEntry(NamedTuple):
    """A line of mountinfo: the device number as "major:minor", and the type of the file system."""

    device: str
    kind: str


def mount_at(mountpoint: str, mountinfo: str = "/proc/self/mountinfo") -> MountEntry | None:
    """What is mounted on exactly `mountpoint`, a real path; the topmost where there are several mounts."""
    wanted, found = os.fsencode(os.path.normpath(mountpoint)), None
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            if _unescaped(fields[4]) == wanted:
                found = MountEntry(fields[2], fields[fields.index("-") + 1])
    return found


def detach(mountpoint: str) -> None:
    """Take the mount off `mountpoint`, busy or not (``MNT_DETACH`` of umount(2)). Raises `MountError`."""
    command = ["umount", "-l", mountpoint] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", "--", mountpoint]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_DETACH_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise MountError(f"{mountpoint} could not be unmounted: {failure}") from failure
    if done.returncode != 0:
        raise MountError(f"{mountpoint} could not be unmounted: {done.stderr.decode(errors='replace').strip()}")


def prepare(mountpoint: str) -> str:
    """The real path of a directory that can be mounted on. Raises `MountError`."""
    if not os.path.exists(_DEVICE):
        raise MountError(f"{_DEVICE} does not exist: load the kernel module (modprobe fuse), or allow the container it")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise MountError(f"{_DEVICE} may not be opened by this user: have root do chmod 666 {_DEVICE}, as is usual")
    absolute = os.path.join(
        os.path.realpath(os.path.dirname(os.path.abspath(mountpoint))), os.path.basename(mountpoint.rstrip("/"))
    )
    try:
        entries = os.listdir(absolute)
    except FileNotFoundError as failure:
        raise MountError(f"the mount point {mountpoint} does not exist: create the directory") from failure
    except NotADirectoryError as failure:
        raise MountError(f"the mount point {mountpoint} is not a directory") from failure
    except OSError as failure:
        if failure.errno != errno.ENOTCONN:
            raise MountError(f"the mount point {mountpoint} cannot be read: {failure.strerror}") from failure
        return _without_the_dead(mountpoint, absolute)
    absolute = os.path.realpath(absolute)
    if _is_ours(absolute):
        raise MountError(f"{mountpoint} is mounted already: remotefs umount {mountpoint}")
    if entries:
        raise MountError(f"the mount point {mountpoint} is not empty: choose an empty directory")
    return absolute


def _is_ours(absolute: str) -> bool:
    entry = mount_at(absolute)
    return entry is not None and entry.kind == FILESYSTEM_TYPE


def _without_the_dead(mountpoint: str, absolute: str) -> str:
    if not _is_ours(absolute):
        raise MountError(f"{mountpoint} holds a dead mount that is not ours: unmount it first (umount -l)")
    detach(absolute)
    return prepare(absolute)
