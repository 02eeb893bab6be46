"""All mount points of a client's settings: one process each, and this one above them.

The one rule: a mount that fails is started again, with a pause that grows; one that was unmounted on purpose (its
process ended well) is not; and when this process stops, none of them is left.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds before a failed mount is started again: doubled each time, from the first to the longest."""
LONG_ENOUGH: Final = 60.0
"""A mount that lived for so many seconds was well, and its pause begins anew."""
STOP_PATIENCE: Final = 20.0
"""Seconds that the processes have to unmount before they are killed."""


@dataclass(slots=True)
class _Member:
    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause: float = FIRST_PAUSE


class ProcessGroup:
    """Processes by name, each with the command that starts it."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        self._members = [_Member(name, command) for name, command in commands.items()]

    def run(self, stop: threading.Event) -> bool:
        """Keep them running until `stop` is set or all ended well. True when none had to be killed."""
        while not stop.is_set() and self._members:
            now = time.monotonic()
            for member in list(self._members):
                self._look_after(member, now)
            stop.wait(LOOK_EVERY)
        return self._stop_all()

    def _look_after(self, member: _Member, now: float) -> None:
        if member.process is None:
            if now >= member.start_at:
                member.process = subprocess.Popen(member.command)
                member.started_at = now
            return
        code = member.process.poll()
        if code is None:
            return
        if code == 0:
            _log.info("%s was unmounted", member.name)
            self._members.remove(member)
            return
        if now - member.started_at >= LONG_ENOUGH:
            member.pause = FIRST_PAUSE
        _log.warning("%s ended with code %d: starting it again in %.0f s", member.name, code, member.pause)
        member.process = None
        member.start_at = now + member.pause
        member.pause = min(2 * member.pause, LONGEST_PAUSE)

    def _stop_all(self) -> bool:
        running = [member.process for member in self._members if member.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_PATIENCE
        clean = True
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                clean = False
        return clean
