"""fcntl and flock locks: between processes, between mounts, and with the remote machine's own processes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.mounted.trial import mounted

LOCK = struct.Struct("hhqqi4x")
CHILD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print("waiting", flush=True)
getattr(fcntl, sys.argv[2])(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

RANGES = """
import fcntl, sys
file = open(sys.argv[1], "rb+")
for start in (0, 25, 30):
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, start)
        print("free")
    except BlockingIOError:
        print("taken")
"""


class Locker:
    """Another process that locks a file and holds the lock until told."""

    def __init__(self, path, call="lockf"):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), call],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.line() == "waiting"

    def line(self):
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate(timeout=20)


@pytest.mark.parametrize("call", ["lockf", "flock"])
def test_locks_exclude_other_processes(here, call):
    path = here / "file"
    with Locker(path, call) as other, path.open("rb+") as file:
        assert other.line() == "locked"
        with pytest.raises(BlockingIOError):
            getattr(fcntl, call)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        other.process.communicate("", timeout=20)
        getattr(fcntl, call)(file, fcntl.LOCK_EX)


@pytest.mark.parametrize("call", ["lockf", "flock"])
def test_locks_exclude_processes_of_the_remote_machine(here, there, call):
    with (here / "file").open("wb") as file:
        getattr(fcntl, call)(file, fcntl.LOCK_EX)
        with (there / "file").open("rb+") as remote, pytest.raises(BlockingIOError):
            getattr(fcntl, call)(remote, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # The kernel gives a lock back when it comes to it, soon after the close.
    with (there / "file").open("rb+") as remote:
        getattr(fcntl, call)(remote, fcntl.LOCK_EX)


@pytest.mark.parametrize("call", ["lockf", "flock"])
def test_whoever_waits_gets_the_lock_when_it_is_free(here, call):
    path = here / "file"
    with path.open("wb") as file:
        getattr(fcntl, call)(file, fcntl.LOCK_EX)
        with Locker(path, call) as other:
            getattr(fcntl, call)(file, fcntl.LOCK_UN)
            assert other.line() == "locked"


@pytest.mark.parametrize("call", ["lockf", "flock"])
def test_a_process_that_waits_can_be_killed(here, call):
    path = here / "file"
    with path.open("wb") as file:
        getattr(fcntl, call)(file, fcntl.LOCK_EX)
        with Locker(path, call) as other:
            other.process.send_signal(signal.SIGKILL)
            assert other.process.wait(20) == -signal.SIGKILL
        getattr(fcntl, call)(file, fcntl.LOCK_UN)
        with Locker(path, call) as other:
            assert other.line() == "locked"


def test_more_waiters_than_libfuse_has_threads_by_default(here):
    """The holder's unlock must get through although dozens wait."""
    path = here / "file"
    taken = []

    def wait():
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            taken.append(1)

    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threads = [threading.Thread(target=wait, daemon=True) for _ in range(30)]
        for thread in threads:
            thread.start()
        assert os.listdir(here) == ["file"]
        assert not taken
    for thread in threads:
        thread.join(50)
    assert len(taken) == 30


def test_ranges_are_apart_and_the_holder_is_told(here):
    path = here / "file"
    path.write_bytes(b"x" * 100)
    with Locker(path) as other, path.open("rb+") as file:
        assert other.line() == "locked"
        wanted = fcntl.fcntl(file, fcntl.F_GETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 10, 5, 0))
        kind, _, start, length, _ = LOCK.unpack(wanted)
        assert (kind, start, length) == (fcntl.F_WRLCK, 0, 0)
        other.process.communicate("", timeout=20)
        fcntl.lockf(file, fcntl.LOCK_EX, 10, 20)
        child = subprocess.run(
            [sys.executable, "-c", RANGES, str(path)], capture_output=True, text=True, check=True, timeout=20
        )
        assert child.stdout.split() == ["free", "taken", "free"]


def test_closing_any_descriptor_gives_a_processs_record_locks_back(here):
    path = here / "file"
    with path.open("wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        path.open("rb").close()
        with Locker(path) as other:
            assert other.line() == "locked"


def test_a_lock_shows_what_another_mount_wrote_under_it(anew):
    """Two mounts of one export count in turns; each must see the other's last number, whatever its kernel keeps."""
    remote = anew / "remote"
    one, two = anew / "one", anew / "two"
    for directory in (remote, one, two):
        directory.mkdir()
    (remote / "count").write_bytes(b"%08d" % 0)
    with mounted(one, remote=remote) as left, mounted(two, remote=remote) as right:
        descriptors = [os.open(trial.local / "count", os.O_RDWR) for trial in (left, right)]
        for turn in range(40):
            for descriptor in descriptors:
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
                number = int(os.pread(descriptor, 8, 0))
                os.pwrite(descriptor, b"%08d" % (number + 1), 0)
                fcntl.lockf(descriptor, fcntl.LOCK_UN)
            assert (remote / "count").read_bytes() == b"%08d" % (2 * turn + 2)
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_signal_with_a_handler_interrupts_the_wait(here):
    path = here / "file"
    path.write_bytes(b"")
    with Locker(path) as other, path.open("rb+") as file:
        assert other.line() == "locked"

        def handler(*_):
            raise InterruptedError(errno.EINTR, "by the test")

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            started = time.monotonic()
            with pytest.raises(InterruptedError):
                fcntl.lockf(file, fcntl.LOCK_EX)
            assert time.monotonic() - started < 20
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def test_a_lock_needs_a_descriptor_of_its_kind(here):
    path = Path(here) / "file"
    path.write_bytes(b"")
    with path.open("rb") as file, pytest.raises(OSError) as refused:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert refused.value.errno == errno.EBADF
