"""Extended attributes of files and directories."""

from __future__ import annotations

import pytest

from tests.conformance.driver import Files, refused

CREATE = 1
REPLACE = 2

pytestmark = pytest.mark.needs("xattrs")


def _make(files: Files, kind: str) -> None:
    if kind == "dir":
        files.mkdir(b"x")
    else:
        files.put(b"x")


@pytest.mark.parametrize("kind", ["file", "dir"])
@pytest.mark.parametrize("value", [b"value", b"", b"\0\xff\n", b"v" * 1000], ids=["text", "empty", "bytes", "long"])
def test_a_value_comes_back_as_it_was_set(files: Files, kind: str, value: bytes) -> None:
    _make(files, kind)
    files.setxattr(b"x", b"user.a", value)
    assert files.getxattr(b"x", b"user.a") == value
    assert b"user.a" in files.xattrs(b"x")


def test_names_are_listed_and_removed(files: Files) -> None:
    files.put(b"x")
    before = files.xattrs(b"x")
    names = {b"user.a", b"user.b.c", b"user.\xff"}
    for name in names:
        files.setxattr(b"x", name, name)
    assert files.xattrs(b"x") - before == names
    files.removexattr(b"x", b"user.a")
    assert files.xattrs(b"x") - before == names - {b"user.a"}
    assert files.getxattr(b"x", b"user.\xff") == b"user.\xff"


def test_a_name_that_is_not_there(files: Files) -> None:
    files.put(b"x")
    with refused("ENODATA"):
        files.getxattr(b"x", b"user.none")
    with refused("ENODATA"):
        files.removexattr(b"x", b"user.none")
    with refused("ENODATA"):
        files.setxattr(b"x", b"user.none", b"", REPLACE)
    with refused("ENODATA"):
        files.getxattr(b"x", b"user.none")


def test_create_replaces_nothing(files: Files) -> None:
    files.put(b"x")
    files.setxattr(b"x", b"user.a", b"old", CREATE)
    with refused("EEXIST"):
        files.setxattr(b"x", b"user.a", b"new", CREATE)
    assert files.getxattr(b"x", b"user.a") == b"old"


def test_replace_replaces(files: Files) -> None:
    files.put(b"x")
    files.setxattr(b"x", b"user.a", b"old")
    files.setxattr(b"x", b"user.a", b"new", REPLACE)
    files.setxattr(b"x", b"user.a", b"newer")
    assert files.getxattr(b"x", b"user.a") == b"newer"


def test_by_handle_and_by_path_are_the_same(files: Files) -> None:
    handle = files.create(b"x")
    files.setxattr(handle, b"user.a", b"1")
    assert files.getxattr(b"x", b"user.a") == b"1"
    files.setxattr(b"x", b"user.b", b"2")
    assert files.getxattr(handle, b"user.b") == b"2"
    assert {b"user.a", b"user.b"} <= files.xattrs(handle)
    files.removexattr(handle, b"user.a")
    with refused("ENODATA"):
        files.getxattr(b"x", b"user.a")


def test_they_belong_to_the_file_and_go_with_it(files: Files) -> None:
    files.put(b"x")
    files.setxattr(b"x", b"user.a", b"1")
    files.link(b"x", b"y")
    files.rename(b"x", b"z")
    assert files.getxattr(b"y", b"user.a") == files.getxattr(b"z", b"user.a") == b"1"


def test_a_symbolic_link_does_not_lead_to_its_targets(files: Files) -> None:
    files.put(b"x")
    files.setxattr(b"x", b"user.a", b"1")
    files.symlink(b"x", b"l")
    with refused("ENODATA", "EPERM", "EOPNOTSUPP"):
        files.getxattr(b"l", b"user.a")
    with refused("EPERM", "EOPNOTSUPP"):
        files.setxattr(b"l", b"user.a", b"2")
    assert files.getxattr(b"x", b"user.a") == b"1"


def test_a_name_space_that_does_not_exist(files: Files) -> None:
    files.put(b"x")
    with refused("EOPNOTSUPP"):
        files.setxattr(b"x", b"nonsense", b"")
    with refused("EOPNOTSUPP"):
        files.getxattr(b"x", b"nonsense.a")


def test_of_a_file_that_is_not_there(files: Files) -> None:
    with refused("ENOENT"):
        files.getxattr(b"none", b"user.a")
    with refused("ENOENT"):
        files.setxattr(b"none", b"user.a", b"")
    with refused("ENOENT"):
        files.xattrs(b"none")


def test_of_an_open_file_without_a_name(files: Files) -> None:
    handle = files.create(b"x")
    files.unlink(b"x")
    files.setxattr(handle, b"user.a", b"1")
    assert files.getxattr(handle, b"user.a") == b"1"
