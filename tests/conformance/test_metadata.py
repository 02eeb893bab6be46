"""Attributes: what stat says, what chmod, chown, truncate and utimens change."""

from __future__ import annotations

import os
import stat

import pytest

from schema.fingerprints import SALT_SIZE, canonical, fingerprint, fingerprint_of_all
from schema.known_names import KnownDirectory, KnownName
from schema.requests import TIME_NOW, Attach, Caller, StatVolume, SyncFile, VerifyMetadata
from tests.conformance.driver import LONG_AGO, Files, refused


def test_a_new_file_is_empty_and_of_the_caller(files: Files) -> None:
    files.put(b"a")
    found = files.stat(b"a")
    assert stat.S_ISREG(found.mode)
    assert (found.size, found.blocks, found.links) == (0, 0, 1)
    assert (found.uid, found.gid) == (files.caller.uid, files.caller.gid)


def test_creation_applies_the_callers_umask(files: Files) -> None:
    careful = Files(files.filesystem, files.root, Caller(os.getuid(), os.getgid(), (), 0o077))
    careful.close(careful.create(b"file", mode=0o666))
    careful.mkdir(b"dir", 0o777)
    careful.mknod(b"fifo", stat.S_IFIFO | 0o666)
    assert [stat.S_IMODE(files.stat(name).mode) for name in (b"file", b"dir", b"fifo")] == [0o600, 0o700, 0o600]


@pytest.mark.parametrize("mode", [0o000, 0o644, 0o777, 0o1755, 0o2755, 0o4755, 0o7777])
def test_mode_bits_are_kept_as_set(files: Files, mode: int) -> None:
    files.put(b"a")
    assert files.change(b"a", mode=mode).mode == stat.S_IFREG | mode
    assert files.stat(b"a").mode == stat.S_IFREG | mode


def test_the_mode_of_a_directory_keeps_its_type(files: Files) -> None:
    files.mkdir(b"d")
    assert files.change(b"d", mode=0o1750).mode == stat.S_IFDIR | 0o1750


def test_changes_by_handle_and_by_path_are_the_same(files: Files) -> None:
    handle = files.create(b"a")
    files.change(handle, mode=0o640, mtime_ns=LONG_AGO)
    assert files.stat(b"a") == files.stat(handle)
    assert stat.S_IMODE(files.stat(b"a").mode) == 0o640


def test_naming_the_owner_that_it_has_succeeds(files: Files) -> None:
    files.put(b"a")
    before = files.stat(b"a")
    after = files.change(b"a", uid=before.uid, gid=before.gid)
    assert (after.uid, after.gid) == (before.uid, before.gid)


@pytest.mark.needs("chown")
def test_owner_and_group_change_one_without_the_other(files: Files) -> None:
    files.put(b"a")
    gid = files.stat(b"a").gid
    after = files.change(b"a", uid=1234)
    assert (after.uid, after.gid) == (1234, gid)
    after = files.change(b"a", gid=4321)
    assert (after.uid, after.gid) == (1234, 4321)


@pytest.mark.needs("chown")
def test_the_owner_of_a_symbolic_link_is_its_own(files: Files) -> None:
    files.put(b"a")
    files.symlink(b"a", b"l")
    assert files.change(b"l", uid=1234).uid == 1234
    assert files.stat(b"a").uid == files.caller.uid


@pytest.mark.parametrize(
    "time_ns", [0, 1, -1, 1_700_000_000_123_456_789, -1_500_000_000, 2**31 * 1_000_000_000 + 999_999_999]
)
@pytest.mark.parametrize("kind", ["file", "dir", "symlink"])
def test_times_come_back_to_the_nanosecond(files: Files, time_ns: int, kind: str) -> None:
    if kind == "file":
        files.put(b"x")
    elif kind == "dir":
        files.mkdir(b"x")
    else:
        files.symlink(b"nowhere", b"x")
    answer = files.change(b"x", atime_ns=time_ns, mtime_ns=time_ns + 1)
    found = files.stat(b"x")
    assert (answer.atime_ns, answer.mtime_ns) == (time_ns, time_ns + 1)
    assert found.mtime_ns == time_ns + 1
    assert found.atime_ns == time_ns or kind == "dir"  # whoever watches the remote machine may list a new directory


