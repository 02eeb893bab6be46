"""The three programs of a trial under supervisord: started in order, watched, ended.

The one rule: every wait has a deadline, and what is left when it is over is named.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from scripts.trial.checks import detach
from scripts.trial.errors import StartFailed, TrialError
from scripts.trial.layout import Layout

PROGRAMS: Final = ("broker", "agent", "mount")
START_DEADLINE: Final = 45.0
STOP_DEADLINE: Final = 75.0
"""Over the sum of what supervisord.conf gives each program to stop."""
_CONTROL_TIMEOUT: Final = 40.0
_TERM_DEADLINE: Final = 10.0
_PAUSE: Final = 0.1
_LOG_TAIL: Final = 12


class Programs:
    """Supervisord and what runs under it, for one trial installation."""

    def __init__(self, layout: Layout, binaries: Path | None = None) -> None:
        """`binaries` is where remotefs and supervisord are installed; by default beside this Python."""
        self._layout = layout
        self._binaries = binaries or Path(sys.executable).parent

    def running(self) -> bool:
        """Whether supervisord answers."""
        return self._socket.exists() and self._control("pid").returncode == 0

    def start(self, mount: Path) -> None:
        """Start what is not running, one after the other, until `mount` answers. Raises `StartFailed`."""
        if not self.running():
            self._supervise()
        states = self._states()
        for name in PROGRAMS:
            # In turn, and each until it has run for its startsecs.
            if states.get(name) != "RUNNING" and self._control("start", name).returncode != 0:
                raise StartFailed(f"the {name} does not start; {self._tail(name)}")
        self._wait_for_mount(mount)

    def stop(self, mount: Path | None) -> bool:
        """End everything and leave no mount at `mount`. False when nothing ran. Raises `TrialError`."""
        ran = self.running()
        if ran:
            self._control("shutdown")
            if not _wait(lambda: not self._socket.exists() and not self._left(), STOP_DEADLINE):
                raise TrialError(f"not stopped after {STOP_DEADLINE:.0f} s: {self._describe_left()}")
        # What outlived a supervisord that was killed; the mount first, while the others still answer it.
        for settings in (self._layout.supervisord_conf, *reversed(self._layout.settings_files)):
            ran |= self._end(settings)
        if mount is not None and _is_mounted(mount):
            detach(mount)
            ran = True
        return ran

    @property
    def _socket(self) -> Path:
        return self._layout.supervisor_socket

    def _supervise(self) -> None:
        done = self._run("supervisord", timeout=_CONTROL_TIMEOUT)
        if done.returncode != 0:
            raise StartFailed(f"supervisord does not start: {(done.stderr or done.stdout).strip()}")
        if not _wait(self.running, START_DEADLINE):
            raise StartFailed(f"supervisord does not answer; {self._tail('supervisord')}")

    def _end(self, settings: Path) -> bool:
        """End the processes that were started with `settings`. False when there is none. Raises `TrialError`."""
        if not self._left(settings):
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._left(settings):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            if _wait(lambda: not self._left(settings), _TERM_DEADLINE):
                return True
        raise TrialError(f"cannot be ended: {self._describe_left()}")

    def _control(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._run("supervisorctl", *command, timeout=_CONTROL_TIMEOUT)

    def _run(self, program: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "REMOTEFS_BIN": str(self._binaries),
            "REMOTEFS_CONFIG": str(self._layout.config),
            "REMOTEFS_LOG": str(self._layout.log),
            "REMOTEFS_RUN": str(self._layout.run),
        }
        try:
            return subprocess.run(
                [self._binaries / program, "-c", self._layout.supervisord_conf, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise TrialError(f"{program} is not installed in {self._binaries}: run scripts/quickstart") from None
        except subprocess.TimeoutExpired:
            raise TrialError(f"{program} {' '.join(arguments)} did not end in {timeout:.0f} s") from None

    def _states(self) -> dict[str, str]:
        """``RUNNING``, ``STOPPED``, ``FATAL``, ... by program, as supervisorctl shows them."""
        lines = (line.split() for line in self._control("status").stdout.splitlines())
        return {fields[0]: fields[1] for fields in lines if len(fields) > 1 and fields[0] in PROGRAMS}

    def _wait_for_mount(self, mount: Path) -> None:
        """Until the mounted directory lists. The look is another process, so that one that hangs cannot hold us."""
        until = time.monotonic() + START_DEADLINE
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise StartFailed(f"{mount} does not answer after {START_DEADLINE:.0f} s; {self._tail('mount')}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                if _is_mounted(mount) and _lists(mount, left):
                    return
            for name, state in self._states().items():
                if state in ("FATAL", "EXITED", "STOPPED"):
                    raise StartFailed(f"the {name} ended; {self._tail(name)}")
            time.sleep(_PAUSE)

    def _tail(self, name: str) -> str:
        log = self._layout.log / f"{name}.log"
        try:
            lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        except FileNotFoundError:
            return f"{log} was not written"
        return "\n".join([f"{log} ends with:", *(f"    {line}" for line in lines)])

    def _left(self, *files: Path) -> list[int]:
        """Our processes that were started with one of `files`; by default, with any of ours.

        Ours is what the Python beside this one runs: not an editor that has a settings file open.
        """
        named = {os.fsencode(path) for path in files or (*self._layout.settings_files, self._layout.supervisord_conf)}
        python = os.fsencode(self._binaries) + b"/"
        return [
            process
            for process, command in _commands()
            if process != os.getpid() and command[0].startswith(python) and named & set(command)
        ]

    def _describe_left(self) -> str:
        return ", ".join(f"process {process}" for process in self._left()) or "supervisord"


def _commands() -> Iterator[tuple[int, list[bytes]]]:
    """Process id and arguments of every process that we may see, from proc_pid_cmdline(5); zombies have none."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            yield int(process.name), (process / "cmdline").read_bytes().split(b"\0")


def _is_mounted(path: Path) -> bool:
    """Whether something is mounted at `path`, by /proc/self/mountinfo: asking the path itself could hang."""
    wanted = os.fsencode(path)
    table = Path("/proc/self/mountinfo").read_bytes()
    # Octal escapes: proc_pid_mountinfo(5) writes blanks, tabs, newlines and backslashes so.
    points = (line.split()[4].decode("unicode_escape").encode("latin-1") for line in table.splitlines())
    return wanted in points


def _lists(path: Path, seconds: float) -> bool:
    return subprocess.run(["ls", "--", path], capture_output=True, timeout=seconds, check=False).returncode == 0


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= until:
            return False
        time.sleep(_PAUSE)
    return True
