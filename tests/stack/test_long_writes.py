"""A write(2) sets the times of a file, and then it copies: what is read in between is not taken for what it leaves."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import time

import pytest

from peer.mount.freshness import NAME
from peer.mount.quiet_files import QUIET_SECONDS
from tests.stack.processes import until

pytestmark = pytest.mark.timeout(120)
SIZE = 4 * mmap.PAGESIZE
OLD, NEW = b"o" * SIZE, b"n" * SIZE
_WRITE = """
import mmap, os, sys
source, target = (os.open(name, os.O_RDWR) for name in sys.argv[1:])
mapped = mmap.mmap(source, 0)
sys.stdin.readline()
os.write(target, mapped)
"""


class LongWrite:
    """Writes `source`, which `holder` serves, over `target` in one call, which lasts while the holder is stopped."""

    def __init__(self, source, target, holder):
        self._holder = holder
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITE, source, target], stdin=subprocess.PIPE, text=True
        )
        self._target = target

    def begin(self):
        changed = self._target.stat().st_mtime_ns
        self._holder.signal(signal.SIGSTOP)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        until(
            "it has begun, which cannot end before its source comes", lambda: self._target.stat().st_mtime_ns > changed
        )

    def end(self):
        self._holder.signal(signal.SIGCONT)
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0


@pytest.fixture
def long_write(stack):
    """A mount that reads "file", over which somebody on the remote machine writes."""
    (stack.export / "file").write_bytes(OLD)
    (stack.export / "source").write_bytes(NEW)
    stack.start()
    holder = stack.mount()
    write = LongWrite(holder.path / "source", stack.export / "file", holder.program)
    with contextlib.closing(write.process.stdin):
        yield write
    holder.program.signal(signal.SIGCONT)
    write.process.kill()
    write.process.wait(20)


def test_what_was_read_during_a_long_write_is_not_shown_after_it(stack, long_write):
    file = stack.mount().path / "file"
    with file.open("rb", buffering=0) as reader, mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        long_write.begin()
        for _ in range(2):
            with file.open("rb", buffering=0) as another:
                assert another.read() == os.pread(reader.fileno(), SIZE, 0) == mapped[:]
        assert mapped[:] != NEW
        long_write.end()
        until("a reader sees what was written", lambda: os.pread(reader.fileno(), SIZE, 0) == NEW)
        until("a mapping shows it", lambda: mapped[:] == NEW)
        assert file.read_bytes() == NEW


def test_what_was_read_during_a_long_write_is_not_kept(stack, long_write):
    mounted = stack.mount()
    file = mounted.path / "file"
    long_write.begin()
    settled = (stack.export / "file").stat().st_mtime_ns + QUIET_SECONDS * 10**9
    until("its times are old", lambda: time.time_ns() > settled)
    for _ in range(2):
        assert file.read_bytes() != NEW
    assert b"; cached 0 of %d bytes" % SIZE in os.getxattr(file, NAME)
    long_write.end()
    mounted.program.stop()
    assert (stack.mount().path / "file").read_bytes() == NEW
