"""Who watches a mount with inotify(7) hears of what is done on the remote machine, and nothing comes of it there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
from watchdog.observers.inotify_c import InotifyConstants as Mask

from peer.agent.inotify import Inotify
from tests.stack.processes import Program, until

pytestmark = pytest.mark.timeout(120)
MOVED = [Mask.IN_MOVED_FROM, Mask.IN_MOVED_TO]
IN_ISDIR = Mask.IN_ISDIR
CHANGING = ("Create", "Delete", "Remove", "Rename", "Write", "SetM", "SetX", "AllocateSpace", "CopyRange")


class Watched:
    """A mount that is watched, its export, and what the watcher says."""

    def __init__(self, stack, home):
        self.stack = stack
        self.export = stack.export
        stack.start()
        self.mount = stack.mount()
        command = [sys.executable, "-m", "tests.stack.watching", self.mount.path]
        self.watcher = Program("watcher", command, home / "watcher.log")

    def begin(self):
        """Watch, with all names known as they are after `ls -R`."""
        list(self.mount.path.rglob("*"))
        self.watcher.start()
        self.watcher.wait_for("watching")
        # The first word may take until the next look at who watches.
        number = 0

        def woken():
            nonlocal number
            number += 1
            (self.export / f"hello-{number}").touch()
            return "hello" in self.watcher.said

        until("the watcher is known", woken)
        for name in self.export.glob("hello-*"):
            name.unlink()

    def hears(self, event, path, to=None, *, times=1):
        line = f"{event} {self.mount.path}/{path} {f'{self.mount.path}/{to}' if to else ''}\n"
        until(f"{event} {path}", lambda: self.watcher.said.count(line) >= times)

    def asked(self):
        """What the agent was asked for that changes something."""
        lines = [json.loads(line) for line in self.stack.audit.read_text().splitlines()]
        return [line for line in lines if line["operation"].startswith(CHANGING)]


@pytest.fixture
def watched(stack, tmp_path):
    watched = Watched(stack, tmp_path)
    yield watched
    watched.watcher.kill()


def test_a_watcher_hears_of_everything_that_is_done_on_the_remote_machine(watched):
    for name in ("kept", "gone", "moved", "replaced", "mode"):
        (watched.export / name).write_text(name)
    (watched.export / "dir" / "below").mkdir(parents=True)
    (watched.export / "old").mkdir()
    watched.begin()
    with (watched.export / "kept").open("a") as file:
        file.write("more")
    watched.hears("modified", "kept")
    assert (watched.mount.path / "kept").read_text() == "keptmore"
    (watched.export / "new").write_text("new")
    watched.hears("created", "new")
    watched.hears("modified", "new")
    (watched.export / "gone").unlink()
    watched.hears("deleted", "gone")
    (watched.export / "moved").rename(watched.export / "dir" / "there")
    watched.hears("moved", "moved", "dir/there")
    (watched.export / "draft").write_text("draft")
    watched.hears("created", "draft")
    (watched.export / "draft").rename(watched.export / "replaced")
    watched.hears("moved", "draft", "replaced")
    assert (watched.mount.path / "replaced").read_text() == "draft"
    (watched.export / "mode").chmod(0o600)
    watched.hears("attrib", "mode")
    (watched.export / "made").mkdir()
    watched.hears("created", "made/")
    (watched.export / "dir").rename(watched.export / "made" / "dir")
    watched.hears("moved", "dir/", "made/dir")
    (watched.export / "link").symlink_to("new")
    watched.hears("created", "link")
    assert os.readlink(watched.mount.path / "link") == "new"
    (watched.export / "old").rmdir()
    watched.hears("deleted", "old/")
    shutil.rmtree(watched.export / "made")
    watched.hears("deleted", "made/")
    assert watched.asked() == []
    names = {path.relative_to(watched.export) for path in watched.export.rglob("*")}
    assert {path.relative_to(watched.mount.path) for path in watched.mount.path.rglob("*")} == names


def test_what_is_read_upon_an_event_is_what_is_there(watched):
    path = watched.export / "file"
    path.write_text("0" * 8)
    watched.begin()
    for number in range(1, 9):
        path.write_text(str(number) * 8)  # of one size
        seen = watched.watcher.said.count(f"modified {watched.mount.path}/file")
        until("the event", lambda seen=seen: watched.watcher.said.count(f"{watched.mount.path}/file") > seen)
        assert (watched.mount.path / "file").read_text() == str(number) * 8


def test_a_save_ends_with_a_close_and_a_tree_goes_name_by_name(watched):
    (watched.export / "file").write_text("x")
    (watched.export / "tree" / "below").mkdir(parents=True)
    (watched.export / "tree" / "below" / "leaf").write_text("x")
    watched.begin()
    with (watched.export / "file").open("a") as file:
        file.write("more")
    watched.hears("closed", "file")
    (watched.export / "new").mkdir()
    (watched.export / "new" / "inside").write_text("x")
    watched.hears("created", "new/")
    watched.hears("created", "new/inside")
    shutil.rmtree(watched.export / "tree")
    for path in ("tree/below/leaf", "tree/below/", "tree/"):
        watched.hears("deleted", path)
    assert watched.asked() == []


def test_without_leave_nobody_is_woken(stack, tmp_path):
    stack.write_client("laptop", wake_watchers=False)
    watched = Watched(stack, tmp_path)
    (watched.export / "file").write_text("x")
    list(watched.mount.path.iterdir())
    watched.watcher.start()
    try:
        watched.watcher.wait_for("watching")
        (watched.export / "file").write_text("more")
        until("it is seen", lambda: (watched.mount.path / "file").read_text() == "more")
        (watched.mount.path / "own").touch()
        watched.hears("created", "own")
        assert f"modified {watched.mount.path}/file" not in watched.watcher.said
    finally:
        watched.watcher.kill()


def test_the_events_are_those_of_inotify(watched):
    (watched.export / "file").write_text("x")
    (watched.export / "other").write_text("x")
    watched.begin()
    inotify = Inotify()
    directory = os.open(watched.mount.path, os.O_RDONLY | os.O_DIRECTORY)
    inotify.watch(directory)
    os.close(directory)
    heard = []

    def hears(*masks):
        news = [event for event in inotify.read() if not event.name.startswith(b"hello")]
        heard.extend((event.mask & ~IN_ISDIR, event.cookie) for event in news)
        return [mask for mask, _ in heard] == list(masks)

    expected = []
    for act, masks in (
        (lambda: (watched.export / "file").chmod(0o600), [Mask.IN_ATTRIB]),
        (lambda: os.truncate(watched.export / "file", 5), [Mask.IN_MODIFY]),
        (lambda: (watched.export / "empty").touch(), [Mask.IN_CREATE]),
        (lambda: (watched.export / "made").mkdir(), [Mask.IN_CREATE]),
        (lambda: (watched.export / "file").rename(watched.export / "other"), MOVED),
        (lambda: (watched.export / "made").rename(watched.export / "moved"), MOVED),
        (lambda: (watched.export / "moved").rmdir(), [Mask.IN_DELETE]),
        (lambda: (watched.export / "other").unlink(), [Mask.IN_DELETE]),
    ):
        expected += masks
        act()
        until(f"{expected}", lambda so_far=tuple(expected): hears(*so_far))
        if masks is MOVED:
            assert heard[-1][1] == heard[-2][1] != 0, "the two halves belong together"
    inotify.close()


USER = """
import os, sys
place = sys.argv[1]
for number in range(150):
    name = os.path.join(place, f"shared-{number % 5}")
    mine = os.path.join(place, f"mine-{number}")
    with open(mine, "w") as file:
        file.write(str(number))
    for act in (lambda: os.unlink(name), lambda: open(name, "x").close(), lambda: os.rename(name, name + "-x")):
        try:
            act()
        except (FileNotFoundError, FileExistsError):
            pass
"""


def test_what_a_user_does_meanwhile_is_done(watched):
    watched.begin()
    stop = threading.Event()

    def elsewhere():
        number = 0
        while not stop.wait(0.001):  # or nobody else would get to do anything, on a busy machine
            number += 1
            name = watched.export / f"shared-{number % 5}"
            with contextlib.suppress(FileNotFoundError):
                [name.touch, name.unlink, lambda name=name: name.rename(f"{name}-y")][number % 3]()

    other = threading.Thread(target=elsewhere)
    other.start()
    try:
        subprocess.run([sys.executable, "-c", USER, watched.mount.path], check=True, timeout=100)
    finally:
        stop.set()
        other.join()
    for number in range(150):
        assert (watched.export / f"mine-{number}").read_text() == str(number)
    until(
        "both sides agree",
        lambda: (
            sorted(os.listdir(watched.mount.path)) == sorted(os.listdir(watched.export))
            and all((watched.mount.path / name).exists() for name in os.listdir(watched.export))
        ),
    )


def test_a_mount_ends_while_it_echoes(watched):
    watched.begin()
    for number in range(300):
        (watched.export / f"file-{number}").write_text("x")
    watched.mount.program.stop()
    assert watched.mount.program.ended() == 0
