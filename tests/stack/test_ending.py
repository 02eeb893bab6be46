"""A mount ends when it is told to, whichever of its threads the kernel would choose to tell."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)


def test_only_the_main_thread_hears_what_ends_a_mount(stack):
    stack.start()
    mounted = stack.mount()
    pid = mounted.program.pid
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        assert [task for task in threads(pid) if hears(pid, task, number)] == [pid]
    mounted.program.stop()
    assert not mounted.is_there


def threads(pid):
    return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]


def hears(pid, task, number):
    try:
        status = Path(f"/proc/{pid}/task/{task}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False  # Threads of a running mount come and go: this one has ended since it was listed.
    blocked = re.search(r"SigBlk:\s*(\w+)", status)
    return not int(blocked[1], 16) >> (number - 1) & 1
