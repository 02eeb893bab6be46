"""Coming up and going down: what stands in the way is one sentence, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from peer.mount.connection import Connection
from peer.mount.mountpoint import mount_at
from tests.mounted.trial import PATIENCE, is_mounted, mounted
from tests.stack.processes import until


def refusal(remote, local, **options):
    """What the mount program says when it cannot mount."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.mounted.server", str(remote), str(local), json.dumps(options)],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert child.returncode != 0
    return child.stderr.strip().splitlines()[-1]


def test_a_mount_point_that_cannot_be_used(anew):
    remote, full, file = anew / "remote", anew / "full", anew / "file"
    remote.mkdir()
    full.mkdir()
    (full / "something").touch()
    file.touch()
    assert "is not empty" in refusal(remote, full)
    assert "is not a directory" in refusal(remote, file)
    assert "does not exist" in refusal(remote, anew / "missing")


def test_a_mount_point_in_use(anew):
    with mounted(anew) as trial:
        assert "is mounted already" in refusal(trial.remote, trial.local)


def test_a_mount_that_died_is_replaced(anew):
    with mounted(anew) as trial:
        trial.process.kill()
        trial.process.wait(PATIENCE)
        with pytest.raises(OSError, match="Transport endpoint is not connected"):
            os.listdir(trial.local)
        with mounted(anew) as second:
            (second.local / "file").touch()
            assert os.listdir(second.remote) == ["file"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(anew, number):
    with mounted(anew) as trial:
        (trial.local / "file").write_bytes(b"kept")
        trial.process.send_signal(number)
        assert trial.process.wait(PATIENCE) == 0
        assert not is_mounted(trial.local)
    assert (trial.remote / "file").read_bytes() == b"kept"


def test_a_busy_mount_is_detached(anew):
    with mounted(anew) as trial:
        descriptor = os.open(trial.local / "file", os.O_CREAT | os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
            trial.process.send_signal(signal.SIGTERM)
            assert trial.process.wait(PATIENCE) == 0
            assert not is_mounted(trial.local)
            with pytest.raises(OSError, match="not connected|abort"):
                os.write(descriptor, b"y")
        finally:
            with contextlib.suppress(OSError):  # the close has nobody to tell, either
                os.close(descriptor)


def test_links_out_of_the_mount_are_not_shown_where_that_is_asked_for(anew):
    with mounted(anew, symlinks="contain") as trial:
        directory = trial.remote / "directory"
        directory.mkdir()
        for name, target in (("in", "../file"), ("up", "../../file"), ("absolute", "/etc/passwd")):
            (directory / name).symlink_to(target)
        (trial.remote / "file").write_bytes(b"inside")
        shown = trial.local / "directory"
        assert (shown / "in").read_bytes() == b"inside"
        for name in ("up", "absolute"):
            with pytest.raises(PermissionError):
                os.readlink(shown / name)
            with pytest.raises(PermissionError):
                (shown / name).read_bytes()


def test_no_descriptor_is_left_open(anew):
    with mounted(anew) as trial:
        (trial.local / "warm").write_bytes(b"")
        os.listdir(trial.local)
        before = len(os.listdir(f"/proc/{trial.process.pid}/fd"))
        for number in range(30):
            (trial.local / f"file{number}").write_bytes(b"x")
            os.link(trial.local / f"file{number}", trial.local / f"link{number}")
            os.listdir(trial.local)
            os.unlink(trial.local / f"link{number}")
        # Files are given back by the kernel when it comes to it, after their close.
        until("all are closed", lambda: len(os.listdir(f"/proc/{trial.process.pid}/fd")) <= before + 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_mount_ends_whatever_its_own_process_asked_of_it(anew, number):
    with mounted(anew, program="tests.mounted.held_up") as trial:
        ours = Connection()
        if not ours.begin(mount_at(str(trial.local)).device):
            pytest.skip("this user cannot abort a connection here")
        try:
            trial.process.send_signal(number)
            assert trial.process.wait(PATIENCE) == 0
            assert not is_mounted(trial.local)
        finally:
            ours.end()  # or the process would never end
