"""What happens in a real directory reaches a feed's reader: every kind of event, in order, none twice, none lost."""

from __future__ import annotations

import os
import socket

import pytest

from schema.changes import Renamed, Swept
from tests.peer.agent.feed_reader import Replica, until
from tests.peer.agent.feed_world import about, exchange


def test_contents_attributes_and_names_are_told_with_what_they_are_now(world, reader):
    path = world.export / "d" / "f"
    for change in (
        lambda: path.write_text("after"),
        lambda: path.chmod(0o600),
        lambda: os.utime(path, ns=(1, 2)),
        lambda: os.truncate(path, 2),
        lambda: os.setxattr(path, "user.a", b"b"),
    ):
        change()
        status = path.stat()
        now = status.st_ctime_ns
        told = reader.wait_for(
            "the change",
            lambda cs, now=now: any(about(c, world.path("d", "f")) and c.metadata.ctime_ns == now for c in cs),
        )
        last = [c for c in told if about(c, world.path("d", "f"))][-1].metadata
        assert (last.inode, last.size, last.mode, last.mtime_ns) == (
            status.st_ino,
            status.st_size,
            status.st_mode,
            status.st_mtime_ns,
        )


@pytest.mark.parametrize("name", [b"plain", b"\xff\xfe", b"new\nline", "ü".encode(), b"x" * 255])
def test_names_are_bytes(world, reader, name):
    where = os.fsencode(world.export) + b"/d/" + name
    os.mkdir(where)
    assert reader.wait_for_path(world.path("d", name)).metadata.inode == os.stat(where).st_ino
    os.rmdir(where)
    reader.wait_for_path(world.path("d", name), gone=True)


def test_every_kind_of_file_appears_and_goes(world, reader):
    directory = world.export / "d"
    (directory / "dir").mkdir()
    (directory / "link").symlink_to("nowhere")
    os.mkfifo(directory / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{os.open(directory, os.O_RDONLY)}/socket")
    os.link(directory / "f", directory / "hard")
    for name in ("dir", "link", "fifo", "socket", "hard"):
        there = (directory / name).lstat()
        assert reader.wait_for_path(world.path("d", name)).metadata.mode == there.st_mode
    assert reader.wait_for_path(world.path("d", "hard")).metadata.links == 2
    (directory / "dir").rmdir()
    for name in ("link", "fifo", "socket", "hard"):
        (directory / name).unlink()
    for name in ("dir", "link", "fifo", "socket", "hard"):
        reader.wait_for_path(world.path("d", name), gone=True)
    assert (directory / "f").stat().st_nlink == 1


def test_a_change_of_names_tells_the_directorys_own_attributes(world, reader):
    (world.export / "d" / "new").touch()
    mtime = (world.export / "d").stat().st_mtime_ns
    told = [world.path("d")]
    reader.wait_for("the directory", lambda cs: any(about(c, *told) and c.metadata.mtime_ns == mtime for c in cs))


def test_a_moved_directory_of_many_files_is_one_change(world):
    many = world.export / "many"
    (many / "below").mkdir(parents=True)
    for number in range(2000):
        (many / f"{number}").touch()
        (many / "below" / f"{number}").touch()
    world.start()
    reader = world.follow()
    (many).rename(world.export / "moved")
    changes = world.settle(reader)
    assert [c for c in changes if not about(c, world.top)] == [
        Renamed(world.path("many"), world.path("moved"), changes[0].metadata)
    ]
    (world.export / "moved" / "below" / "7").write_text("told under the new name")
    assert reader.wait_for_path(world.path("moved", "below", "7")).metadata.size > 0


def test_a_tree_that_appears_is_told_to_its_depth(world, reader, tmp_path):
    """mkdir -p outruns the watches; what is moved in from outside was never watched."""
    outside = tmp_path / "outside"
    os.makedirs(outside / "x" / "y")
    (outside / "x" / "y" / "f").touch()
    outside.rename(world.export / "in")
    os.makedirs(world.export / "a" / "b" / "c")
    (world.export / "a" / "b" / "c" / "f").touch()
    for path in (("in",), ("in", "x", "y"), ("in", "x", "y", "f"), ("a", "b", "c"), ("a", "b", "c", "f")):
        reader.wait_for_path(world.path(*path))
    swept = {change.path for change in reader.read() if isinstance(change, Swept)}
    assert {world.path("in"), world.path("a")} <= swept
    (world.export / "in" / "x" / "y" / "f").write_text("and watched")
    written = world.path("in", "x", "y", "f")
    reader.wait_for("the write", lambda cs: any(about(c, written) and c.metadata.size for c in cs))


def test_what_a_new_directory_holds_in_great_number_is_swept(world, reader, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(300):
        (outside / f"{number}").touch()
    outside.rename(world.export / "in")
    changes = world.settle(reader)
    assert [c.path for c in changes if isinstance(c, Swept)].count(world.path("in")) == 2
    assert len(changes) < 10


def test_what_moves_out_is_gone_and_watched_no_more(world, reader, tmp_path):
    watched = len(world.watcher)
    os.makedirs(world.export / "go" / "below")
    until("both are watched", lambda: len(world.watcher) == watched + 2)
    world.settle(reader)
    (world.export / "go").rename(tmp_path / "gone")
    reader.wait_for_path(world.path("go"), gone=True)
    until("the watches are given back", lambda: len(world.watcher) == watched)
    before = len(world.settle(reader))
    (tmp_path / "gone" / "below" / "secret").touch()
    assert len([c for c in world.settle(reader) if not about(c, world.top)]) <= before + 1
    assert all(b"secret" not in str(change).encode() for change in reader.read())


def test_names_that_change_places(world, reader):
    os.makedirs(world.export / "one" / "below")
    (world.export / "two").mkdir()
    (world.export / "file").write_text("f")
    world.settle(reader)
    for one, other in (("one", "two"), ("d/f", "file"), ("two", "file")):
        exchange(world.export / one, world.export / other)
        world.settle(reader)
        replica = Replica()
        replica.catch_up(reader.numbered)
        assert replica.wrong() == {}
    assert (world.export / "file" / "below").is_dir()
    (world.export / "file" / "below" / "late").touch()
    reader.wait_for_path(world.path("file", "below", "late"))


def test_a_burst_of_writes_is_few_changes(world, reader):
    with (world.export / "d" / "f").open("wb", buffering=0) as file:
        for _ in range(500):
            file.write(b"x")
    size = 500
    reader.wait_for("all of it", lambda cs: any(about(c, world.path("d", "f")) and c.metadata.size == size for c in cs))
    assert len([c for c in reader.read() if about(c, world.path("d", "f"))]) < 100


def test_reading_changes_nothing(world, reader):
    before = len(world.settle(reader))
    (world.export / "d" / "f").read_bytes()
    os.listdir(world.export / "d")
    assert len(world.settle(reader)) <= before + 1
