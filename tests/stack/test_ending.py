"""A mount ends when it is told to, whenever that is, and whichever of its threads the kernel would choose to tell."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from tests.stack.processes import until

pytestmark = pytest.mark.timeout(60)


def test_one_thread_hears_what_ends_a_mount_and_libfuse_is_not_interrupted(stack):
    """Which waits on the main thread. From any other it would not hear of a signal that came to it."""
    stack.start()
    mounted = stack.mount()
    pid = mounted.program.pid
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):

        def hearing(number=number):
            listening = [task for task in threads(pid) if hears(pid, task, number)]
            assert len(listening) <= 1
            assert pid not in listening
            return listening

        until("one listens", hearing)
    mounted.program.stop()
    assert mounted.program.ended() == 0
    assert not mounted.is_there


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_mount_ends_that_has_only_just_appeared(stack, number):
    stack.start()
    for _ in range(3):
        mounted = stack.begin_mount()
        while not mounted.is_there:
            assert mounted.program.running, mounted.program.said
        mounted.program.signal(number)
        assert mounted.program.ended() == 0
        assert not mounted.is_there


def test_a_mount_outlives_a_terminal_whose_end_it_is_to_ignore(stack):
    """As nohup(1) starts it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stack.start()
        mounted = stack.mount()
    finally:
        signal.signal(signal.SIGHUP, before)
    mounted.program.signal(signal.SIGHUP)
    for number in range(100):
        (mounted.path / f"{number}").touch()
    mounted.program.stop()
    assert len(os.listdir(stack.export)) == 100
    assert not mounted.is_there


def threads(pid):
    return [int(each.name) for each in Path(f"/proc/{pid}/task").iterdir()]


def hears(pid, task, number):
    return not mask(pid, task, "SigBlk") >> (number - 1) & 1


def mask(pid, task, which):
    # Threads of a running mount come and go: one that ended since it was listed blocks everything.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/task/{task}/status").read_text()
        return int(re.search(rf"{which}:\s*(\w+)", status)[1], 16)
    return -1
