"""What a directory shows right after a local system call has returned: real files, real inotify, nobody waits."""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
import time

import msgspec
import pytest

from peer.agent.access_policy import AccessRules
from schema.replies import DirectoryPage, Failure
from schema.requests import ListDir
from tests.peer.agent.conftest import components
from tests.peer.agent.feed_reader import until
from tests.peer.agent.feed_world import World, exchange

NAMES = ("a", "b", "c")
STEPS = 2000


@pytest.fixture(params=[True, False], ids=["followed", "nobody follows"])
def local(request, start, tmp_path):
    """An export under watch, with a directory beside it that is not."""
    export = tmp_path / "export"
    export.mkdir()
    (tmp_path / "outside").mkdir()
    world = World(start(AccessRules((components(export),))), export)
    world.start()
    if request.param:
        world.follow()
    yield world
    world.watcher.stop()


def there(directory):
    """What the kernel says, access times and blocks aside: those are not told of."""
    found = {}
    for entry in os.scandir(os.fsencode(directory)):
        status = entry.stat(follow_symlinks=False)
        found[entry.name] = (
            *(status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns),
        )
    return found


def told(world, directory, *, metadata=True):
    page = world.ask(ListDir(components(directory), metadata=metadata))
    if isinstance(page, Failure):
        return page.code
    assert isinstance(page, DirectoryPage)
    if not metadata:
        return {entry.name: (entry.inode, entry.type) for entry in page.entries}
    return {
        entry.name: (
            *(entry.inode, entry.metadata.mode, entry.metadata.links, entry.metadata.uid, entry.metadata.size),
            *(entry.metadata.mtime_ns, entry.metadata.ctime_ns),
        )
        for entry in page.entries
    }


