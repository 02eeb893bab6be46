"""Who owns what: ids mapped to the mounting user's, or preserved with all that the kernel makes of them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.conftest import needs_root
from tests.mounted.trial import Trial, mounted

pytestmark = needs_root

ALICE, BOB, CREW = 54321, 54322, 54400

AS_USER = """
import os, sys
uid, gid, groups = int(sys.argv[1]), int(sys.argv[2]), [int(group) for group in sys.argv[3].split(",") if group]
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
os.umask(0o022)
try:
    exec(sys.argv[4])
except OSError as failure:
    print(os.strerror(failure.errno))
else:
    print("done")
"""


def as_user(uid, code, *, gid=None, groups=()):
    """Run `code` as another user; "done" or the error message."""
    child = subprocess.run(
        [sys.executable, "-c", AS_USER, str(uid), str(gid or uid), ",".join(map(str, groups)), code],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    return child.stdout.strip()


@pytest.fixture(scope="module")
def preserving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    directory = tmp_path_factory.mktemp("preserving")
    for path in (directory, *directory.parents):
        if path.name.startswith(("preserving", "pytest-", "popen-")):  # of pytest's own there are two or three
            path.chmod(0o755)
    with mounted(directory, identity="preserve", allow_other=True) as trial:
        trial.remote.chmod(0o755)
        yield trial


@pytest.fixture
def shared(preserving: Trial, request: pytest.FixtureRequest) -> Path:
    """A directory on the preserving mount that everybody may write to."""
    path = preserving.local / request.node.name
    path.mkdir()
    path.chmod(0o777)
    return path


def test_new_files_belong_to_whoever_makes_them(preserving, shared):
    assert as_user(ALICE, f"open('{shared}/file', 'w').write('x'); os.mkdir('{shared}/dir')", gid=CREW) == "done"
    for name in ("file", "dir"):
        status = os.stat(preserving.remote / shared.name / name)
        assert (status.st_uid, status.st_gid) == (ALICE, CREW)
    assert stat.S_IMODE(os.stat(shared / "file").st_mode) == 0o644


def test_permissions_are_the_callers(shared):
    (shared / "secret").write_bytes(b"x")
    (shared / "secret").chmod(0o640)
    os.chown(shared / "secret", ALICE, CREW)
    read = f"open('{shared}/secret').read()"
    assert as_user(ALICE, read) == "done"
    assert as_user(BOB, read) == "Permission denied"
    assert as_user(BOB, read, groups=[CREW]) == "done"
    assert as_user(BOB, f"open('{shared}/secret', 'a')", groups=[CREW]) == "Permission denied"
    assert as_user(BOB, f"os.chmod('{shared}/secret', 0o777)", groups=[CREW]) == "Operation not permitted"
    assert as_user(ALICE, f"os.chown('{shared}/secret', {BOB}, -1)") == "Operation not permitted"
    assert as_user(ALICE, f"os.chown('{shared}/secret', -1, {CREW})", groups=[CREW]) == "done"


def test_a_sticky_directory_keeps_others_files(shared):
    shared.chmod(0o1777)
    assert as_user(ALICE, f"open('{shared}/file', 'w')") == "done"
    assert as_user(BOB, f"os.unlink('{shared}/file')") == "Operation not permitted"
    assert as_user(ALICE, f"os.unlink('{shared}/file')") == "done"


def test_a_set_group_directory_hands_its_group_down(shared):
    os.chown(shared, 0, CREW)
    shared.chmod(0o2777)
    assert as_user(ALICE, f"open('{shared}/file', 'w'); os.mkdir('{shared}/dir')") == "done"
    assert os.stat(shared / "file").st_gid == CREW
    assert os.stat(shared / "dir").st_mode & stat.S_ISGID


def test_writing_takes_set_id_bits_off(shared):
    for name, operation in (
        ("written", "open('{}', 'r+').write('x')"),
        ("truncated", "os.truncate('{}', 1)"),
        ("appended", "open('{}', 'a').write('x')"),
    ):
        file = shared / name
        file.write_bytes(b"program")
        file.chmod(0o6777)
        assert as_user(ALICE, operation.format(file)) == "done"
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o777


def test_changing_the_owner_takes_set_id_bits_off(shared):
    file = shared / "file"
    file.write_bytes(b"program")
    os.chown(file, ALICE, ALICE)
    file.chmod(0o6755)
    assert as_user(ALICE, f"os.chown('{file}', -1, {CREW})", groups=[CREW]) == "done"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o755


def test_the_umask_yields_to_a_default_acl(shared):
    acl = bytes.fromhex("02000000 01000700ffffffff 04000700ffffffff 10000700ffffffff 20000600ffffffff")
    os.setxattr(shared, "system.posix_acl_default", acl)
    assert as_user(ALICE, f"os.close(os.open('{shared}/file', os.O_CREAT, 0o666))") == "done"
    assert stat.S_IMODE(os.stat(shared / "file").st_mode) == 0o666


def test_an_acl_lets_a_user_in(shared):
    file = shared / "file"
    file.write_bytes(b"x")
    file.chmod(0o600)
    bob = BOB.to_bytes(4, "little").hex()
    acl = f"02000000 01000600ffffffff 02000400{bob} 04000000ffffffff 10000400ffffffff 20000000ffffffff"
    os.setxattr(file, "system.posix_acl_access", bytes.fromhex(acl))
    assert as_user(BOB, f"open('{file}').read()") == "done"
    assert as_user(ALICE, f"open('{file}').read()") == "Permission denied"


def test_mapped_ids_are_the_mounting_users(anew):
    """The agent is root here and so is the mounting user: the others' ids are shown and set as they are."""
    with mounted(anew) as trial:
        (trial.remote / "mine").write_bytes(b"")
        (trial.remote / "theirs").write_bytes(b"")
        os.chown(trial.remote / "theirs", ALICE, CREW)
        assert os.stat(trial.local / "mine").st_uid == os.getuid()
        assert os.stat(trial.local / "theirs").st_uid == ALICE
        assert as_user(ALICE, f"os.listdir('{trial.local}')") == "Permission denied"
