"""Renaming: what is replaced, what is refused, the flags of renameat2(2)."""

from __future__ import annotations

import pytest

from tests.conformance.driver import Files, refused

NOREPLACE = 1
EXCHANGE = 2


def test_a_file_keeps_what_it_is(files: Files) -> None:
    files.put(b"a", b"content")
    before = files.stat(b"a")
    files.mkdir(b"d")
    files.rename(b"a", b"d/b")
    after = files.stat(b"d/b")
    assert (after.inode, after.mode, after.mtime_ns) == (before.inode, before.mode, before.mtime_ns)
    assert files.get(b"d/b") == b"content"
    assert files.names() == [b"d"]


def test_a_directory_takes_what_is_below_along(files: Files) -> None:
    files.mkdir(b"d")
    files.mkdir(b"d/e")
    files.put(b"d/e/f", b"content")
    files.mkdir(b"x")
    files.rename(b"d", b"x/y")
    assert files.get(b"x/y/e/f") == b"content"
    with refused("ENOENT"):
        files.stat(b"d/e/f")


def test_a_file_replaces_a_file(files: Files) -> None:
    files.put(b"a", b"new")
    files.put(b"b", b"old")
    files.rename(b"a", b"b")
    assert files.get(b"b") == b"new"
    assert files.names() == [b"b"]


def test_a_symbolic_link_is_renamed_and_replaced_itself(files: Files) -> None:
    files.put(b"a", b"content")
    files.symlink(b"a", b"l")
    files.rename(b"l", b"m")
    assert files.readlink(b"m") == b"a"
    files.put(b"b", b"new")
    files.rename(b"b", b"m")
    assert files.get(b"m") == b"new"
    assert files.get(b"a") == b"content"


def test_a_directory_replaces_an_empty_one_only(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"d/f")
    files.mkdir(b"e")
    with refused("ENOTEMPTY", "EEXIST"):
        files.rename(b"e", b"d")
    files.rename(b"d", b"e")
    assert files.names() == [b"e"]
    assert files.names(b"e") == [b"f"]


def test_files_and_directories_do_not_replace_each_other(files: Files) -> None:
    files.put(b"f")
    files.mkdir(b"d")
    with refused("EISDIR"):
        files.rename(b"f", b"d")
    with refused("ENOTDIR"):
        files.rename(b"d", b"f")
    assert files.names() == [b"d", b"f"]


def test_a_directory_does_not_go_into_itself(files: Files) -> None:
    files.mkdir(b"d")
    files.mkdir(b"d/e")
    for destination in (b"d/x", b"d/e/x", b"d/e"):
        with refused("EINVAL"):
            files.rename(b"d", destination)
    with refused("ENOTEMPTY", "EEXIST"):
        files.rename(b"d/e", b"d")
    assert files.names(b"d") == [b"e"]


def test_a_name_onto_itself_is_nothing(files: Files) -> None:
    files.put(b"a", b"content")
    files.rename(b"a", b"a")
    files.mkdir(b"d")
    files.rename(b"d", b"d")
    assert files.get(b"a") == b"content"


def test_one_name_onto_another_of_the_same_file_leaves_both(files: Files) -> None:
    files.put(b"a", b"content")
    files.link(b"a", b"b")
    files.rename(b"a", b"b")
    assert files.names() == [b"a", b"b"]
    assert files.stat(b"a").links == 2


def test_both_ends_must_be_there(files: Files) -> None:
    files.put(b"a")
    with refused("ENOENT"):
        files.rename(b"none", b"b")
    with refused("ENOENT"):
        files.rename(b"a", b"none/b")
    with refused("ENOTDIR"):
        files.rename(b"a", b"a/b")
    assert files.names() == [b"a"]


def test_noreplace_replaces_nothing(files: Files) -> None:
    files.put(b"a", b"a")
    files.put(b"b", b"b")
    files.symlink(b"nowhere", b"l")
    for name in (b"b", b"l", b"a"):
        with refused("EEXIST"):
            files.rename(b"a", name, NOREPLACE)
    files.rename(b"a", b"c", NOREPLACE)
    assert files.names() == [b"b", b"c", b"l"]
    assert files.get(b"b") == b"b"


def test_exchange_swaps_whatever_they_are(files: Files) -> None:
    files.put(b"a", b"content")
    files.mkdir(b"d")
    files.put(b"d/f")
    files.rename(b"a", b"d", EXCHANGE)
    assert files.get(b"d") == b"content"
    assert files.names(b"a") == [b"f"]
    files.symlink(b"x", b"l")
    files.rename(b"l", b"a/f", EXCHANGE)
    assert files.readlink(b"a/f") == b"x"
    assert files.get(b"l") == b""


def test_exchange_needs_both(files: Files) -> None:
    files.put(b"a")
    with refused("ENOENT"):
        files.rename(b"a", b"none", EXCHANGE)
    with refused("ENOENT"):
        files.rename(b"none", b"a", EXCHANGE)
    assert files.names() == [b"a"]


def test_exchange_of_a_directory_with_what_is_in_it_is_refused(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"d/f")
    with refused("EINVAL"):
        files.rename(b"d", b"d/f", EXCHANGE)
    with refused("EINVAL"):
        files.rename(b"d/f", b"d", EXCHANGE)


@pytest.mark.parametrize("present", [False, True])
def test_the_two_flags_exclude_each_other(files: Files, present: bool) -> None:
    files.put(b"a")
    if present:
        files.put(b"b")
    with refused("EINVAL"):
        files.rename(b"a", b"b", NOREPLACE | EXCHANGE)


def test_an_open_file_goes_on_under_its_new_name(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"one ")
    files.mkdir(b"d")
    files.rename(b"a", b"d/b")
    files.put(b"a", b"another")
    files.write(handle, 4, b"two")
    assert files.get(b"d/b") == b"one two"
    assert files.get(b"a") == b"another"
    assert files.stat(handle) == files.stat(b"d/b")


def test_an_open_file_that_is_replaced_goes_on_without_a_name(files: Files) -> None:
    handle = files.create(b"old")
    files.write(handle, 0, b"old")
    files.put(b"new", b"new")
    files.rename(b"new", b"old")
    assert files.read(handle) == b"old"
    assert files.stat(handle).links == 0
    assert files.get(b"old") == b"new"
