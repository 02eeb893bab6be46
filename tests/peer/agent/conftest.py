"""An export in a temporary directory, and the agent's dispatcher over it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from peer.agent.access_policy import AccessRules
from peer.agent.dispatcher import Dispatcher
from schema.envelope import Address
from schema.paths import parse
from schema.requests import Caller
from tests.conformance.driver import Files
from tests.peer.agent.feed_reader import Reader
from tests.peer.agent.feed_world import World

LAPTOP = Address("laptop", 1)
PHONE = Address("phone", 1)
ME = Caller(os.getuid(), os.getgid(), tuple(os.getgroups()), 0o022)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as others")


def components(path: Path | str) -> tuple[bytes, ...]:
    """`path` as it is on the wire."""
    return parse(os.fsencode(path))


def open_descriptors() -> set[int]:
    """What this process has open, but for the descriptor of this very look."""
    with os.scandir("/proc/self/fd") as entries:
        return {int(entry.name) for entry in entries if not os.readlink(entry.path).endswith("/fd")}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    directory = tmp_path / "export"
    directory.mkdir()
    return directory


Start = Callable[..., Dispatcher]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts dispatchers, and closes them in the end."""
    with ExitStack() as started:

        def start(rules: AccessRules, **arguments) -> Dispatcher:
            dispatcher = Dispatcher(rules, boot=7, **arguments)
            started.callback(dispatcher.close)
            return dispatcher

        yield start


@pytest.fixture
def dispatcher(start: Start, export: Path) -> Dispatcher:
    return start(AccessRules((components(export),)))


@pytest.fixture
def files(dispatcher: Dispatcher, export: Path) -> Iterator[Files]:
    """The export as the client LAPTOP sees it."""
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    yield files
    files.close_all()


class LocalProcess:
    """A program on the agent's machine that does one statement after the other, each when told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOCAL_PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, statement: str) -> str:
        """What became of `statement`: ``ok`` or the name of an errno."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


_LOCAL_PROCESS = """
import sys, os, fcntl, errno
names = dict(os=os, fcntl=fcntl)
for line in sys.stdin:
    try:
        exec(line, names)
        print("ok", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""


@pytest.fixture
def local_process() -> Iterator[LocalProcess]:
    process = LocalProcess()
    yield process
    process.end()


@pytest.fixture
def world(dispatcher: Dispatcher, export: Path) -> Iterator[World]:
    """The export with its change feeds; the test starts the watcher."""
    world = World(dispatcher, export)
    yield world
    world.watcher.stop()


@pytest.fixture
def reader(world: World) -> Reader:
    """Follows the feed of an export with the file d/f, all of it under watch."""
    (world.export / "d").mkdir()
    (world.export / "d" / "f").write_text("before")
    world.start()
    return world.follow()