def test_a_time_that_is_not_given_stays(files: Files) -> None:
    files.put(b"a")
    files.change(b"a", atime_ns=LONG_AGO, mtime_ns=LONG_AGO + 5)
    files.change(b"a", atime_ns=LONG_AGO + 9)
    files.change(b"a", mode=0o600)
    assert (files.stat(b"a").atime_ns, files.stat(b"a").mtime_ns) == (LONG_AGO + 9, LONG_AGO + 5)
    files.change(b"a", mtime_ns=LONG_AGO + 11)
    assert (files.stat(b"a").atime_ns, files.stat(b"a").mtime_ns) == (LONG_AGO + 9, LONG_AGO + 11)


def test_time_now_is_the_file_systems_own_clock(files: Files) -> None:
    files.put(b"a")
    files.change(b"a", atime_ns=5, mtime_ns=5)
    assert files.change(b"a", atime_ns=TIME_NOW).atime_ns > LONG_AGO
    assert files.stat(b"a").mtime_ns == 5
    assert files.change(b"a", mtime_ns=TIME_NOW).mtime_ns > LONG_AGO


def test_writing_moves_the_modification_time(files: Files) -> None:
    handle = files.create(b"a")
    files.change(handle, mtime_ns=5)
    assert files.write(handle, 0, b"x").mtime_ns > 5


def test_truncating_moves_the_modification_time(files: Files) -> None:
    files.put(b"a", b"abc")
    files.change(b"a", mtime_ns=5)
    assert files.change(b"a", size=1).mtime_ns > 5


def test_a_size_and_a_time_in_one_request_leave_the_time_as_asked(files: Files) -> None:
    files.put(b"a", b"abc")
    after = files.change(b"a", size=1, mtime_ns=5)
    assert (after.size, after.mtime_ns) == (1, 5)
    assert files.stat(b"a").mtime_ns == 5


@pytest.mark.parametrize("operation", ["create", "unlink", "rename away", "rename in"])
def test_a_change_of_names_moves_the_directorys_modification_time(files: Files, operation: str) -> None:
    files.mkdir(b"d")
    files.put(b"d/old")
    files.put(b"out")
    files.change(b"d", mtime_ns=5)
    match operation:
        case "create":
            files.put(b"d/new")
        case "unlink":
            files.unlink(b"d/old")
        case "rename away":
            files.rename(b"d/old", b"away")
        case _:
            files.rename(b"out", b"d/in")
    assert files.stat(b"d").mtime_ns > 5


def test_the_change_time_never_goes_back(files: Files) -> None:
    files.put(b"a")
    before = files.stat(b"a").ctime_ns
    for change in ({"mode": 0o600}, {"mtime_ns": 5}, {"size": 3}):
        after = files.change(b"a", **change).ctime_ns
        assert after >= before
        before = after
    assert before > LONG_AGO


def test_truncating_a_directory_is_refused(files: Files) -> None:
    files.mkdir(b"d")
    with refused("EISDIR"):
        files.change(b"d", size=0)


def test_a_symbolic_link_is_not_followed_by_a_change(files: Files) -> None:
    files.put(b"a", b"abc")
    files.change(b"a", mode=0o600)
    files.symlink(b"a", b"l")
    with refused("EINVAL", "ELOOP"):
        files.change(b"l", size=0)
    with refused("EOPNOTSUPP", "ELOOP"):
        files.change(b"l", mode=0o777)
    files.change(b"l", mtime_ns=5)
    found = files.stat(b"a")
    assert (found.size, stat.S_IMODE(found.mode)) == (3, 0o600)
    assert found.mtime_ns > LONG_AGO


def test_access_asks_for_the_mode_bits(files: Files) -> None:
    files.put(b"a")
    files.change(b"a", mode=0o600)
    files.access(b"a", os.R_OK | os.W_OK)
    files.access(b"a", os.F_OK)
    with refused("EACCES"):
        files.access(b"a", os.X_OK)
    files.change(b"a", mode=0o700)
    files.access(b"a", os.R_OK | os.W_OK | os.X_OK)


