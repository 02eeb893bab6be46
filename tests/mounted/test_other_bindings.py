"""A smoke test on what is there where libfuse 3 is not: mfusepy on libfuse 2, and fusepy itself."""

from __future__ import annotations

import ctypes.util
import fcntl
import importlib.util
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.trial import Trial, mounted

BINDINGS = {
    "mfusepy": ("mfusepy", {"FUSE_LIBRARY_NAME": "fuse"}),
    "fusepy": ("fuse", {"FUSE_LIBRARY_NAME": "fuse", "REMOTEFS_FUSE_BINDING": "fusepy"}),
}


@pytest.fixture(scope="module", params=sorted(BINDINGS))
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    module, environment = BINDINGS[request.param]
    if ctypes.util.find_library("fuse") is None or importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} on libfuse 2 is not installed")
    with mounted(tmp_path_factory.mktemp("old"), environment=environment) as trial:
        yield trial


def test_files_are_made_written_read_and_removed(old):
    name = b"\xff file"
    theirs, mine = old.both(name)
    data = os.urandom(700_000)
    descriptor = os.open(mine, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o640)
    assert os.write(descriptor, data) == len(data)
    os.fsync(descriptor)
    os.fchmod(descriptor, 0o604)
    os.ftruncate(descriptor, 650_000)
    os.utime(descriptor, ns=(1, 123_456_789_123_456_789))
    os.close(descriptor)
    with open(theirs, "rb") as file:
        assert file.read() == data[:650_000]
    with open(mine, "rb") as file:
        assert file.read() == data[:650_000]
    status = os.stat(mine)
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o604, 123_456_789_123_456_789)
    assert status.st_ino == os.stat(theirs).st_ino
    assert name in os.listdir(os.fsencode(old.local))
    os.unlink(mine)
    assert not os.path.exists(theirs)


def test_names_are_changed(old):
    home = old.local / "names"
    home.mkdir()
    (home / "a").write_bytes(b"a")
    os.rename(home / "a", home / "b")
    os.link(home / "b", home / "c")
    os.symlink("c", home / "s")
    assert (home / "s").read_bytes() == b"a"
    assert os.stat(old.remote / "names" / "b").st_nlink == 2
    os.setxattr(home / "b", "user.a", b"1")
    assert os.getxattr(home / "c", "user.a") == b"1"
    assert sorted(os.listdir(home)) == ["b", "c", "s"]


def test_a_large_directory(old):
    home = old.remote / "large"
    home.mkdir()
    for number in range(2000):
        (home / f"file{number}").touch()
    assert len(os.listdir(old.local / "large")) == 2000


def test_an_open_file_that_is_removed_goes_on(old):
    with (old.local / "removed").open("wb+", buffering=0) as file:
        file.write(b"before")
        os.unlink(old.local / "removed")
        file.write(b" after")
        assert os.pread(file.fileno(), 100, 0) == b"before after"
        assert not (old.remote / "removed").exists()


def test_locks_reach_the_remote_machine(old):
    with (old.local / "locked").open("wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with Path(old.remote / "locked").open("rb+") as remote, pytest.raises(BlockingIOError):
            fcntl.lockf(remote, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_shared_mappings(old):
    (old.local / "mapped").write_bytes(b"." * 5000)
    with (old.local / "mapped").open("rb+") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[100:105] = b"hello"
        memory.flush()
    assert (old.remote / "mapped").read_bytes()[100:105] == b"hello"


def test_appending(old):
    for number in range(5):
        with (old.local / "log").open("ab") as file:
            file.write(b"%d" % number)
    assert (old.remote / "log").read_bytes() == b"01234"
