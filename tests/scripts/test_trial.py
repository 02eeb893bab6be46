"""The trial installation, with the true programs: started, used, started again, stopped."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.trial.layout import PORTS
from tests.stack.ports import SLOT, reserved_ports

CHECKOUT = Path(__file__).parents[2]
BINARIES = Path(sys.executable).parent
CI = bool(os.environ.get("CI"))

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not CI and not (BINARIES / "remotefs").exists(), reason="remotefs is not installed beside this Python"
    ),
    pytest.mark.skipif(not CI and not Path("/dev/fuse").exists(), reason="there is no /dev/fuse"),
]


@pytest.fixture
def trial(tmp_path):
    """Run the trial's command with a home of its own; whatever runs at the end is stopped."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CHECKOUT / "supervisord.conf", home)

    def run(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "scripts.trial", "--home", home, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        assert done.returncode == status, said
        return said

    run.home = home
    yield run
    run("--stop")


@pytest.fixture
def port():
    """The first of as many free ports in a row as a trial needs."""
    assert PORTS <= SLOT
    with reserved_ports() as first:
        yield first


def processes(home):
    """Processes that name something of `home` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(home) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def is_mounted(path):
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


def test_a_trial_starts_is_used_left_alone_and_stopped(trial, port, tmp_path):
    export, mount = tmp_path / "export", tmp_path / "mount"
    export.mkdir()
    (export / "hello").write_text("hello")
    said = trial(export, mount, "--port", str(port))
    assert "hello" in said
    assert "--stop" in said
    assert (mount / "hello").read_text() == "hello"
    (mount / "world").write_text("world")
    assert (export / "world").read_text() == "world"

    before = sorted(processes(trial.home))
    with (mount / "open").open("w") as file:
        assert "running already" in trial()
        assert "running already" in trial(export, mount)
        file.write("still here")
    assert (export / "open").read_text() == "still here"
    assert sorted(processes(trial.home)) == before
    assert "stop it first" in trial(tmp_path, mount, status=1)

    settings = trial.home / "config" / "client.toml"
    with subprocess.Popen(["tail", "-f", settings], stdout=subprocess.DEVNULL) as reader:
        assert "Stopped." in trial("--stop")
        assert reader.poll() is None  # somebody who only looks is left alone
        reader.terminate()
    assert not is_mounted(mount)
    assert processes(trial.home) == []
    assert list(mount.iterdir()) == []
    assert "Nothing was running." in trial("--stop")


def test_a_port_in_use_is_one_sentence_and_leaves_nothing(trial, port):
    with socket.create_server(("127.0.0.1", port + 1)):
        said = trial("--port", str(port), status=1)
    assert f"port {port + 1} is in use by " in said
    assert said.count("\n") == 1
    assert processes(trial.home) == []


def test_a_mount_point_that_is_not_empty_is_one_sentence(trial, port, tmp_path):
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "mine").touch()
    said = trial(tmp_path / "home", tmp_path / "mount", "--port", str(port), status=1)
    assert "is not empty" in said
    assert said.count("\n") == 1


def keys(home):
    return {path.name: path.read_bytes() for path in (home / "keys").iterdir()}


def test_what_outlived_a_killed_supervisord_is_ended_by_stop_and_by_the_next_start(trial, port):
    mount = trial.home / "mount"
    for again in ("--stop", "--port"):
        assert "README.txt" in trial("--port", str(port))  # without arguments there is something to see
        before = keys(trial.home)
        supervisord = int((trial.home / "run" / "supervisord.pid").read_text())
        os.kill(supervisord, signal.SIGKILL)
        until = time.monotonic() + 30
        while Path(f"/proc/{supervisord}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert processes(trial.home)
        trial(again, *([str(port)] if again == "--port" else []))
        if again == "--stop":
            assert processes(trial.home) == []
            assert not is_mounted(mount)
    assert (mount / "README.txt").exists()
    assert keys(trial.home) == before


def test_a_program_that_dies_is_started_again(trial, port):
    trial("--port", str(port))
    os.kill(processes(trial.home / "config" / "agent.toml")[0], signal.SIGKILL)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            assert (trial.home / "mount" / "README.txt").read_text()
            break
        except OSError:
            time.sleep(0.1)
    else:
        raise AssertionError("the mount did not recover")
