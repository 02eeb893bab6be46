"""What holds for every test: programs find the checkout, hypothesis repeats itself in CI, and nothing is left behind.

A FUSE mount or a process that outlives the suite fails it, whatever the tests said.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import hypothesis
import pytest

CHECKOUT = Path(__file__).parent.parent
GRACE = 10.0
"""Seconds that processes which were told to end have for it."""
MARK = "REMOTEFS_TEST_RUN"
"""An environment variable that every process started by this run inherits, and no other has."""

# Programs that tests start run this checkout, installed or not.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(CHECKOUT), *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
)
os.environ[MARK] = f"{os.getpid()}.{time.monotonic_ns()}"

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def _mounts(below: Path) -> set[str]:
    """What is mounted in the directory of this run, from proc_pid_mountinfo(5); others may mount elsewhere."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return {point for line in table.splitlines() if (point := line.split()[4]).startswith(f"{below}/")}


def _processes() -> dict[int, str]:
    """Processes that this run started and that live, with their command lines."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another user's
            if mark in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command and int(process.name) != os.getpid():
                    found[int(process.name)] = command
    return found


LEFT = "left behind"
"""What a process of several tells the one that started it under."""
_left_by_workers: list[str] = []
_temporary: list[Path] = []


@pytest.fixture(scope="session", autouse=True)
def _remember_temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where this run's tests mount: in ``tmp_path``, and nowhere else."""
    _temporary.append(tmp_path_factory.getbasetemp().resolve())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves a mount or a process. One of several processes says so to the one that started it."""
    lines = [*_left_by_workers, *_taken_away()]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[LEFT] = lines
    elif lines:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            for line in lines:
                reporter.write_line(line, red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """One of several processes has ended (a hook of pytest-xdist)."""
    _left_by_workers.extend(getattr(node, "workeroutput", {}).get(LEFT, ()))


def _taken_away() -> list[str]:
    """What this process's tests have left, which is ended and unmounted so that the next run is not harmed."""
    until = time.monotonic() + GRACE
    while (left := _processes()) and time.monotonic() < until:
        time.sleep(0.1)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    mounts = _mounts(_temporary[0]) if _temporary else set()
    for mount in mounts:
        command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
        subprocess.run([*command, mount], check=False, timeout=GRACE)
    lines = [f"left behind: process {process}: {command}" for process, command in left.items()]
    return [*lines, *(f"left behind: mount at {mount}" for mount in sorted(mounts))]
