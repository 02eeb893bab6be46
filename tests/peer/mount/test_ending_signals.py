"""A loop as libfuse has it, which looks whether it is to end and then sleeps, ends whenever it is told to."""

from __future__ import annotations

import sys

import pytest

from tests.stack.processes import run

pytestmark = pytest.mark.timeout(60)
LOOP = """
import ctypes, os, signal, threading, time
from peer.mount.ending_signals import Ending, unheard_by_new_threads

libc = ctypes.CDLL(None)
nobody = ctypes.create_string_buffer(64)
libc.sem_init(nobody, 0, 0)
left = threading.Event()
ending = Ending(left.set)

def tell():
    os.kill(os.getpid(), signal.SIGTERM)

def sleep():
    libc.sem_wait(nobody)  # until a signal interrupts it

with unheard_by_new_threads(), ending.heard():
{}
print("ended")
"""


@pytest.mark.parametrize(
    "loop",
    [
        """
    ending.serving()
    threading.Timer(0.1, tell).start()
    while not left.is_set():
        sleep()
""",
        """
    tell()
    assert not left.wait(0.1), "nobody knows yet how to leave"
    ending.serving()
    while not left.is_set():
        sleep()
""",
        """
    tell()
    ending.serving()
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        assert not left.is_set(), "it is told to end before it sleeps, and would sleep on"
    while not left.is_set():
        sleep()
""",
        """
    tell()
    ending.serving()
    left.wait()
    time.sleep(0.2)  # which takes the first wake-up
    sleep()
""",
        """
    ending.serving()
""",
    ],
    ids=["while it sleeps", "before it begins", "before it sleeps", "while it waits for something else", "never"],
)
def test_a_loop_ends_when_it_is_told_to(loop):
    assert run(sys.executable, "-c", LOOP.format(loop)).endswith("ended\n")
