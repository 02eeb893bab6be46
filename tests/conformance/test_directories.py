"""Directories: making and removing them, listing them by pages while they change."""

from __future__ import annotations

import stat

import pytest

from tests.conformance.driver import Files, refused

UNUSUAL_NAMES = [
    b"\xff\xfe",
    b"new\nline",
    b" ",
    b"-rf",
    b"...",
    b"..a",
    b"\x01\x7f",
    b"\\",
    b"*?[",
    "é".encode(),
    b"e\xcc\x81",
    b"n" * 255,
]


def test_a_new_directory_is_empty(files: Files) -> None:
    assert stat.S_ISDIR(files.mkdir(b"d").mode)
    assert files.names(b"d") == []
    assert files.names() == [b"d"]


def test_making_what_is_there_is_refused(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"f")
    files.symlink(b"nowhere", b"l")
    for name in (b"d", b"f", b"l"):
        with refused("EEXIST"):
            files.mkdir(name)


def test_the_directory_above_must_be_there(files: Files) -> None:
    files.put(b"f")
    with refused("ENOENT"):
        files.mkdir(b"none/d")
    with refused("ENOTDIR"):
        files.mkdir(b"f/d")


def test_only_an_empty_directory_can_be_removed(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"d/f")
    with refused("ENOTEMPTY", "EEXIST"):
        files.rmdir(b"d")
    with refused("ENOTDIR"):
        files.rmdir(b"d/f")
    with refused("ENOENT"):
        files.rmdir(b"none")
    files.unlink(b"d/f")
    files.rmdir(b"d")
    assert files.names() == []


def test_a_link_to_a_directory_is_not_one_to_remove(files: Files) -> None:
    files.mkdir(b"d")
    files.symlink(b"d", b"l")
    with refused("ENOTDIR"):
        files.rmdir(b"l")
    assert files.names() == [b"d", b"l"]


def test_link_counts_of_directories_follow_their_subdirectories(files: Files) -> None:
    before = files.mkdir(b"d").links
    if before == 1:
        pytest.skip("this file system does not count the links of directories")
    files.mkdir(b"d/a")
    files.mkdir(b"d/b")
    files.put(b"d/f")
    assert files.stat(b"d").links == before + 2
    files.rmdir(b"d/a")
    files.rename(b"d/b", b"b")
    assert files.stat(b"d").links == before


@pytest.mark.parametrize("name", UNUSUAL_NAMES, ids=ascii)
def test_a_name_is_any_bytes(files: Files, name: bytes) -> None:
    files.put((name,), b"content")
    files.mkdir((b"d" + name[:200],))
    files.rename((name,), (b"d" + name[:200], name))
    assert files.names((b"d" + name[:200],)) == [name]
    assert files.get((b"d" + name[:200], name)) == b"content"


def test_names_that_look_alike_are_not_one(files: Files) -> None:
    for name in ("é".encode(), b"e\xcc\x81", b"E\xcc\x81", b"\xe9"):
        files.put((name,), name)
    for name in files.names():
        assert files.get((name,)) == name
    assert len(files.names()) == 4


def test_entries_come_in_byte_order(files: Files) -> None:
    names = [b"b", b"a", b"B", b"10", b"9", b"\xff", b"~", b"\x80", b"a.b", b"aa"]
    for name in names:
        files.put((name,))
    assert files.names() == sorted(names)


def test_an_entry_says_inode_and_type(files: Files) -> None:
    files.put(b"file")
    files.mkdir(b"dir")
    files.symlink(b"file", b"link")
    files.mknod(b"fifo", stat.S_IFIFO | 0o600)
    kinds = {b"file": stat.S_IFREG, b"dir": stat.S_IFDIR, b"link": stat.S_IFLNK, b"fifo": stat.S_IFIFO}
    for metadata in (True, False):
        for entry in files.page(metadata=metadata).entries:
            assert entry.type == kinds[entry.name]
            assert entry.inode == files.stat(entry.name).inode
            assert (entry.metadata is not None) == metadata


def test_the_attributes_in_a_listing_are_those_of_the_files(files: Files) -> None:
    files.put(b"a", b"abc")
    files.change(b"a", mode=0o640, mtime_ns=5)
    files.symlink(b"a", b"l")
    for entry in files.page().entries:
        assert entry.metadata == files.stat(entry.name)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_hold_up_to_the_limit_and_join_to_the_whole(files: Files, limit: int) -> None:
    names = [b"%d" % number for number in range(7)]
    for name in names:
        files.put(name)
    page = files.page(limit=limit)
    assert [entry.name for entry in page.entries] == names[:limit]
    assert page.complete or limit <= 7
    assert files.names(limit=limit) == names


def test_the_last_page_says_so(files: Files) -> None:
    files.put(b"a")
    files.put(b"b")
    assert not files.page(limit=1).complete
    assert files.page(after=b"b").complete
    assert files.page(after=b"b").entries == ()
    assert files.page(limit=3).complete


def test_the_cursor_need_not_be_there_any_more(files: Files) -> None:
    for name in (b"a", b"c", b"e"):
        files.put(name)
    assert [entry.name for entry in files.page(after=b"b").entries] == [b"c", b"e"]
    files.unlink(b"c")
    assert [entry.name for entry in files.page(after=b"c").entries] == [b"e"]


def test_an_entry_that_stays_is_listed_exactly_once_while_others_come_and_go(files: Files) -> None:
    staying = {b"s%03d" % number for number in range(100)}
    for number in range(100):
        files.put(b"s%03d" % number)
        files.put(b"t%03d" % number)
    seen: list[bytes] = []
    for step in range(1000):
        page = files.page(after=seen[-1] if seen else b"", limit=11)
        seen += [entry.name for entry in page.entries]
        if page.complete:
            break
        files.unlink(b"t%03d" % step)
        files.put(b"r%03d" % step)
        files.put(b"z%03d" % step)
        files.rename(b"t%03d" % (99 - step), b"m%03d" % step)
    assert len(seen) == len(set(seen))
    assert staying <= set(seen)
    assert seen == sorted(seen)


def test_a_change_shows_in_the_next_listing(files: Files) -> None:
    files.mkdir(b"d")
    for step in range(20):
        files.put(b"d/%02d" % step)
        assert files.names(b"d") == [b"%02d" % number for number in range(step + 1)]
    for step in range(20):
        files.unlink(b"d/%02d" % step)
        assert files.names(b"d") == [b"%02d" % number for number in range(step + 1, 20)]


def test_listing_what_is_no_directory_is_refused(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"f")
    files.symlink(b"d", b"l")
    with refused("ENOTDIR"):
        files.page(b"f")
    with refused("ENOTDIR", "ELOOP", "ESTALE"):
        files.page(b"l")
    with refused("ENOENT"):
        files.page(b"none")


def test_a_removed_directory_is_gone_from_below_too(files: Files) -> None:
    files.mkdir(b"d")
    files.rmdir(b"d")
    with refused("ENOENT"):
        files.put(b"d/f")
    with refused("ENOENT"):
        files.page(b"d")


def test_a_path_may_be_longer_than_path_max(files: Files) -> None:
    path: tuple[bytes, ...] = ()
    for _ in range(30):
        path += (b"n" * 200,)
        files.mkdir(path)
    files.put((*path, b"f"), b"deep")
    assert files.get((*path, b"f")) == b"deep"
    files.rename((*path, b"f"), b"up")
    files.link(b"up", (*path, b"g"))
    assert files.stat((*path, b"g")).links == 2
    assert files.names(path) == [b"g"]
