"""One program of ours as a process: started, waited for, killed, its log read. Every wait here has a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PATIENCE = 20.0
"""Seconds that anything on a loaded machine may take; nothing takes a tenth of it otherwise."""
_LOOK_EVERY = 0.01


def until(what: str, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until `condition` is true, for what no event can be awaited: what another program does to a file."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(_LOOK_EVERY)


def waits_for_fuse(pid: int) -> bool:
    """Whether a process of one thread is inside a call that a FUSE file system has not answered."""
    return Path(f"/proc/{pid}/wchan").read_text() == "request_wait_answer"


class Program:
    """A program with its log file, which keeps what every run of it said."""

    def __init__(self, name: str, command: Sequence[str | os.PathLike[str]], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = 0
        log.touch()

    @property
    def said(self) -> str:
        """All that it has logged."""
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert not self.running
        self._seen = len(self.said)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_for(self, condition: str | Callable[[], object]) -> None:
        """Wait for a text in what this run logs, or a condition that it brings about; fails at once if it ends."""

        def met() -> bool:
            fulfilled = condition in self.said[self._seen :] if isinstance(condition, str) else condition()
            assert fulfilled or self.running, f"{self.name} ended: {self.said[self._seen :]}"
            return bool(fulfilled)

        until(f"{self.name} {condition}", met)

    def ended(self, seconds: float = PATIENCE) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        return self._process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal. After SIGSTOP no thread of it does anything any more."""
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """SIGKILL, and wait for it."""
        self.signal(signal.SIGKILL)
        self.ended()

    def stop(self) -> None:
        """SIGTERM; what does not heed it is killed, and that is a failure."""
        if not self.running:
            return
        self.signal(signal.SIGTERM)
        try:
            self.ended()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop: {self.said[-2000:]}") from None


def run(*command: object, cwd: Path | None = None, seconds: float = 30, status: int = 0, **extra: str) -> str:
    """Run a command to its end; what it said, both streams. `extra` is added to its environment."""
    done = subprocess.run(
        [os.fsdecode(each) if isinstance(each, bytes) else str(each) for each in command],
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C"} | extra,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == status, f"{command[0]} ended with {done.returncode}: {said}"
    return said