class Writer:
    """Does something at random below `tops`; what the kernel refuses does nothing."""

    def __init__(self, seed, export, outside):
        self.random = random.Random(seed)
        self.export, self.outside = export, outside
        self.deeds = [
            *(self.create, self.append, self.truncate, self.chmod, self.touch, self.unlink, self.mkdir, self.rmdir),
            *(self.rename, self.rename, self.link, self.brief_link, self.symlink, self.exchange, self.replace),
            *(self.out, self.back, self.write_open),
        ]

    def place(self):
        depth = self.random.choice((1, 1, 2, 2, 3))
        return self.export.joinpath(*(self.random.choice(NAMES) for _ in range(depth)))

    def act(self):
        deed = self.random.choice(self.deeds)
        try:
            deed()
        except OSError:
            return None
        return deed.__name__

    def create(self):
        self.place().touch(exist_ok=False)

    def append(self):
        with self.place().open("r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(b"more")

    write_open = append

    def truncate(self):
        os.truncate(self.place(), self.random.randrange(100))

    def chmod(self):
        path = self.place()
        path.chmod(stat.S_IMODE(path.lstat().st_mode) ^ 0o020, follow_symlinks=True)

    def touch(self):
        os.utime(self.place(), ns=(0, self.random.randrange(10**9)), follow_symlinks=False)

    def unlink(self):
        self.place().unlink()

    def mkdir(self):
        self.place().mkdir()

    def rmdir(self):
        path = self.place()
        if self.random.random() < 0.2:
            shutil.rmtree(path)
        path.rmdir()

    def rename(self):
        self.place().rename(self.place())

    def link(self):
        os.link(self.place(), self.place(), follow_symlinks=False)

    def brief_link(self):
        """Another name for a moment: all that stays of it is the change time."""
        other = self.place()
        os.link(self.place(), other, follow_symlinks=False)
        if self.random.random() < 0.5:
            other.unlink()
        else:
            new = self.export / "c" / "fresh"
            new.touch()
            new.rename(other)

    def symlink(self):
        self.place().symlink_to("a")

    def exchange(self):
        one, other = self.place(), self.place()
        if one.exists() and other.exists() and one not in other.parents and other not in one.parents:
            exchange(one, other)

    def replace(self):
        new = self.place().parent / "new"
        new.write_bytes(b"replaced")
        new.rename(self.place())

    def out(self):
        self.place().rename(self.outside / self.random.choice(NAMES))

    def back(self):
        (self.outside / self.random.choice(NAMES)).rename(self.place())


@pytest.mark.parametrize("seed", range(2))
def test_what_a_directory_shows_right_after_a_system_call_is_what_is_there(local, tmp_path, seed):
    """Between some of the calls all is told, so that the answers come from what is known, and must be right then."""
    writer = Writer(seed, local.export, tmp_path / "outside")
    done = set()
    for _ in range(STEPS):
        for _ in range(writer.random.choice((0, 1, 1, 1, 2, 5))):
            done.add(writer.act())
        if writer.random.random() < 0.2:
            until("all is told", local.quiet)
        for directory in {local.export, writer.place(), writer.place().parent}:
            expected = there(directory) if directory.is_dir() and directory.resolve() == directory else None
            if expected is not None:
                assert told(local, directory) == expected
                assert told(local, directory, metadata=False) == {
                    name: (status[0], stat.S_IFMT(status[1])) for name, status in expected.items()
                }
    assert done >= {deed.__name__ for deed in writer.deeds}
    counts = local.dispatcher.cache.counts()
    assert counts.hits > STEPS / 4, counts
    assert counts.unproven > STEPS / 4, counts


ONE_BY_ONE = {
    "write": lambda d, n: (d / "f").write_bytes(b"x" * n),
    "truncate": lambda d, n: os.truncate(d / "f", n % 7),
    "chmod": lambda d, n: (d / "f").chmod(0o600 + n % 2),
    "chmod of the directory": lambda d, n: d.chmod(0o700 + n % 2),
    "create and unlink": lambda d, n: (d / "new").unlink() if (d / "new").exists() else (d / "new").touch(),
    "replace": lambda d, n: ((d / "draft").write_bytes(b"x" * (n % 9)), (d / "draft").rename(d / "f")),
    "rename above": lambda d, n: exchange(d.parent, d.parent.with_name("other")),
    "link": lambda d, n: (d / "n").unlink() if (d / "n").exists() else os.link(d / "f", d / "n"),
    "link elsewhere": lambda d, n: (
        (d.parent / "n").unlink() if (d.parent / "n").exists() else os.link(d / "f", d.parent / "n")
    ),
    "out and back": lambda d, n: (d.rename(d.parents[2] / "outside" / "d"), (d.parents[2] / "outside" / "d").rename(d)),
}


@pytest.mark.parametrize("deed", ONE_BY_ONE)
def test_one_thing_again_and_again(local, deed):
    """Half of the times all has been told before, so that what is known is believed, and only the queue says no."""
    directory = local.export / "one" / "d"
    for each in (directory, local.export / "other" / "d"):
        each.mkdir(parents=True)
        (each / "f").touch()
        (each / "f").write_bytes(each.parent.name.encode())
        (each / "sub").mkdir()
    until("all is told", lambda: local.quiet() and local.watcher.coverage(components(directory)).listing)
    before = local.dispatcher.cache.counts()
    for number in range(300):
        if number % 2:
            until("all is told", local.quiet)
            told(local, directory)
            told(local, directory.parent)
        ONE_BY_ONE[deed](directory, number)
        assert told(local, directory) == there(directory)
        assert told(local, directory.parent) == there(directory.parent)
    counts = local.dispatcher.cache.counts()
    assert counts.misses > before.misses
    assert counts.proven > before.proven


def test_answers_are_right_while_somebody_else_writes_elsewhere(local):
    """The watcher is between reading and telling as often as not: what it has taken is not told yet."""
    quiet, busy = local.export / "quiet", local.export / "busy"
    for each in (quiet, busy):
        each.mkdir()
        (each / "f").touch()
    until("all is watched", lambda: local.quiet() and local.watcher.coverage(components(quiet)).listing)
    ending = threading.Event()

    def write():
        while not ending.is_set():
            (busy / "f").write_bytes(b"x")
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(500):
            (quiet / "f").chmod(0o600 + number % 2)
            deadline = time.monotonic() + 0.006
            while time.monotonic() < deadline:
                assert told(local, quiet) == there(quiet)
    finally:
        ending.set()
        writer.join()
    counts = local.dispatcher.cache.counts()
    assert counts.hits > 20, counts
    assert counts.unproven > 20, counts


def test_attributes_are_believed_for_a_short_time_though_nothing_is_told(local, tmp_path, monkeypatch):
    file = local.export / "f"
    file.touch()
    until("all is told", local.quiet)
    now = time.monotonic()
    monkeypatch.setattr(local.dispatcher._directories, "_clock", lambda: now)
    assert told(local, local.export)[b"f"][2] == 1
    os.link(file, tmp_path / "outside" / "f")  # of which nobody is told
    assert told(local, local.export)[b"f"][2] == 1
    now += 5.1
    assert told(local, local.export) == there(local.export)


def test_what_is_asked_afresh_is_what_has_several_names_and_nothing_else(local, monkeypatch):
    (local.export / "d").mkdir()
    (local.export / "f").touch()
    os.link(local.export / "f", local.export / "g")
    (local.export / "h").touch()
    until("all is told", lambda: local.quiet() and local.watcher.coverage(components(local.export)).listing)
    told(local, local.export)
    looked = []
    genuine = os.stat
    monkeypatch.setattr(os, "stat", lambda name, **more: looked.append(name) or genuine(name, **more))
    told(local, local.export)
    assert looked == [b".", b"f", b"g"]


def test_access_times_and_nothing_else_may_be_older(local):
    """What is answered is what was looked at, to the last field."""
    (local.export / "f").write_bytes(b"x")
    until("all is told", local.quiet)
    first = local.ask(ListDir(local.top))
    again = local.ask(ListDir(local.top))
    assert first.entries == again.entries
    assert local.dispatcher.cache.counts().hits == 1
    assert msgspec.structs.replace(again.entries[0].metadata, atime_ns=0) == msgspec.structs.replace(
        local.stat("f").metadata, atime_ns=0
    )
