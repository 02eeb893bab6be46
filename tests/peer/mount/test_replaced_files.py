"""Open files whose name is another file's by now, without a kernel: our own thread's unlink is a function here."""

from __future__ import annotations

import threading

import pytest

from peer.mount.path_table import PathTable
from peer.mount.removed_files import Hide, RemovedFiles
from peer.mount.replaced_files import Opening, ReplacedFiles
from tests.peer.mount.samples import metadata

FILE, HIDDEN = (b"d", b"file"), (b"d", b".fuse_hidden0000000a00000001")
OLD, NEW = metadata(inode=1), metadata(inode=2)
USER = 4711


class Mount:
    """The kernel and libfuse: an unlink hides the open file, unless it cannot be done."""

    def __init__(self, anew) -> None:
        self.open: PathTable[int] = PathTable()
        self.removed = RemovedFiles(lambda _: None)
        self.now = 100.0
        self.replaced = ReplacedFiles(self, self.removed, lambda: self.now)
        self.replaced.know_open(self.open)
        self.file = anew / "file"
        self.file.touch()
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.expired = threading.Event()

    def local(self, path):
        self.begun.set()
        assert self.go.wait(10)
        handles = self.open.at(path)
        if self.file.exists() and self.removed.hide(path, HIDDEN, threading.get_native_id(), handles) is Hide.UNNAME:
            self.open.forget(path)
        return bytes(self.file)

    def expire(self, path):
        return self.expired.set

    def opens(self, handle, what):
        self.open.add(handle, FILE)
        self.replaced.opened(handle, what)


@pytest.fixture
def mount(tmp_path):
    mount = Mount(tmp_path)
    mount.replaced.begin()
    yield mount
    mount.go.set()
    mount.replaced.end()


def test_the_same_file_shares_nothing_with_itself(mount):
    mount.opens(7, OLD)
    assert mount.replaced.open(FILE, OLD, USER) is Opening.APART
    assert mount.replaced.seen(FILE, OLD) == 0
    assert mount.replaced.open((b"other",), NEW, USER) is Opening.APART


def test_who_opens_another_file_of_that_name_asks_again_and_finds_it_apart(mount):
    mount.opens(7, OLD)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.ASK_AGAIN
    mount.replaced.look_again(FILE, USER)
    assert mount.open.at(FILE) == frozenset()
    assert mount.removed.resolve(HIDDEN) == ((), 7)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.APART
    assert mount.expired.wait(10)


def test_where_they_cannot_be_parted_they_stay_together(mount):
    mount.file.unlink()
    mount.opens(7, OLD)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.ASK_AGAIN
    mount.replaced.look_again(FILE, USER)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.TOGETHER
    assert mount.replaced.open(FILE, NEW, 0) is Opening.TOGETHER


def test_who_looks_is_shown_the_open_file_until_they_are_apart_but_not_for_long(mount):
    mount.go.clear()
    mount.opens(7, OLD)
    assert mount.replaced.seen(FILE, NEW) == 7
    assert mount.begun.wait(10)
    assert mount.replaced.seen(FILE, NEW) == 7
    mount.now += 1
    assert mount.replaced.seen(FILE, NEW) == 0
    mount.go.set()
    assert mount.expired.wait(10)
    assert mount.replaced.seen(FILE, NEW) == 0
    assert not mount.replaced.shares(FILE, NEW)


def test_what_we_rename_ourselves_needs_no_parting(mount):
    mount.opens(7, OLD)
    with mount.replaced.replacing(FILE):
        assert mount.replaced.open(FILE, NEW, USER) is Opening.APART
        assert mount.replaced.seen(FILE, NEW) == 0
    assert mount.replaced.shares(FILE, NEW)


def test_a_closed_file_is_in_nobodys_way(mount):
    mount.opens(7, OLD)
    mount.replaced.closed(7)
    mount.open.discard(7)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.APART


def test_our_own_thread_is_known(mount):
    assert not mount.replaced.is_own(0)
    mount.opens(7, OLD)
    assert mount.replaced.open(FILE, NEW, USER) is Opening.ASK_AGAIN
    mount.replaced.look_again(FILE, USER)
    assert not mount.replaced.is_own(threading.get_native_id())