def test_the_volume_says_its_sizes(files: Files) -> None:
    found = files.filesystem.stat_volume(StatVolume(files.root), files.caller).statistics
    assert found.block_size > 0
    assert found.fragment_size > 0
    assert found.blocks >= found.blocks_free >= found.blocks_available > 0
    assert found.name_max == 255


def test_attaching_to_a_directory_describes_it(files: Files) -> None:
    attached = files.filesystem.attach(Attach(files.root), files.caller)
    assert attached.metadata.inode == files.stat(b"").inode
    assert stat.S_ISDIR(attached.metadata.mode)
    assert not attached.read_only


def test_attaching_to_what_is_no_directory_is_refused(files: Files) -> None:
    files.put(b"a")
    with refused("ENOTDIR"):
        files.filesystem.attach(Attach(files.at(b"a")), files.caller)
    with refused("ENOENT"):
        files.filesystem.attach(Attach(files.at(b"none")), files.caller)


def test_special_files_have_their_type(files: Files) -> None:
    for name, kind in ((b"fifo", stat.S_IFIFO), (b"socket", stat.S_IFSOCK), (b"file", stat.S_IFREG)):
        assert stat.S_IFMT(files.mknod(name, kind | 0o644).mode) == kind
        assert stat.S_IFMT(files.stat(name).mode) == kind
    with refused("EEXIST"):
        files.mknod(b"fifo", stat.S_IFIFO | 0o644)
    files.unlink(b"fifo")
    assert files.names() == [b"file", b"socket"]


@pytest.mark.parametrize("data_only", [False, True])
def test_files_and_directories_can_be_synchronised(files: Files, data_only: bool) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"x")
    files.mkdir(b"d")
    files.filesystem.sync_file(SyncFile((), handle, data_only), files.caller)
    files.filesystem.sync_file(SyncFile(files.at(b"d"), 0, data_only), files.caller)
    assert files.read(handle) == b"x"


def test_what_differs_from_what_is_known_is_told_and_nothing_else(files: Files) -> None:
    salt = b"s" * SALT_SIZE
    files.mkdir(b"d")
    for name in (b"same", b"other", b"gone", b"new"):
        files.put(b"d/" + name, b"abc")

    def known(name: bytes) -> KnownName:
        packed = canonical(files.stat(b"d/" + name))
        assert packed is not None
        return KnownName(name, fingerprint(packed, salt))

    names = [known(name) for name in (b"same", b"other", b"gone")] + [KnownName(b"none", None)]
    files.put(b"d/other", b"abcd")
    files.unlink(b"d/gone")
    directories = (KnownDirectory(files.at(b"d"), 4, whole=True), KnownDirectory(files.at(b"d"), 1))
    request = VerifyMetadata(salt, (*directories, KnownDirectory(files.at(b"d/x"), 1)), (*names, names[0], names[0]))
    answer = files.filesystem.verify_metadata(request, files.caller)
    assert [(each.found, each.complete) for each in answer.directories] == [(True, True), (True, False), (False, False)]
    assert [(each.index, each.metadata and each.metadata.size) for each in answer.changed] == [(1, 4), (2, None)]
    assert [(each.directory, each.name, each.metadata.size) for each in answer.appeared] == [(0, b"new", 3)]


def test_a_directory_is_compared_as_a_whole(files: Files) -> None:
    salt = b"s" * SALT_SIZE
    files.mkdir(b"d")
    for name in (b"b", b"a"):
        files.put(b"d/" + name, b"abc")
    entries = [(name, canonical(files.stat(b"d/" + name)) or b"") for name in (b"a", b"b")]
    directory = KnownDirectory(files.at(b"d"), 2, fingerprint=fingerprint_of_all(entries, salt))

    def is_same() -> bool:
        (answer,) = files.filesystem.verify_metadata(VerifyMetadata(salt, (directory,), ()), files.caller).directories
        assert answer.found
        return answer.complete

    assert is_same()
    files.put(b"d/c", b"")
    assert not is_same()
    files.unlink(b"d/c")
    assert is_same()
    files.put(b"d/a", b"abd")
    assert not is_same()
