"""What the kernel is told to forget, with a kernel that writes it down."""

from __future__ import annotations

import errno
import threading

import pytest

from peer.mount.kernel_cache import KernelCache
from tests.peer.mount.samples import metadata

A, B, C = (b"a",), (b"b",), (b"c",)
TWO = metadata(links=2)


class Kernel:
    """The kernel's side: inodes by path, and what it was told."""

    def __init__(self) -> None:
        self.inodes = {A: 10, B: 20, C: 30, (): 1}
        self.cached = True
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

    def of(self, path, *, cached_only):
        return self.inodes.get(path) if self.cached or not cached_only else None

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


def test_the_change_feed_is_passed_on(room, kernel):
    assert room.invalidate_file(A)
    assert room.invalidate_entry((), b"new")
    kernel.wait_for("file", 10)
    kernel.wait_for("entry", 1, b"new")


def test_what_the_kernel_does_not_hold_is_not_told(room, kernel):
    room.invalidate_file((b"unknown",))
    room.invalidate_file(A)
    kernel.wait_for("file", 10)
    assert kernel.told == [("file", 10)]


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
