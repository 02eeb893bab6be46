"""Broker and agent are killed and started again under programs at work: these go on, or are told the truth."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from tests.stack.world import DESKTOP

pytestmark = pytest.mark.timeout(120)
FILES = 60
WRITER = f"""
import contextlib, os, sys
place, done_already = sys.argv[1], [FileExistsError, FileNotFoundError] if sys.argv[2] == "kill agent" else []
for number in range({FILES}):
    draft, name = os.path.join(place, f"draft-{{number}}"), os.path.join(place, f"file-{{number}}")
    with open(draft, "wb", buffering=0) as file:
        for part in range(4):
            file.write(bytes([number]) * 3000)
        os.fsync(file.fileno())
    with contextlib.suppress(*done_already):
        os.rename(draft, name)
    with contextlib.suppress(*done_already):
        os.mkdir(os.path.join(place, f"dir-{{number}}"))
    print(number, flush=True)
"""
"""An agent that is killed forgets which requests it has done, so what is asked again may find itself done already."""
READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
for number in range(300):
    offset = number * 3571 % 400_000
    data = os.pread(file, 5000, offset)
    assert data == bytes((offset + at) % 251 for at in range(5000)), number
    os.stat(sys.argv[1])
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    print(number, flush=True)
"""


@pytest.fixture
def started(stack):
    stack.start()
    return stack


def restart(stack, which):
    """``kill broker``, ``kill agent``, or ``stop agent``, which lets it finish what it has accepted; then start it."""
    how, _, name = which.partition(" ")
    program = getattr(stack, name)
    program.kill() if how == "kill" else program.stop()
    stack.start_broker() if name == "broker" else stack.start_agent()


def work_through_restarts(stack, script, argument, which, after):
    """Run a script while `which` happens each time it has printed one of the numbers `after`."""
    with subprocess.Popen(
        [sys.executable, "-c", script, argument, which], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            for line in program.stdout:
                if int(line) in after:
                    restart(stack, which)
            _, said = program.communicate(timeout=30)
            assert program.returncode == 0, said
        finally:
            program.kill()


KILLED = pytest.mark.parametrize("which", ["kill broker", "kill agent"])
RESTARTED = pytest.mark.parametrize("which", ["kill broker", "kill agent", "stop agent"])


@RESTARTED
def test_writers_go_on(started, which):
    mounted = started.mount()
    work_through_restarts(started, WRITER, mounted.path, which, {10, 35})
    expected = {f"{kind}-{number}" for kind in ("file", "dir") for number in range(FILES)}
    assert set(os.listdir(started.export)) == expected
    for number in range(FILES):
        assert (started.export / f"file-{number}").read_bytes() == bytes([number]) * 12_000


@RESTARTED
def test_readers_go_on(started, which):
    mounted = started.mount()
    (started.export / "file").write_bytes(bytes(at % 251 for at in range(410_000)))
    work_through_restarts(started, READER, mounted.path / "file", which, {50, 150})


def local_lock(file, style):
    """Try to take a lock as a program at the agent; whether it was free."""
    with file.open("r+b") as other:
        try:
            style(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@KILLED
@pytest.mark.parametrize("style", [fcntl.flock, fcntl.lockf], ids=["flock", "fcntl"])
def test_a_lock_is_held_on(started, hands, which, style):
    mounted = started.mount()
    (started.export / "file").write_bytes(b"content")
    held = hands(os.open, mounted.path / "file", os.O_RDWR)
    hands(style, held, fcntl.LOCK_EX)
    restart(started, which)
    assert hands(os.pwrite, held, b"C", 0) == 1
    assert not local_lock(started.export / "file", style)
    hands(style, held, fcntl.LOCK_UN)
    assert local_lock(started.export / "file", style)
    assert (started.export / "file").read_bytes() == b"Content"


def test_a_lock_that_somebody_took_meanwhile_makes_the_file_stale(started, hands):
    mounted = started.mount()
    (started.export / "file").write_bytes(b"content")
    held = hands(os.open, mounted.path / "file", os.O_RDWR)
    hands(fcntl.lockf, held, fcntl.LOCK_EX)
    started.agent.kill()
    with (started.export / "file").open("r+b") as other:
        fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        started.start_agent()
        with pytest.raises(OSError) as raised:
            hands(os.write, held, b"X")
        assert raised.value.errno == errno.ESTALE
    # It stays lost: what it protected may have changed.
    with pytest.raises(OSError) as raised:
        hands(os.write, held, b"X")
    assert raised.value.errno == errno.ESTALE
    assert (started.export / "file").read_bytes() == b"content"


def test_an_open_file_without_a_name_is_stale_after_the_agent_died_and_untouched_by_the_broker(started, hands):
    mounted = started.mount()
    gone = hands(os.open, mounted.path / "file", os.O_RDWR | os.O_CREAT)
    other = hands(os.open, mounted.path / "other", os.O_RDWR | os.O_CREAT)
    hands(os.write, gone, b"content")
    os.unlink(mounted.path / "file")
    restart(started, "kill broker")
    assert hands(os.pread, gone, 10, 0) == b"content"
    restart(started, "kill agent")
    (started.export / "file").write_bytes(b"another file")
    for call in ((os.write, gone, b"X"), (os.fsync, gone), (os.ftruncate, gone, 0)):
        with pytest.raises(OSError) as raised:
            hands(*call)
        assert raised.value.errno == errno.ESTALE
    assert hands(os.write, other, b"goes on") == 7
    assert (started.export / "file").read_bytes() == b"another file"
    assert (mounted.path / "other").read_bytes() == b"goes on"


def test_an_open_file_whose_name_another_took_is_stale(started, hands):
    mounted = started.mount()
    (started.export / "file").write_bytes(b"first")
    opened = hands(os.open, mounted.path / "file", os.O_RDWR)
    started.agent.kill()
    (started.export / "new").write_bytes(b"other")
    (started.export / "new").rename(started.export / "file")
    started.start_agent()
    with pytest.raises(OSError) as raised:
        hands(os.write, opened, b"X")
    assert raised.value.errno == errno.ESTALE
    assert (started.export / "file").read_bytes() == b"other"


def test_a_mount_that_is_killed_can_be_mounted_again(started, hands):
    mounted, other = started.mount(), started.mount(DESKTOP)
    (started.export / "file").write_bytes(b"content")
    held = hands(os.open, mounted.path / "file", os.O_RDWR)
    mounted.kill()
    with pytest.raises(OSError) as raised:
        hands(os.fsync, held)
    assert raised.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    again = started.mount()
    assert (again.path / "file").read_bytes() == b"content"
    assert (other.path / "file").read_bytes() == b"content"


def test_everything_is_killed_and_started_again(started, hands):
    mounted = started.mount()
    file = hands(os.open, mounted.path / "file", os.O_WRONLY | os.O_CREAT)
    hands(os.write, file, b"before ")
    started.broker.kill()
    started.agent.kill()
    started.start()
    assert hands(os.write, file, b"after") == 5
    hands(os.close, file)
    assert (started.export / "file").read_bytes() == b"before after"
    assert os.listdir(mounted.path) == ["file"]
