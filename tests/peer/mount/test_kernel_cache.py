"""What the kernel is told to forget, with a kernel that writes it down."""

from __future__ import annotations

import errno
import threading

import pytest

from peer.mount.kernel_cache import KernelCache
from peer.mount.path_table import PathTable
from peer.mount.withdrawals import EVERYTHING, UNSURE, Withdrawal
from tests.peer.mount.samples import metadata

A, B, C = (b"a",), (b"b",), (b"c",)
TWO = metadata(links=2)


class Kernel:
    """The kernel's side: inodes by path, and what it was told."""

    def __init__(self) -> None:
        self.inodes = {A: 10, B: 20, C: 30, (): 1}
        self.cached = True
        self.hears = self.expires_names = True
        self.told: list[tuple[object, ...]] = []
        self.heard = threading.Condition()
        self.held = threading.Event()
        self.held.set()

    def tell(self, *what):
        assert self.held.wait(10)
        with self.heard:
            self.told.append(what)
            self.heard.notify_all()
        return 0 if what[1] in self.inodes.values() else errno.ENOENT

    def forget_attributes(self, node):
        return self.tell("attributes", node)

    def forget_file(self, node):
        return self.tell("file", node)

    def forget_entry(self, parent, name):
        return self.tell("entry", parent, name)

    def expire_entry(self, parent, name):
        return self.tell("expire", parent, name)

    def of(self, path, *, cached_only):
        return self.inodes.get(path) if self.cached or not cached_only else None

    def known(self, path):
        return self.of(path, cached_only=True)

    def of_directory(self, path, *, cached_only):
        return self.of(path, cached_only=cached_only)

    def within(self, path, names):
        return (self.inodes[(*path, name)] for name in names if (*path, name) in self.inodes)

    def forget(self, path):
        pass

    def moved(self, source, destination):
        pass

    def wait_for(self, *what):
        with self.heard:
            assert self.heard.wait_for(lambda: what in self.told, 10), self.told


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def room(kernel):
    room = KernelCache(kernel, kernel)
    room.begin()
    yield room
    kernel.held.set()
    room.end()


def know(room, kernel, *paths):
    for path in paths:
        room.observe(path, TWO)
        kernel.wait_for("attributes", kernel.inodes[path])
    kernel.told.clear()


def test_a_changed_files_other_names_expire_before_the_change_is_answered(room, kernel):
    know(room, kernel, A, B, C)
    room.changed(TWO, A)
    assert sorted(kernel.told) == [("attributes", 20), ("attributes", 30)]


def test_changed_data_drops_the_other_names_pages_too(room, kernel):
    know(room, kernel, A, B)
    room.changed(TWO, A, data=True)
    assert ("attributes", 20) in kernel.told
    kernel.wait_for("file", 20)


def test_a_removed_name_leaves_the_others_with_one_link_less(room, kernel):
    know(room, kernel, A, B)
    room.removed(A)
    assert kernel.told == [("attributes", 20)]


def test_a_replaced_name_and_a_moved_one_count_as_changed(room, kernel):
    know(room, kernel, A, B)
    room.moved(C, B)
    assert kernel.told == [("attributes", 10)]
    kernel.told.clear()
    know(room, kernel, B)
    room.moved(A, C)
    assert ("attributes", 20) in kernel.told


def test_a_name_whose_inode_was_made_anew_is_found_again(room, kernel):
    know(room, kernel, A, B)
    kernel.inodes[B] = 21
    room.changed(TWO, A)
    assert kernel.told == [("attributes", 20), ("attributes", 21)]


def test_an_unknown_inode_is_learnt_later_and_told_then(room, kernel):
    know(room, kernel, A, B)
    kernel.inodes[B] = 21
    kernel.cached = False
    room.changed(TWO, A)
    kernel.wait_for("attributes", 21)


def test_no_operation_waits_for_a_kernel_that_does_not_answer(room, kernel):
    know(room, kernel, A, B)
    kernel.held.clear()
    done = threading.Event()

    def change():
        room.changed(TWO, A)
        room.revalidate(A)
        done.set()

    threading.Thread(target=change, daemon=True).start()
    assert done.wait(20)


def test_what_is_withdrawn_is_forgotten_attributes_first(room, kernel):
    assert room.forget(A, EVERYTHING)
    assert kernel.told[0] == ("attributes", 10)
    kernel.wait_for("file", 10)
    kernel.wait_for("expire", 1, b"a")


def test_a_name_that_may_be_right_still_keeps_its_pages(room, kernel):
    assert room.forget(A, UNSURE)
    kernel.wait_for("expire", 1, b"a")
    assert kernel.told == [("attributes", 10), ("expire", 1, b"a")]


def test_an_older_kernel_drops_names_that_are_wrong_and_no_others(room, kernel):
    kernel.expires_names = False
    room.forget(A, UNSURE)
    room.forget((b"new",), Withdrawal.MEANING)
    kernel.wait_for("entry", 1, b"new")
    assert kernel.told == [("attributes", 10), ("entry", 1, b"new")]


def test_of_a_file_that_the_kernel_does_not_hold_only_the_name_is_told(room, kernel):
    room.forget((b"unknown",), EVERYTHING)
    kernel.wait_for("expire", 1, b"unknown")
    assert kernel.told == [("expire", 1, b"unknown")]


def test_an_open_file_is_found_even_where_its_name_is_not_cached(room, kernel):
    opened = PathTable()
    opened.add(1, A)
    room.know_open(opened)
    kernel.cached = False
    room.forget(A, Withdrawal.ATTRIBUTES)
    kernel.wait_for("attributes", 10)


def test_news_of_one_name_wait_as_one(room, kernel):
    """While the kernel takes none, what comes is added to what waits."""
    kernel.held.clear()
    posted = [room.forget((b"unknown",), what) for what in (Withdrawal.NAME, Withdrawal.MEANING) * 10_000]
    assert all(posted)
    kernel.held.set()
    kernel.wait_for("expire", 1, b"unknown")
    assert len(kernel.told) <= 2


def test_all_in_a_directory_expires(room, kernel):
    room.forget_attributes_in((), [b"a", b"b", b"unknown"])
    assert kernel.told == [("attributes", 10), ("attributes", 20)]
    assert room.forget_names_in((), [b"a", b"unknown"])
    kernel.wait_for("expire", 1, b"a")
    kernel.wait_for("expire", 1, b"unknown")


def test_a_directory_that_must_be_asked_for_holds_up_no_names(room, kernel):
    kernel.cached = False
    kernel.inodes[()] = 1
    assert room.forget_names_in((), [b"a"])
    kernel.wait_for("expire", 1, b"a")


def test_a_lock_drops_the_files_pages_before_it_is_answered(room, kernel):
    room.revalidate(A)
    assert kernel.told == [("file", 10)]


def test_opening_what_the_kernel_was_shown_otherwise_expires_it_before_the_open_is_answered(room, kernel):
    room.observe(A, metadata(size=1))
    room.opened(A, metadata(size=1))
    assert kernel.told == []
    room.opened(A, metadata(size=2))
    assert kernel.told == [("attributes", 10)]


def test_opening_what_the_kernel_was_never_shown_expires_it(room, kernel):
    kernel.cached = False
    room.opened(B, metadata(size=1))
    assert kernel.told == [("attributes", 20)]


def test_an_open_does_not_wait_for_ever(room, kernel):
    kernel.held.clear()
    room.opened(A, metadata())
    assert kernel.told == []
