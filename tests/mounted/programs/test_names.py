"""Names of any bytes, and directories of many."""

from __future__ import annotations

import errno
import os

import pytest

from tests.stack.processes import run, until

MANY = 3000
ODD = [
    bytes(range(1, 47)),
    bytes(range(48, 256)),
    b"\xff",
    b" ",
    b"\n",
    b"..\x2e",
    b"-rf",
    b"*",
    "Stra\u00dfe".encode(),
    "Stra\u00dfe".encode("latin-1"),
    b"x" * 255,
    b".fuse_hidden0000000100000001",
]


def test_a_name_may_be_any_bytes(places):
    laptop, server = os.fsencode(places.laptop), os.fsencode(places.server)
    for name in ODD:
        os.mkdir(os.path.join(laptop, name))
        with open(os.path.join(laptop, name, name), "wb") as file:
            file.write(name)
        os.symlink(name, os.path.join(laptop, name, b"link"))
    for seen in (laptop, server, os.fsencode(places.desktop)):
        assert sorted(os.listdir(seen)) == sorted(ODD)
        for name in ODD:
            with open(os.path.join(seen, name, name), "rb") as file:
                assert file.read() == name
            assert os.readlink(os.path.join(seen, name, b"link")) == name
    run("rm", "-r", *(os.path.join(laptop, name) for name in ODD))
    assert os.listdir(server) == []


def test_a_name_that_is_too_long_is_refused(places):
    with pytest.raises(OSError) as raised:
        (places.laptop / ("x" * 256)).touch()
    assert raised.value.errno == errno.ENAMETOOLONG


def test_a_large_directory_is_listed_found_and_seen_changing(places):
    names = {f"{number:04}-{'n' * (number % 60)}" for number in range(MANY)}
    (places.server / "many").mkdir()
    for name in names:
        (places.server / "many" / name).touch()
    assert set(os.listdir(places.laptop / "many")) == names
    assert run("ls", "-U", places.laptop / "many").split() != []
    assert set(run("find", places.laptop / "many", "-type", "f", "-printf", "%f\n").split()) == names
    with os.scandir(places.laptop / "many") as entries:
        first = {next(entries).name for _ in range(100)}
        run("find", places.desktop / "many", "-name", "??0*", "-delete")
        (places.server / "many" / "late").touch()
        rest = [entry.name for entry in entries]
    # What was there all the time is seen exactly once, whatever came and went meanwhile.
    stayed = {name for name in names if name[2] != "0"}
    assert stayed <= first | set(rest)
    assert len(first) + len(rest) == len(first | set(rest))
    # What others did is told by the feed, when it comes to it.
    until("all changes are seen", lambda: set(os.listdir(places.laptop / "many")) == stayed | {"late"})


def test_a_deep_tree(places):
    directory = os.open(places.laptop, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=directory)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(os.open("deep", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    assert run("find", places.laptop, "-name", "deep", "-printf", "%d").strip() == "41"
    run("rm", "-r", places.laptop / ("d" * 200))
    assert os.listdir(places.server) == []
