"""What stat(2) says through the mount, and what setting it does on the remote machine."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from tests.mounted.conftest import needs_root

SAME = (
    "st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_atime_ns", "st_mtime_ns",
    "st_ctime_ns",
)  # fmt: skip


def assert_same(here, there):
    mine, theirs = os.lstat(here), os.lstat(there)
    assert {name: getattr(mine, name) for name in SAME} == {name: getattr(theirs, name) for name in SAME}


def test_attributes_are_the_remote_ones_to_the_nanosecond(here, there):
    (there / "file").write_bytes(b"x" * 10_000)
    os.utime(there / "file", ns=(1_234_567_890_123_456_789, 987_654_321))
    (there / "link").symlink_to("file")
    (there / "directory").mkdir()
    for name in ("file", "link", "directory"):
        assert_same(here / name, there / name)


def test_times_before_1970_are_shown(here, there):
    (there / "file").write_bytes(b"")
    os.utime(there / "file", ns=(-5_500_000_000, -1))
    assert os.stat(here / "file").st_mtime_ns == os.stat(there / "file").st_mtime_ns == -1


def test_setting_attributes_sets_the_remote_ones(here, there):
    file = here / "file"
    file.write_bytes(b"0123456789")
    os.chmod(file, 0o4751)
    os.truncate(file, 4)
    os.utime(file, ns=(111_222_333_444, 555_666_777_888))
    assert stat.S_IMODE(os.stat(there / "file").st_mode) == 0o4751
    assert os.stat(there / "file").st_atime_ns == 111_222_333_444
    assert_same(file, there / "file")
    assert (there / "file").read_bytes() == b"0123"


def test_setting_attributes_through_a_descriptor(here, there):
    with (here / "file").open("wb+") as file:
        file.write(b"0123456789")
        file.flush()
        os.fchmod(file.fileno(), 0o600)
        os.ftruncate(file.fileno(), 3)
        os.utime(file.fileno(), ns=(1, 2))
        assert os.fstat(file.fileno()).st_size == 3
    assert (there / "file").read_bytes() == b"012"
    assert os.stat(there / "file").st_mtime_ns == 2


def test_one_time_alone_is_set_and_the_other_left(here, there):
    """touch(1) uses UTIME_OMIT for the time that it leaves alone, and UTIME_NOW for now."""
    file = here / "file"
    file.write_bytes(b"")
    os.utime(file, ns=(10**18, 2 * 10**18))
    subprocess.run(["touch", "-a", "-d", "@5.000000007", file], check=True, timeout=20)
    assert (os.stat(there / "file").st_atime_ns, os.stat(there / "file").st_mtime_ns) == (5_000_000_007, 2 * 10**18)
    subprocess.run(["touch", "-m", file], check=True, timeout=20)
    assert os.stat(there / "file").st_atime_ns == 5_000_000_007
    assert os.stat(there / "file").st_mtime_ns != 2 * 10**18


def test_a_change_on_the_remote_machine_is_seen_when_the_file_is_opened(here, there):
    (here / "file").write_bytes(b"before")
    assert (here / "file").read_bytes() == b"before"
    (there / "file").write_bytes(b"afterwards")
    assert (here / "file").read_bytes() == b"afterwards"


def test_what_appears_on_the_remote_machine_is_there_at_once(here, there):
    assert not (here / "new").exists()
    (there / "new").write_bytes(b"")
    assert (here / "new").exists()


def test_a_file_that_went_away_is_made_anew(here, there):
    """The kernel believes in the name still and sends an open instead of a create."""
    (here / "file").write_bytes(b"old")
    os.unlink(there / "file")
    with (here / "file").open("wb") as file:
        file.write(b"new")
    assert (there / "file").read_bytes() == b"new"


def test_access_asks_the_agent(here, there):
    (there / "file").write_bytes(b"")
    assert os.access(here / "file", os.R_OK | os.W_OK)
    assert not os.access(here / "missing", os.F_OK)


def test_space_is_the_remote_file_systems(mount):
    mine, theirs = os.statvfs(mount.local), os.statvfs(mount.remote)
    assert (mine.f_blocks, mine.f_bsize, mine.f_files, mine.f_namemax) == (
        theirs.f_blocks, theirs.f_bsize, theirs.f_files, theirs.f_namemax,
    )  # fmt: skip


@needs_root
def test_owners_are_changed(here, there):
    (here / "file").write_bytes(b"")
    os.chown(here / "file", 4321, 8765)
    assert (os.stat(there / "file").st_uid, os.stat(there / "file").st_gid) == (4321, 8765)
    os.chown(here / "file", -1, 99)
    assert (os.stat(there / "file").st_uid, os.stat(there / "file").st_gid) == (4321, 99)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000], ids=oct)
def test_the_umask_is_the_callers(here, there, umask):
    before = os.umask(umask)
    try:
        os.close(os.open(here / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(here / "directory", 0o777)
        os.mkfifo(here / "fifo", 0o666)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(there / "file").st_mode) == 0o666 & ~umask
    assert stat.S_IMODE(os.stat(there / "directory").st_mode) == 0o777 & ~umask
    assert stat.S_IMODE(os.stat(there / "fifo").st_mode) == 0o666 & ~umask
