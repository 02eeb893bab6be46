"""Names of files: unlink, hard links and their counts, symbolic links as data."""

from __future__ import annotations

import stat

import pytest

from tests.conformance.driver import Files, refused


def test_an_unlinked_name_is_gone(files: Files) -> None:
    files.put(b"a")
    files.unlink(b"a")
    assert files.names() == []
    for use in (files.stat, files.unlink, files.open):
        with refused("ENOENT"):
            use(b"a")


def test_a_directory_cannot_be_unlinked(files: Files) -> None:
    files.mkdir(b"d")
    with refused("EISDIR", "EPERM"):
        files.unlink(b"d")


def test_two_names_are_one_file(files: Files) -> None:
    files.put(b"a", b"content")
    files.mkdir(b"d")
    assert files.link(b"a", b"d/b").links == 2
    assert files.stat(b"a") == files.stat(b"d/b")
    handle = files.open(b"d/b")
    files.write(handle, 0, b"CON")
    files.change(b"d/b", mode=0o640)
    assert files.get(b"a") == b"CONtent"
    assert files.stat(b"a").mode & 0o777 == 0o640


def test_link_counts_follow_the_names(files: Files) -> None:
    files.put(b"a")
    for number in range(3):
        assert files.link(b"a", b"l%d" % number).links == number + 2
    files.rename(b"l0", b"m")
    assert files.stat(b"a").links == 4
    files.put(b"other")
    files.rename(b"other", b"l1")
    assert files.stat(b"a").links == 3
    files.unlink(b"a")
    assert files.stat(b"m").links == 2


def test_a_link_never_replaces(files: Files) -> None:
    files.put(b"a", b"a")
    files.put(b"b", b"b")
    files.symlink(b"nowhere", b"l")
    for name in (b"b", b"l", b"a"):
        with refused("EEXIST"):
            files.link(b"a", name)
    assert files.get(b"b") == b"b"
    assert files.stat(b"a").links == 1


def test_directories_have_no_second_name(files: Files) -> None:
    files.mkdir(b"d")
    with refused("EPERM"):
        files.link(b"d", b"e")


def test_linking_needs_both_ends(files: Files) -> None:
    files.put(b"a")
    with refused("ENOENT"):
        files.link(b"none", b"b")
    with refused("ENOENT"):
        files.link(b"a", b"none/b")
    with refused("ENOTDIR"):
        files.link(b"a", b"a/b")


@pytest.mark.parametrize(
    "target",
    [b"a", b"../../..", b"/etc/passwd", b"no/such/file", b"\xff\xfe\n ", b"x//y/", b"t" * 4095],
    ids=["relative", "upwards", "absolute", "dangling", "bytes", "slashes", "longest"],
)
def test_a_symbolic_link_keeps_its_target_as_it_is(files: Files, target: bytes) -> None:
    made = files.symlink(target, b"l")
    assert stat.S_ISLNK(made.mode)
    assert made.size == len(target)
    assert files.stat(b"l") == made
    assert files.readlink(b"l") == target


def test_a_symbolic_link_is_not_followed_by_the_last_name(files: Files) -> None:
    files.put(b"a", b"content")
    files.symlink(b"a", b"l")
    assert stat.S_ISLNK(files.stat(b"l").mode)
    with refused("ELOOP", "ESTALE"):
        files.open(b"l")
    with refused("ELOOP", "ESTALE"):
        files.create(b"l")
    files.unlink(b"l")
    assert files.names() == [b"a"]


def test_a_dangling_link_is_no_way_to_create(files: Files) -> None:
    files.symlink(b"target", b"l")
    with refused("ELOOP", "ESTALE"):
        files.create(b"l")
    assert files.names() == [b"l"]


def test_a_symbolic_link_is_not_followed_inside_a_path(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"d/f", b"content")
    files.symlink(b"d", b"l")
    for attempt in (lambda: files.stat(b"l/f"), lambda: files.put(b"l/g"), lambda: files.rename(b"d/f", b"l/h")):
        with refused("ENOTDIR", "ELOOP", "ESTALE"):
            attempt()
    assert files.names(b"d") == [b"f"]


def test_a_symbolic_link_never_replaces(files: Files) -> None:
    files.put(b"a")
    with refused("EEXIST"):
        files.symlink(b"x", b"a")
    with refused("ENOENT"):
        files.symlink(b"x", b"none/l")


def test_only_symbolic_links_have_a_target(files: Files) -> None:
    files.put(b"a")
    files.mkdir(b"d")
    for name in (b"a", b"d"):
        with refused("EINVAL"):
            files.readlink(name)
    with refused("ENOENT"):
        files.readlink(b"none")


def test_a_hard_link_to_a_symbolic_link_is_one(files: Files) -> None:
    files.put(b"a")
    files.symlink(b"a", b"l")
    assert files.link(b"l", b"m").links == 2
    assert files.readlink(b"m") == b"a"
    assert files.stat(b"a").links == 1
