"""What would stop a trial, found before anything is started.

The one rule: each obstacle is one sentence that says what to do; nothing is changed here but a mount that is dead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from scripts.trial.errors import TrialError
from scripts.trial.layout import PORTS, Layout, Plan

_DEVICE: Final = Path("/dev/fuse")
_DETACH_TIMEOUT: Final = 15.0
_LISTEN: Final = "0A"
_SOCKET_PATH_MAX: Final = 107
"""sun_path of unix(7), less its NUL."""
_UNNAMEABLE: Final = frozenset('%"\\\n')
"""What supervisord expands, or ends a quoted word of a command at."""


def check_fuse(device: Path = _DEVICE) -> None:
    """A FUSE device that we may open, and the program that mounts for users. Raises `TrialError`."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise TrialError(
            f"{device} is missing: load it with `modprobe fuse`, or give the container `--device /dev/fuse "
            "--cap-add SYS_ADMIN`"
        ) from None
    except OSError as error:
        raise TrialError(f"{device} cannot be opened: {error.strerror}: ask for access to it") from error
    if shutil.which("fusermount3") is None:
        raise TrialError("fusermount3 is missing: install the package fuse3")


def check_home(layout: Layout) -> None:
    """A home that a socket and supervisord.conf can name. Raises `TrialError`."""
    if len(os.fsencode(layout.supervisor_socket)) > _SOCKET_PATH_MAX:
        raise TrialError(
            f"{layout.supervisor_socket} is too long for a socket: set REMOTEFS_HOME to a shorter directory"
        )
    if _UNNAMEABLE & set(str(layout.home)):
        raise TrialError(f'supervisord cannot name {layout.home}: set REMOTEFS_HOME to a directory without % " \\')


def check_directories(plan: Plan) -> None:
    """An export that is there, and an empty mount point apart from it. Raises `TrialError`."""
    if not plan.export.is_dir():
        raise TrialError(f"{plan.export} is not a directory: name the one to export")
    if plan.mount.is_relative_to(plan.export) or plan.export.is_relative_to(plan.mount):
        raise TrialError(
            f"the mount point {plan.mount} and the export {plan.export} lie in each other: keep them apart"
        )
    detach_if_dead(plan.mount)
    if os.path.ismount(plan.mount):
        raise TrialError(f"something is mounted at {plan.mount} already: unmount it, or name another directory")
    try:
        plan.mount.mkdir(parents=True, exist_ok=True)
        if any(plan.mount.iterdir()):
            raise TrialError(f"the mount point {plan.mount} is not empty: name an empty directory")
    except OSError as error:
        raise TrialError(f"the mount point {plan.mount} cannot be used: {error.strerror}") from error


def check_ports(port: int) -> None:
    """The relay's ports are free on the loopback address. Raises `TrialError` naming who has one."""
    for wanted in range(port, port + PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise TrialError(f"port {wanted} cannot be used: {error.strerror}: choose with --port") from error
                raise TrialError(
                    f"port {wanted} is in use by {_owner(wanted)}: choose another with --port "
                    f"({PORTS} in a row are needed)"
                ) from None


def detach_if_dead(mount: Path) -> None:
    """Detach what is mounted at `mount` if the program behind it is gone. Raises `TrialError`."""
    try:
        mount.stat()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            detach(mount)


def detach(mount: Path) -> None:
    """Take the mount away, in use or not. Raises `TrialError`."""
    done = subprocess.run(
        ["fusermount3", "-u", "-z", "--", str(mount)],
        capture_output=True,
        text=True,
        timeout=_DETACH_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise TrialError(f"{mount} cannot be unmounted: {done.stderr.strip()}")


def _owner(port: int) -> str:
    inodes = {inode for inode, at in _listening() if at == port}
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end meanwhile, or belong to somebody else: then it stays unnamed.
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "another program"


def _listening() -> Iterator[tuple[str, int]]:
    """(``socket:[INODE]``, port) of every listening TCP socket, from proc_net_tcp(5)."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # no IPv6 here
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield f"socket:[{fields[9]}]", int(fields[1].rpartition(":")[2], 16)
