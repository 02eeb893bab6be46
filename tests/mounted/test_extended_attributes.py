"""Extended attributes and access control lists pass through as they are."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess

import pytest

from tests.mounted.conftest import needs_root


def test_attributes_are_set_read_listed_and_removed(here, there):
    file = here / "file"
    file.write_bytes(b"")
    os.setxattr(file, b"user.\xff", bytes(range(256)))
    os.setxattr(file, "user.empty", b"")
    assert os.getxattr(there / "file", b"user.\xff") == bytes(range(256))
    assert os.getxattr(file, b"user.\xff") == bytes(range(256))
    assert os.getxattr(file, "user.empty") == b""
    assert sorted(os.listxattr(file)) == sorted(os.listxattr(there / "file"))
    os.removexattr(file, "user.empty")
    assert len(os.listxattr(there / "file")) == 1


def test_creating_replacing_and_missing(here):
    file = here / "file"
    file.write_bytes(b"")
    expected = [
        (errno.ENODATA, lambda: os.getxattr(file, "user.none")),
        (errno.ENODATA, lambda: os.removexattr(file, "user.none")),
        (errno.ENODATA, lambda: os.setxattr(file, "user.none", b"", os.XATTR_REPLACE)),
        (errno.EEXIST, lambda: [os.setxattr(file, "user.a", b"", os.XATTR_CREATE) for _ in range(2)]),
        (errno.EOPNOTSUPP, lambda: os.setxattr(file, "nonsense.a", b"")),
    ]
    for number, operation in expected:
        with pytest.raises(OSError) as refused:
            operation()
        assert refused.value.errno == number


def test_a_symbolic_link_has_none_of_its_targets(here):
    (here / "file").write_bytes(b"")
    os.setxattr(here / "file", "user.a", b"1")
    (here / "link").symlink_to("file")
    assert os.getxattr(here / "link", "user.a") == b"1"
    assert os.listxattr(here / "link", follow_symlinks=False) == []


@needs_root
def test_acls_are_stored_on_the_remote_machine(here, there):
    if shutil.which("setfacl") is None:
        pytest.skip("there is no setfacl")
    (here / "file").write_bytes(b"")
    subprocess.run(["setfacl", "-m", "u:1234:rw,g:99:r", here / "file"], check=True, timeout=20)
    listed = subprocess.run(["getfacl", "-nc", there / "file"], check=True, timeout=20, capture_output=True, text=True)
    assert "user:1234:rw-" in listed.stdout
    assert "group:99:r--" in listed.stdout
    mine = subprocess.run(["getfacl", "-nc", here / "file"], check=True, timeout=20, capture_output=True, text=True)
    assert mine.stdout == listed.stdout
