"""Calls on a directory that stands for the mount: none leaves it."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from peer.mount.watcher_echo.calls import directory, perform
from peer.mount.watcher_echo.echoes import Call, Echo
from tests.peer.mount.samples import metadata

NAME = (b"name",)


def done(home, echo, *, written=True):
    with directory(os.fsencode(home), home.stat().st_dev, ()) as parent:
        perform(echo, parent, parent, written=written)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(0o100644, stat.S_ISREG), (0o40755, stat.S_ISDIR), (0o120777, stat.S_ISLNK), (0o10644, stat.S_ISFIFO)],
)
def test_each_kind_is_made_and_removed(tmp_path, mode, kind):
    now = metadata(mode=mode)
    done(tmp_path, Echo(Call.MAKE, NAME, None, now))
    assert kind((tmp_path / "name").lstat().st_mode)
    done(tmp_path, Echo(Call.REMOVE, NAME, now, None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o100644, 0o100755])
@pytest.mark.parametrize("written", [True, False])
def test_a_file_is_written_and_touched(tmp_path, mode, written):
    (tmp_path / "name").write_text("abc")
    now = metadata(mode=mode, size=3, mtime_ns=10**9)
    done(tmp_path, Echo(Call.WRITE, NAME, now, now), written=written)
    done(tmp_path, Echo(Call.TOUCH, NAME, now, now))
    assert (tmp_path / "name").read_text() == "abc"
    assert (tmp_path / "name").stat().st_mtime_ns == 10**9


def test_a_rename_moves(tmp_path):
    (tmp_path / "old").touch()
    done(tmp_path, Echo(Call.RENAME, NAME, None, metadata(), (b"old",)))
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_nothing_is_followed_out_of_the_mount(tmp_path):
    mount, elsewhere = tmp_path / "mount", tmp_path / "elsewhere"
    mount.mkdir()
    elsewhere.write_text("kept")
    (mount / "name").symlink_to(elsewhere)
    (mount / "up").symlink_to(tmp_path)
    now = metadata(size=0)
    for written in (True, False):
        with pytest.raises(OSError) as failed:
            done(mount, Echo(Call.WRITE, NAME, now, now), written=written)
        assert failed.value.errno in {errno.ELOOP, errno.EINVAL}
    for path in ((b"up",), (b"..",)):
        with pytest.raises(OSError), directory(os.fsencode(mount), mount.stat().st_dev, path):
            pass
    assert elsewhere.read_text() == "kept"


def test_what_is_not_the_mount_any_more_is_left_alone(tmp_path):
    with (
        pytest.raises(OSError, match="the mount is gone"),
        directory(os.fsencode(tmp_path), tmp_path.stat().st_dev + 1, ()),
    ):
        pass
