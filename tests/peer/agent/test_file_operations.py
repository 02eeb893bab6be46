"""What the conformance suite cannot ask of every file system: the agent's own dangers and its kernel's edges."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.agent import file_attributes, file_data, system_calls
from peer.agent.access_policy import AccessRules
from schema.requests import Caller, CopyRange, OpenFile, SyncFile, WriteFile
from tests.conformance.driver import Files, refused
from tests.peer.agent.conftest import LAPTOP, ME, PHONE, components, needs_root, open_descriptors

# --- what must never be opened


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_file_is_refused_and_nothing_waits(files, export, kind, flags):
    os.mknod(export / "node", kind | 0o666)
    for attempt in (files.open, files.create):
        with refused("ESTALE"):
            attempt(b"node", flags)
    with refused("EEXIST"):
        files.create(b"node", flags | os.O_EXCL)
    with refused("EINVAL"):
        files.filesystem.sync_file(SyncFile(files.at(b"node")), ME)
    with refused("EINVAL"):
        files.change(b"node", size=0)
    assert files.change(b"node", mode=0o600).mode == kind | 0o600


@needs_root
def test_a_device_is_not_driven_through_the_agent(files, export):
    files.mknod(b"zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert files.stat(b"zero").device == os.makedev(1, 5)
    with refused("ESTALE"):
        files.open(b"zero")


def test_a_link_is_not_followed_to_be_created_through(files, export):
    target = export.parent / "target"
    files.symlink(os.fsencode(target), b"link")
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_TRUNC):
        with refused("ESTALE"):
            files.create(b"link", flags)
    with refused("EEXIST"):
        files.create(b"link", os.O_WRONLY | os.O_EXCL)
    target.write_bytes(b"outside")
    for attempt in (lambda: files.create(b"link", os.O_WRONLY | os.O_TRUNC), lambda: files.open(b"link", os.O_TRUNC)):
        with refused("ESTALE"):
            attempt()
    assert target.read_bytes() == b"outside"
    for attempt in (lambda: files.change(b"link", size=0), lambda: files.change(b"link", mode=0o777)):
        with refused("EINVAL", "EOPNOTSUPP"):
            attempt()
    assert target.read_bytes() == b"outside"


def test_the_mode_of_a_link_is_left_alone_where_a_kernel_would_change_it(files, monkeypatch):
    files.symlink(b"nowhere", b"link")
    monkeypatch.setattr(os, "chmod", lambda *_: pytest.fail("kernels before 6.6 did it on some file systems"))
    with refused("EOPNOTSUPP"):
        files.change(b"link", mode=0o777)


@needs_root
def test_owners_and_times_of_a_link_are_its_own(files, export):
    target = export / "target"
    target.touch()
    files.symlink(b"target", b"link")
    changed = files.change(b"link", uid=12, gid=34, atime_ns=5, mtime_ns=-7)
    assert (changed.uid, changed.gid, changed.atime_ns, changed.mtime_ns) == (12, 34, 5, -7)
    assert (target.stat().st_uid, target.stat().st_mtime_ns > 0) == (0, True)


def test_a_link_is_linked_itself(files, export):
    files.symlink(b"nowhere", b"link")
    assert files.link(b"link", b"other").links == 2
    assert files.readlink(b"other") == b"nowhere"


def test_files_without_a_name_are_not_offered(files):
    for attempt in (files.open, files.create):
        with refused("EOPNOTSUPP"):
            attempt(b"f", os.O_RDWR | 0o20000000)


def test_flags_that_are_the_clients_own_affair_do_not_reach_the_kernel(files):
    noise = os.O_DIRECT | os.O_NONBLOCK | os.O_NOCTTY | os.O_PATH | os.O_DIRECTORY | os.O_ASYNC
    handle = files.create(b"f", os.O_RDWR | noise)
    files.write(handle, 1, b"odd")  # O_DIRECT would refuse it
    handle = files.open(b"f", os.O_RDONLY | noise | os.O_CREAT | os.O_EXCL)
    assert files.read(handle) == b"\0odd"


# --- data


def test_a_full_disk_takes_what_fits_and_then_says_enospc(start, tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0777", "tmpfs", str(volume)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs a small file system of its own")
    try:
        dispatcher = start(AccessRules((components(volume),)))
        files = Files(dispatcher.view(LAPTOP), components(volume), ME)
        handle = files.create(b"f")
        files.write(handle, 0, b"early")
        request = WriteFile(handle, 5, memoryview(b"x" * 2**20))
        written = files.filesystem.write_file(request, ME)
        assert 0 < written.size < 2**20
        assert written.metadata.size == 5 + written.size
        with refused("ENOSPC"):
            files.write(handle, 5 + written.size, b"x" * 8192)
        assert files.read(handle, 0, 10) == b"earlyxxxxx"
        with refused("ENOSPC"):
            files.allocate(handle, 0, 0, 2**20)
        files.close_all()
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


def test_a_limit_on_size_is_told(files):
    handle = files.create(b"f")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        assert files.filesystem.write_file(WriteFile(handle, 0, memoryview(b"x" * 200)), ME).size == 100
        with refused("EFBIG"):
            files.write(handle, 100, b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_appends_of_two_clients_stay_whole(dispatcher, export):
    clients = [Files(dispatcher.view(who), components(export), ME) for who in (LAPTOP, PHONE)]
    (export / "log").touch()
    handles = [files.open(b"log", os.O_WRONLY | os.O_APPEND) for files in clients]
    for step in range(20):
        for number, (files, handle) in enumerate(zip(clients, handles, strict=True)):
            files.write(handle, 0, b"%d:%02d\n" % (number, step))
    lines = (export / "log").read_bytes().splitlines()
    assert sorted(lines) == [b"%d:%02d" % (number, step) for number in range(2) for step in range(20)]


def test_reading_goes_on_until_all_is_there(monkeypatch, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(range(200)))
    genuine = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: genuine(descriptor, min(size, 7), offset))
    with path.open("rb") as file:
        assert file_data.read(file.fileno(), 3, 100) == bytes(range(3, 103))
        assert file_data.read(file.fileno(), 190, 100) == bytes(range(190, 200))
        assert file_data.read(file.fileno(), 200, 100) == b""


def test_writing_goes_on_until_all_is_there(monkeypatch, tmp_path):
    genuine = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: genuine(descriptor, data[:7], offset))
    with (tmp_path / "f").open("wb") as file:
        assert file_data.write(file.fileno(), 3, memoryview(bytes(range(100)))) == 100
    assert (tmp_path / "f").read_bytes() == bytes(3) + bytes(range(100))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_copy_that_the_kernel_does_not_make_is_made_by_hand(monkeypatch, files, number):
    def refuse(*_):
        raise OSError(number, "")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    content = os.urandom(3 * 2**20 + 7)
    source, target = files.create(b"a"), files.create(b"b")
    for offset in range(0, len(content), 2**20):
        files.write(source, offset, content[offset : offset + 2**20])
    assert files.copy(source, 0, target, 5, 2 * len(content)) == len(content)
    files.close_all()
    assert files.get(b"b")[:100] == bytes(5) + content[:95]
    assert files.stat(b"b").size == len(content) + 5


def test_a_copy_onto_itself_is_refused_where_it_overlaps(files):
    handle = files.create(b"f")
    files.write(handle, 0, b"0123456789")
    with refused("EINVAL"):
        files.copy(handle, 0, handle, 5, 6)
    assert files.copy(handle, 0, handle, 10, 10) == 10
    assert files.read(handle) == b"0123456789" * 2


def test_one_copy_is_bounded(files):
    source, target = files.create(b"a"), files.create(b"b")
    files.change(source, size=1 << 40)
    copied = files.filesystem.copy_range(CopyRange(source, 0, target, 0, 1 << 40), ME)
    assert 0 < copied.size <= file_data.COPY_LIMIT


def test_opening_answers_the_first_bytes_and_the_generation(files, export):
    (export / "f").write_bytes(b"content")
    opened = files.filesystem.open_file(OpenFile(files.at(b"f"), os.O_RDONLY, 4), ME)
    assert bytes(opened.data) == b"cont"
    again = files.filesystem.open_file(OpenFile(files.at(b"f"), os.O_WRONLY, 4), ME)
    assert bytes(again.data) == b""
    assert again.generation == opened.generation
    with (export / "f").open() as file:
        assert opened.generation == file_attributes.generation(file.fileno())


def test_a_file_whose_first_bytes_cannot_be_read_is_not_left_open(dispatcher, files, export, monkeypatch):
    (export / "f").write_bytes(b"content")
    before = open_descriptors()

    def refuse(*_):
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(file_data, "read", refuse)
    with refused("EIO"):
        files.first_bytes(b"f", 4)
    assert open_descriptors() == before
    assert not dispatcher._operations.clients()


def test_a_generation_that_nobody_knows_is_zero():
    with open("/proc/self/status", "rb") as file:
        assert file_attributes.generation(file.fileno()) == 0


@pytest.mark.parametrize("directory", ["/dev/shm", None], ids=["tmpfs", "disk"])
def test_a_generation_is_that_of_one_file(directory, tmp_path):
    """Also where a file system (tmpfs) tells it by file handles only."""
    found = []
    for _ in range(2):
        with tempfile.NamedTemporaryFile(dir=directory or tmp_path) as file:
            found.append(file_attributes.generation(file.fileno()))
            assert file_attributes.generation(file.fileno()) == found[-1]
    assert 0 not in found
    assert found[0] != found[1]


@pytest.mark.parametrize("data_only", [True, False])
def test_files_and_directories_can_be_synced(files, data_only):
    files.mkdir(b"d")
    handle = files.create(b"f")
    for request in (
        SyncFile(files.at(b"d"), 0, data_only),
        SyncFile(files.at(b"f"), 0, data_only),
        SyncFile((), handle, data_only),
    ):
        files.filesystem.sync_file(request, ME)


# --- the umask


def test_the_umask_is_the_callers_and_leaves_no_trace(dispatcher, export):
    before = os.umask(0o027)
    try:
        for umask, name in ((0, b"a"), (0o077, b"b"), (0o022, b"c")):
            files = Files(dispatcher.view(LAPTOP), components(export), Caller(ME.uid, ME.gid, ME.groups, umask))
            assert files.stat(files.create(name, mode=0o6777)).mode & 0o7777 & umask == 0
            assert stat.S_IMODE(files.mkdir(name + b"d", 0o777).mode) == 0o777 & ~umask
            assert stat.S_IMODE(files.mknod(name + b"n", stat.S_IFIFO | 0o666).mode) == 0o666 & ~umask
            files.close_all()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_a_default_acl_takes_the_umasks_place(files, export):
    entries = [(1, 7, -1), (4, 7, -1), (0x20, 7, -1)]  # user::rwx, group::rwx, other::rwx
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (who & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, who in entries
    )
    files.mkdir(b"d")
    try:
        os.setxattr(export / "d", "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("no POSIX ACLs here")
    files.create(b"d/f", mode=0o666)
    assert stat.S_IMODE(files.stat(b"d/f").mode) == 0o666
    files.create(b"plain", mode=0o666)
    assert stat.S_IMODE(files.stat(b"plain").mode) == 0o644
    assert files.getxattr(b"d", b"system.posix_acl_default") == acl


def test_where_threads_share_a_umask_creations_take_turns(start, export, monkeypatch):
    def refuse():
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(system_calls, "unshare_umask", refuse)
    dispatcher = start(AccessRules((components(export),)))
    inside, overlaps = [], []
    genuine = os.mkdir

    def mkdir(*arguments, **more):
        inside.append(1)
        time.sleep(0)  # let the others in, if they can come in
        genuine(*arguments, **more)
        overlaps.append(len(inside) > 1)
        inside.pop()

    monkeypatch.setattr(os, "mkdir", mkdir)

    def work(number: int) -> set[int]:
        caller = Caller(ME.uid, ME.gid, ME.groups, 0o077 if number % 2 else 0o002)
        files = Files(dispatcher.view(LAPTOP), components(export), caller)
        return {stat.S_IMODE(files.mkdir(b"%d-%d" % (number, step)).mode) for step in range(100)}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [{0o775}, {0o700}, {0o775}, {0o700}]
    assert len(overlaps) == 400
    assert not any(overlaps)


# --- access where the kernel cannot be asked


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "groups", "allowed"),
    [
        (0o700, 10, 99, (), 7),
        (0o077, 10, 20, (), 0),
        (0o070, 11, 20, (), 7),
        (0o050, 11, 99, (20,), 5),
        (0o007, 11, 99, (), 7),
        (0o707, 11, 20, (), 0),
        (0o644, 11, 99, (), 4),
        (0o000, 0, 0, (), 6),
        (0o001, 0, 0, (), 7),
    ],
)
def test_access_by_permission_bits(mode, uid, gid, groups, allowed):
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, 10, 20, 0, 0, 0, 0))
    caller = Caller(uid, gid, groups)
    for asked in range(8):
        assert file_attributes.permitted_by_bits(status, asked, caller) == (asked & ~allowed == 0)


def test_access_is_asked_of_an_older_kernel_otherwise(monkeypatch, files, export):
    def missing(*_):
        raise OSError(errno.ENOSYS, "")

    monkeypatch.setattr(system_calls, "faccessat2", missing)
    (export / "f").touch(0o600)
    files.access(b"f", os.R_OK | os.W_OK)
    with refused("EACCES"):
        files.access(b"f", os.X_OK)


# --- numbers


def test_ids_that_mean_nobody_are_refused(files):
    files.create(b"f")
    for wanted in ({"uid": 2**32 - 1}, {"gid": 2**32 - 1}):
        with refused("EINVAL"):
            files.change(b"f", **wanted)


def test_names_are_any_bytes(files, export: Path):
    for name in (b"\xff\xfe", b"a\nb", b" ", b"~", b"\x01", b"n" * 255, b"...", b"-rf"):
        files.put(name, name)
        assert files.get(name) == name
        assert name in os.listdir(os.fsencode(export))
    assert len(files.names()) == 8
