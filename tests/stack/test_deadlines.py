"""What happens when nobody answers: every call ends by its deadline, and whoever waits can be killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stack.hands import Hands
from tests.stack.processes import until, waits_for_fuse
from tests.stack.world import LAPTOP

pytestmark = pytest.mark.timeout(90)
SHORT = {"metadata": 1.5, "data": 1.5}
LONG = {"metadata": 3600.0, "data": 3600.0}
"""So that nothing which a test sees can be the deadline's doing."""


@pytest.mark.parametrize("frozen", ["agent", "broker"])
def test_without_an_answer_every_call_fails_in_time_and_later_all_is_well(stack, frozen):
    stack.write_client(LAPTOP, timeouts=SHORT, attribute_seconds=0.0)
    (stack.export / "far").mkdir()
    (stack.export / "far" / "off").touch()
    stack.start()
    mounted = stack.mount()
    with (mounted.path / "file").open("w+b", buffering=0) as file:
        file.write(b"content")
        program = getattr(stack, frozen)
        calls = [
            lambda: os.stat(mounted.path / "far" / "off"),
            lambda: os.listdir(mounted.path / "far"),
            lambda: os.open(mounted.path / "new", os.O_CREAT),
            lambda: os.pwrite(file.fileno(), b"X", 100),
            lambda: os.fsync(file.fileno()),
        ]
        program.signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(len(calls)) as threads:
                outcomes = [outcome.exception(30) for outcome in [threads.submit(call) for call in calls]]
        finally:
            program.signal(signal.SIGCONT)
        assert [getattr(outcome, "errno", outcome) for outcome in outcomes] == [errno.ETIMEDOUT] * len(calls)
        until("the mount answers", lambda: answers(mounted.path))
        os.pwrite(file.fileno(), b"again", 0)
        os.fsync(file.fileno())
    assert (stack.export / "file").read_bytes()[:7] == b"againnt"


def answers(path):
    try:
        os.stat(path / "file")
    except TimeoutError:
        return False
    return True


def test_who_waits_for_a_dead_agent_can_be_killed(stack):
    stack.write_client(LAPTOP, timeouts=LONG, attribute_seconds=0.0)
    (stack.export / "file").write_text("text")
    (stack.export / "far").mkdir()
    (stack.export / "far" / "off").touch()
    stack.start()
    mounted = stack.mount()
    file = mounted.path / "file"
    assert file.read_text() == "text"
    stack.agent.kill()
    waiting = [Hands() for _ in range(3)]
    try:
        for hands, call in zip(
            waiting,
            ((os.stat, mounted.path / "far" / "off"), (os.open, file, os.O_RDWR), (os.listdir, mounted.path)),
            strict=True,
        ):
            hands.ask(*call)
            until("it waits", lambda hands=hands: waits_for_fuse(hands.process.pid))
    finally:
        for hands in waiting:
            hands.close()
    assert [hands.process.returncode for hands in waiting] == [-signal.SIGKILL] * 3
    stack.start_agent()
    assert file.read_text() == "text"


def test_a_signal_that_is_handled_does_not_break_a_call(stack):
    stack.write_client(LAPTOP, timeouts=LONG, attribute_seconds=0.0)
    (stack.export / "file").write_text("text")
    stack.start()
    mounted = stack.mount()
    script = """
import os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: print("alarm", flush=True))
print("ready", flush=True)
sys.stdin.readline()
print(os.stat(sys.argv[1]).st_size, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, mounted.path / "file"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            stack.agent.kill()
            process.stdin.write("go\n")
            process.stdin.flush()
            until("it waits", lambda: waits_for_fuse(process.pid))
            process.send_signal(signal.SIGALRM)
            stack.start_agent()
            said, _ = process.communicate(timeout=30)
            assert sorted(said.split()) == ["4", "alarm"]
        finally:
            process.kill()


def test_sigterm_ends_a_mount_that_is_in_use(stack):
    stack.start()
    mounted = stack.mount()
    hands = Hands(cwd=mounted.path)
    try:
        file = hands(os.open, "file", os.O_WRONLY | os.O_CREAT)
        assert hands(os.write, file, b"text") == 4
        mounted.program.signal(signal.SIGTERM)
        assert mounted.program.ended() == 0
        assert not mounted.is_there
        assert os.listdir(mounted.path) == []
        with pytest.raises(OSError) as raised:
            hands(os.write, file, b"more")
        assert raised.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    finally:
        hands.close()
    assert (stack.export / "file").read_text() == "text"


def test_sigterm_ends_a_mount_whose_callers_wait_for_a_dead_agent(stack):
    stack.write_client(LAPTOP, timeouts=LONG, attribute_seconds=0.0)
    stack.start()
    mounted = stack.mount()
    stack.agent.kill()
    with subprocess.Popen(["ls", mounted.path], stderr=subprocess.DEVNULL) as caller:
        until("it waits", lambda: waits_for_fuse(caller.pid))
        mounted.program.signal(signal.SIGTERM)
        assert mounted.program.ended() == 0
        assert not mounted.is_there
        assert caller.wait(20) != 0
