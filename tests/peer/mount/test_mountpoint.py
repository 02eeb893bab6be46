from __future__ import annotations

import os

import pytest

from peer.mount.mountpoint import MountError, mount_at, prepare

TABLE = """\
22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw
40 27 0:39 / /mnt/one rw shared:1 master:2 - fuse.remotefs remotefs#attic:/home rw,user_id=0
41 27 0:40 / /mnt/with\\040space\\011tab rw - fuse.sshfs host: rw
42 40 0:41 / /mnt/one rw - tmpfs tmpfs rw
43 27 0:42 / /mnt/back\\134slash rw - ext4 /dev/x rw
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return str(path)


@pytest.mark.parametrize(
    ("mountpoint", "kind"),
    [
        ("/proc", "proc"),
        ("/mnt/with space\ttab", "fuse.sshfs"),
        ("/mnt/one", "tmpfs"),
        ("/mnt/one/", "tmpfs"),
        ("/mnt/back\\slash", "ext4"),
        ("/mnt", None),
        ("/mnt/one/below", None),
    ],
)
def test_what_is_mounted_is_read_from_the_kernels_table(table, mountpoint, kind):
    entry = mount_at(mountpoint, table)
    assert kind == (None if entry is None else entry.kind)


def test_the_device_number_is_the_kernels(table):
    entry = mount_at("/proc", table)
    assert entry is not None
    assert entry.device == "0:21"


def test_an_empty_directory_can_be_mounted_on(tmp_path, fuse):
    assert prepare(str(tmp_path)) == str(tmp_path.resolve())


def test_a_link_to_a_directory_is_followed(tmp_path, fuse):
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("directory")
    assert prepare(str(tmp_path / "link")) == str((tmp_path / "directory").resolve())


def test_anything_else_is_one_sentence(tmp_path, fuse):
    (tmp_path / "file").touch()
    for path, says in ((tmp_path, "not empty"), (tmp_path / "file", "not a directory"), (tmp_path / "no", "not exist")):
        with pytest.raises(MountError, match=says):
            prepare(str(path))


def test_a_machine_without_fuse_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("peer.mount.mountpoint._DEVICE", str(tmp_path / "no-fuse"))
    with pytest.raises(MountError, match="modprobe fuse"):
        prepare(str(tmp_path))


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_a_user_who_may_not_use_fuse_is_told_what_to_do(tmp_path, fuse):
    os.chmod(fuse, 0)
    with pytest.raises(MountError, match="chmod 666"):
        prepare(str(tmp_path))


@pytest.fixture
def fuse(tmp_path_factory, monkeypatch):
    device = tmp_path_factory.mktemp("dev") / "fuse"
    device.touch()
    monkeypatch.setattr("peer.mount.mountpoint._DEVICE", str(device))
    return device
