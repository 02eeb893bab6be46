"""Handles: they stand for the open file, whatever becomes of its name."""

from __future__ import annotations

import os

import pytest

from schema.requests import FlushFile, LockMode
from tests.conformance.driver import LONG_AGO, Files, refused

NO_SUCH_HANDLE = ("STALE_HANDLE", "EBADF")
"""From who gave the handles; and from who keeps handles of its own over those."""


def test_an_unlinked_open_file_goes_on(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"before ")
    files.unlink(b"a")
    assert files.names() == []
    files.write(handle, 7, b"after")
    assert files.read(handle) == b"before after"
    found = files.stat(handle)
    assert (found.links, found.size) == (0, 12)
    assert files.change(handle, size=6, mode=0o600, mtime_ns=LONG_AGO).mtime_ns == LONG_AGO
    assert files.read(handle) == b"before"
    files.close(handle)


def test_a_file_loses_its_last_name_of_two(files: Files) -> None:
    handle = files.create(b"a")
    files.link(b"a", b"b")
    files.unlink(b"a")
    assert files.stat(handle).links == 1
    files.unlink(b"b")
    assert files.stat(handle).links == 0


def test_a_new_file_of_the_same_name_is_another(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"old")
    files.unlink(b"a")
    files.put(b"a", b"newer")
    assert files.read(handle) == b"old"
    assert files.stat(handle).inode != files.stat(b"a").inode
    files.write(handle, 0, b"OLD")
    assert files.get(b"a") == b"newer"


@pytest.mark.needs("fstat_in_removed_directory")
def test_the_directory_of_an_open_file_may_go(files: Files) -> None:
    files.mkdir(b"d")
    handle = files.create(b"d/f")
    files.unlink(b"d/f")
    files.rmdir(b"d")
    assert files.stat(handle).links == 0
    files.write(handle, 0, b"still here")
    assert files.read(handle) == b"still here"


def test_exclusive_creation_refuses_what_is_there(files: Files) -> None:
    files.put(b"f", b"content")
    files.mkdir(b"d")
    files.symlink(b"nowhere", b"l")
    for name in (b"f", b"d", b"l"):
        with refused("EEXIST"):
            files.create(name, os.O_RDWR | os.O_EXCL)
    assert files.get(b"f") == b"content"
    files.create(b"new", os.O_RDWR | os.O_EXCL)
    assert files.names() == [b"d", b"f", b"l", b"new"]


def test_a_refused_exclusive_creation_does_not_truncate(files: Files) -> None:
    files.put(b"f", b"content")
    with refused("EEXIST"):
        files.create(b"f", os.O_RDWR | os.O_EXCL | os.O_TRUNC)
    assert files.get(b"f") == b"content"


def test_the_creator_may_write_what_the_mode_forbids(files: Files) -> None:
    handle = files.create(b"a", os.O_RDWR | os.O_EXCL, mode=0o400)
    files.write(handle, 0, b"x")
    assert files.read(handle) == b"x"
    assert files.stat(b"a").mode & 0o777 == 0o400


def test_a_handle_does_what_it_was_opened_for(files: Files) -> None:
    files.put(b"a", b"content")
    reader, writer = files.open(b"a", os.O_RDONLY), files.open(b"a", os.O_WRONLY)
    with refused("EBADF"):
        files.write(reader, 0, b"x")
    with refused("EBADF"):
        files.read(writer)
    with refused("EBADF"):
        files.allocate(reader, 0, 0, 100)
    with refused("EBADF"):
        files.copy(writer, 0, writer, 100, 1)
    with refused("EBADF"):
        files.copy(reader, 0, reader, 100, 1)
    assert files.read(reader) == b"content"


def test_copying_to_an_append_handle_is_refused(files: Files) -> None:
    files.put(b"a", b"content")
    with refused("EBADF"):
        files.copy(files.open(b"a"), 0, files.create(b"b", os.O_WRONLY | os.O_APPEND), 0, 1)


def test_opening_what_cannot_be(files: Files) -> None:
    files.mkdir(b"d")
    files.put(b"f")
    with refused("ENOENT"):
        files.open(b"none")
    with refused("EISDIR"):
        files.open(b"d", os.O_RDWR)
    with refused("EISDIR"):
        files.create(b"d", os.O_RDWR)
    with refused("ENOTDIR"):
        files.open(b"f/g")
    with refused("ENOTDIR"):
        files.create(b"f/g")
    with refused("ENOENT"):
        files.create(b"none/g")


def test_a_handle_ends_when_it_is_closed(files: Files) -> None:
    handle = files.create(b"a")
    files.close(handle)
    for use in (files.read, files.stat):
        with refused(*NO_SUCH_HANDLE):
            use(handle)
    with refused(*NO_SUCH_HANDLE):
        files.write(handle, 0, b"x")
    with refused(*NO_SUCH_HANDLE):
        files.change(handle, size=0)


@pytest.mark.parametrize("handle", [12_345_678_901, 2**63, 2**64 - 1])
def test_a_handle_that_was_never_given_is_stale(files: Files, handle: int) -> None:
    with refused(*NO_SUCH_HANDLE):
        files.read(handle)
    with refused(*NO_SUCH_HANDLE):
        files.stat(handle)
    with refused(*NO_SUCH_HANDLE):
        files.flock(handle, LockMode.SHARED)


def test_closing_one_handle_leaves_the_others(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.write(one, 0, b"x")
    files.close(one)
    assert files.read(two) == b"x"


def test_handles_are_not_used_again_at_once(files: Files) -> None:
    seen = set()
    for _ in range(50):
        handle = files.create(b"a")
        files.close(handle)
        seen.add(handle)
    assert len(seen) == 50


def test_flushing_closes_nothing(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"x")
    for _ in range(2):
        files.filesystem.flush_file(FlushFile(handle), files.caller)
    assert files.read(handle) == b"x"


def test_a_hundred_open_files_are_apart(files: Files) -> None:
    handles = [files.create(b"%d" % number) for number in range(100)]
    for number, handle in enumerate(handles):
        files.write(handle, 0, b"%d" % number)
    for number, handle in enumerate(handles):
        assert files.read(handle) == b"%d" % number
