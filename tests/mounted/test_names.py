"""Names: any bytes, any kind of file, links, and renames with flags."""

from __future__ import annotations

import errno
import os
import socket
import stat

import pytest

from tests.conformance import libc
from tests.mounted.conftest import needs_root

NOREPLACE, EXCHANGE = 1, 2
AT_FDCWD = -100
STRANGE = [b"\xff\xfe", b"new\nline", b" lead", b"-rf", b"\\", b"\xc3\xa4", b"a\xcc\x88", b"\x01", b"'\"$`", b"x" * 255]


def rename(source, destination, flags):
    libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(destination), flags)


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_a_name_is_any_bytes(here, there, name):
    mine, theirs = os.path.join(os.fsencode(here), name), os.path.join(os.fsencode(there), name)
    with open(mine, "wb") as file:
        file.write(b"content")
    assert os.listdir(os.fsencode(here)) == os.listdir(os.fsencode(there)) == [name]
    with open(theirs, "rb") as file:
        assert file.read() == b"content"
    os.rename(mine, mine[:-1] + b"2")
    os.unlink(mine[:-1] + b"2")
    assert os.listdir(os.fsencode(there)) == []


@pytest.mark.parametrize("length", [256, 1000, 2000])
def test_a_longer_name_is_refused(here, length):
    for operation in (os.mkdir, os.stat, os.unlink):
        with pytest.raises(OSError) as refused:
            operation(here / ("n" * length))
        assert refused.value.errno == errno.ENAMETOOLONG


def test_a_path_may_be_longer_than_any_system_call_takes(here, there):
    start = os.getcwd()
    try:
        os.chdir(here)
        for _ in range(25):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        with open("file", "w") as file:
            file.write("deep")
        with open("file") as file:
            assert file.read() == "deep"
        os.rename("file", "other")
        assert os.listdir(".") == ["other"]
    finally:
        os.chdir(start)
    assert sum(len(files) for _, _, files, _ in os.fwalk(there)) == 1


@pytest.mark.parametrize("target", [b"plain", b"/absolute/one", b"../../..", b"\xff", b"x" * 4095], ids=ascii)
def test_symbolic_links_say_what_they_were_given(here, there, target):
    os.symlink(target, os.fsencode(here / "link"))
    assert os.readlink(os.fsencode(there / "link")) == target
    assert os.readlink(os.fsencode(here / "link")) == target
    assert os.lstat(here / "link").st_size == len(target)


def test_links_are_followed_by_the_mounting_machine(here):
    (here / "directory").mkdir()
    (here / "directory" / "file").write_bytes(b"found")
    (here / "link").symlink_to("directory")
    assert (here / "link" / "file").read_bytes() == b"found"


def test_fifos_and_sockets(here, there):
    os.mkfifo(here / "fifo")
    assert stat.S_ISFIFO(os.stat(there / "fifo").st_mode)
    reader = os.open(here / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(here / "fifo", os.O_WRONLY)
    os.write(writer, b"through the local kernel")
    assert os.read(reader, 100) == b"through the local kernel"
    os.close(reader)
    os.close(writer)
    with socket.socket(socket.AF_UNIX) as listening:
        start = os.getcwd()
        os.chdir(here)
        try:
            listening.bind("socket")
        finally:
            os.chdir(start)
    assert stat.S_ISSOCK(os.stat(there / "socket").st_mode)


@needs_root
def test_device_nodes(here, there):
    os.mknod(here / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert os.stat(there / "null").st_rdev == os.stat(here / "null").st_rdev == os.makedev(1, 3)


def test_rename_replaces(here, there):
    (here / "a").write_bytes(b"a")
    (here / "b").write_bytes(b"b")
    os.rename(here / "a", here / "b")
    assert (there / "b").read_bytes() == b"a"
    assert os.listdir(there) == ["b"]


def test_rename_without_replacing(here, there):
    (here / "a").write_bytes(b"a")
    (here / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename(here / "a", here / "b", NOREPLACE)
    rename(here / "a", here / "c", NOREPLACE)
    assert sorted(os.listdir(there)) == ["b", "c"]


def test_rename_exchanges(here, there):
    (here / "file").write_bytes(b"file")
    (here / "directory").mkdir()
    (here / "directory" / "inside").write_bytes(b"")
    with (here / "file").open("rb") as file:
        rename(here / "file", here / "directory", EXCHANGE)
        assert file.read() == b"file"
    assert (there / "directory").read_bytes() == b"file"
    assert os.listdir(there / "file") == os.listdir(here / "file") == ["inside"]


def test_an_open_file_goes_on_under_its_new_name(here, there):
    (here / "directory").mkdir()
    with (here / "directory" / "file").open("wb+", buffering=0) as file:
        file.write(b"one ")
        os.rename(here / "directory", here / "moved")
        file.write(b"two")
        assert os.fstat(file.fileno()).st_size == 7
        os.unlink(here / "moved" / "file")
        assert os.pread(file.fileno(), 10, 0) == b"one two"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert os.listdir(there / "moved") == []


def test_what_is_in_the_way_has_its_errno(here):
    (here / "directory").mkdir()
    (here / "directory" / "file").write_bytes(b"")
    expected = [
        (errno.ENOTEMPTY, lambda: os.rmdir(here / "directory")),
        (errno.ENOTDIR, lambda: os.rmdir(here / "directory" / "file")),
        (errno.EISDIR, lambda: os.unlink(here / "directory")),
        (errno.EEXIST, lambda: os.mkdir(here / "directory")),
        (errno.ENOENT, lambda: os.rename(here / "nothing", here / "else")),
        (errno.EINVAL, lambda: os.rename(here / "directory", here / "directory" / "below")),
        (errno.ENOTDIR, lambda: os.stat(here / "directory" / "file" / "below")),
    ]
    for number, operation in expected:
        with pytest.raises(OSError) as refused:
            operation()
        assert refused.value.errno == number
