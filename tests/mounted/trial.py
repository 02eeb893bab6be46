"""Real mounts for tests: started with a deadline, always taken down, and looked over for what they logged.

The one rule: a mount that does not come up, does not go away or complains in its log fails the test that had it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 15.0
"""Seconds for a mount to come up, or to go."""
DEVICE: Final = Path("/dev/fuse")
READY: Final = "the mount is up"
"""What the server logs."""


@dataclass(slots=True)
class Trial:
    """`remote` as the agent has it, `local` as the mount shows it, the process between them and its log."""

    remote: Path
    local: Path
    process: subprocess.Popen[bytes]
    log: Path
    complaints_expected: bool = field(default=False)

    def both(self, name: str | bytes) -> tuple[bytes, bytes]:
        """The remote and the local path of `name`."""
        below = os.fsencode(name)
        return os.path.join(os.fsencode(self.remote), below), os.path.join(os.fsencode(self.local), below)

    def unmount(self) -> None:
        """Unmount as a user would, and wait for the process to end well."""
        command = ["umount", str(self.local)] if os.getuid() == 0 else ["fusermount3", "-u", str(self.local)]
        until = time.monotonic() + PATIENCE
        # Files that a test has just closed are given back by the kernel when it comes to it.
        while subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode != 0:
            assert time.monotonic() < until, f"{self.local} is busy"
            time.sleep(0.05)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


def is_mounted(directory: Path) -> bool:
    """Whether something is mounted on `directory`, without asking that for an answer."""
    return f" {directory} " in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")


@contextlib.contextmanager
def mounted(
    directory: Path,
    *,
    remote: Path | None = None,
    environment: Mapping[str, str] | None = None,
    program: str = "tests.mounted.server",
    **options: Any,
) -> Iterator[Trial]:
    """A mount of `remote` (by default an empty directory) made below `directory`."""
    remote = remote or directory / "remote"
    local, log = directory / "local", directory / "mount.log"
    for path in (remote, local):
        with contextlib.suppress(FileExistsError):  # also where a dead mount lies on it
            path.mkdir()
    command = [sys.executable, "-m", program, str(remote), str(local), json.dumps(options)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    trial = Trial(remote, local, process, log)
    try:
        until = time.monotonic() + PATIENCE
        while READY not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, f"no mount in time: {log.read_text()}"
            time.sleep(0.02)
        yield trial
        if process.poll() is None and is_mounted(local):
            trial.unmount()
        complaints = [line for line in log.read_text().splitlines() if not line.startswith("INFO ")]
        assert trial.complaints_expected or not complaints, "\n".join(complaints)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if is_mounted(local):
            subprocess.run(["umount", "-l", local], check=False, capture_output=True, timeout=PATIENCE)
