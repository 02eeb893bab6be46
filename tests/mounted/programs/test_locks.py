"""Locks exclude across the two clients and the processes at the agent, whichever of them comes first."""

from __future__ import annotations

import fcntl
import os
import subprocess

import pytest

from tests.stack.hands import Hands
from tests.stack.processes import until, waits_for_fuse

STYLES = pytest.mark.parametrize("style", [fcntl.flock, fcntl.lockf], ids=["flock", "fcntl"])
PAIRS = pytest.mark.parametrize(
    ("first", "second"), [("laptop", "desktop"), ("laptop", "server"), ("server", "laptop"), ("laptop", "laptop")]
)
NOW = fcntl.LOCK_NB


class Holder:
    """A process that has a file open and takes locks on it as it is told."""

    def __init__(self, path):
        self.hands = Hands()
        self._file = self.hands(os.open, path, os.O_RDWR)

    def ask(self, style, *arguments):
        self.hands.ask(style, self._file, *arguments)

    def takes(self, style, *arguments):
        """Whether it got the lock."""
        self.ask(style, *arguments)
        return self.has_it()

    def has_it(self):
        try:
            self.hands.answer()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def holder(places):
    """Makes a process that has ``file`` of a place open."""
    (places.server / "file").write_bytes(b"x" * 100)
    made = []

    def make(place):
        made.append(Holder(getattr(places, place) / "file"))
        return made[-1]

    yield make
    for each in made:
        each.hands.close()


@STYLES
@PAIRS
def test_a_lock_excludes_until_it_is_given_back(holder, style, first, second):
    one, other = holder(first), holder(second)
    assert one.takes(style, fcntl.LOCK_EX | NOW)
    assert not other.takes(style, fcntl.LOCK_EX | NOW)
    assert not other.takes(style, fcntl.LOCK_SH | NOW)
    assert one.takes(style, fcntl.LOCK_SH | NOW)
    assert other.takes(style, fcntl.LOCK_SH | NOW)
    assert not other.takes(style, fcntl.LOCK_EX | NOW)
    assert one.takes(style, fcntl.LOCK_UN)
    assert other.takes(style, fcntl.LOCK_EX | NOW)
    assert not one.takes(style, fcntl.LOCK_SH | NOW)


@STYLES
@PAIRS
def test_who_waits_gets_the_lock_when_its_holder_is_killed(holder, style, first, second):
    one, other = holder(first), holder(second)
    assert one.takes(style, fcntl.LOCK_EX)
    other.ask(style, fcntl.LOCK_EX)
    one.hands.close()
    assert other.has_it()


def test_who_waits_for_a_lock_can_be_killed(holder):
    one, other, third = holder("desktop"), holder("laptop"), holder("laptop")
    assert one.takes(fcntl.lockf, fcntl.LOCK_EX)
    other.ask(fcntl.lockf, fcntl.LOCK_EX)
    until("it waits", lambda: waits_for_fuse(other.hands.process.pid))
    other.hands.close()
    assert one.takes(fcntl.lockf, fcntl.LOCK_UN)
    assert third.takes(fcntl.lockf, fcntl.LOCK_EX | NOW)


def test_ranges_of_one_file_are_locked_by_different_clients(holder):
    owner = holder("laptop")
    assert owner.takes(fcntl.lockf, fcntl.LOCK_EX, 10, 20)
    for place in ("laptop", "desktop", "server"):
        other = holder(place)
        assert other.takes(fcntl.lockf, fcntl.LOCK_EX | NOW, 20, 0)
        assert other.takes(fcntl.lockf, fcntl.LOCK_EX | NOW, 0, 30)
        assert not other.takes(fcntl.lockf, fcntl.LOCK_EX | NOW, 1, 25)
        assert not other.takes(fcntl.lockf, fcntl.LOCK_SH | NOW, 0, 0)
        other.hands.close()
    assert owner.takes(fcntl.lockf, fcntl.LOCK_UN, 5, 20)
    assert holder("desktop").takes(fcntl.lockf, fcntl.LOCK_EX | NOW, 5, 20)
    assert not holder("server").takes(fcntl.lockf, fcntl.LOCK_EX | NOW, 1, 29)


def test_flock_1_counts_without_losing_one(places):
    (places.server / "count").write_text("0")
    script = 'for i in $(seq 8); do flock lock sh -c "read n <count; echo \\$((n+1)) >count"; done'
    loops = [
        subprocess.Popen(["sh", "-c", script], cwd=place, stdin=subprocess.DEVNULL)
        for place in (places.laptop, places.desktop, places.server, places.laptop)
    ]
    try:
        for loop in loops:
            assert loop.wait(40) == 0
    finally:
        for loop in loops:
            loop.kill()
            loop.wait(10)
    assert (places.server / "count").read_text() == "32\n"
    until("the last count is seen by a client", lambda: (places.laptop / "count").read_text() == "32\n")
