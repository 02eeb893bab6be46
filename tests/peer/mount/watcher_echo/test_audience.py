"""Who watches: looked at now and then, and inherited by what is new."""

from __future__ import annotations

import ctypes
import os

import pytest

from peer.mount.watcher_echo.audience import LOOK_EVERY, NEW_SECONDS, Audience
from peer.mount.watcher_echo.watched_inodes import watched_inodes


class Looking:
    def __init__(self):
        self.now, self.looks, self.inodes, self.takes = 10.0, 0, frozenset(), 0.0
        self.audience = Audience(7, lambda: self.now, self.look)

    def look(self, device):
        assert device == 7
        self.looks += 1
        self.now += self.takes
        return self.inodes


def test_it_is_looked_at_once_in_a_while():
    looking = Looking()
    assert not looking.audience.present
    looking.inodes = frozenset({3})
    assert not looking.audience.present
    looking.now += LOOK_EVERY
    assert looking.audience.present
    assert looking.audience.watches(3)
    assert not looking.audience.watches(4)
    assert looking.looks == 2


def test_a_look_that_takes_long_is_seldom():
    looking = Looking()
    looking.takes = 1.0
    assert not looking.audience.present
    looking.now += 10 * LOOK_EVERY
    assert not looking.audience.present
    assert looking.looks == 1


def test_a_new_directory_counts_as_watched_for_a_while():
    looking = Looking()
    looking.audience.appeared((b"new",))
    assert looking.audience.is_new((b"new",))
    assert not looking.audience.is_new((b"old",))
    looking.now += NEW_SECONDS + 1
    assert not looking.audience.is_new((b"new",))


@pytest.fixture
def inotify():
    descriptor = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    yield descriptor
    os.close(descriptor)


def test_the_kernel_tells_which_inodes_are_watched(inotify, tmp_path):
    number, device = tmp_path.stat().st_ino, tmp_path.stat().st_dev
    assert number not in watched_inodes(device)
    assert ctypes.CDLL(None).inotify_add_watch(inotify, os.fsencode(tmp_path), 0x100) >= 0
    assert number in watched_inodes(device)
    assert number not in watched_inodes(os.makedev(os.major(device), os.minor(device) + 1))


def test_what_cannot_be_read_watches_nothing(tmp_path):
    (tmp_path / "17").mkdir()
    assert watched_inodes(1, str(tmp_path)) == frozenset()
    assert watched_inodes(1, str(tmp_path / "none")) == frozenset()
