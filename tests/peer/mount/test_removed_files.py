"""The two calls of the kernel, as libfuse passes them on, and everything that can come between them."""

from __future__ import annotations

import threading

import pytest

from peer.mount.removed_files import Hide, RemovedFiles

FILE, OTHER = (b"d", b"file"), (b"d", b"other")
HIDDEN, HIDDEN_TOO = (b"d", b".fuse_hidden0000000a00000001"), (b"d", b".fuse_hidden0000000b00000002")
ONE, TWO = 100, 200
OPEN = frozenset({7})


class Libfuse:
    """Whether libfuse would hide an open file, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.hides = False
        self.now = 1000.0
        self.removed = RemovedFiles(self.keep, lambda: self.now)

    def keep(self, keep: bool) -> None:
        self.hides = keep


@pytest.fixture
def libfuse() -> Libfuse:
    return Libfuse()


def test_an_unlink_is_asked_for_again_and_then_hidden(libfuse):
    removed = libfuse.removed
    assert removed.ask_again(FILE, ONE)
    assert libfuse.hides
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.UNLINK
    assert not libfuse.hides
    removed.removed(FILE)
    assert removed.resolve(HIDDEN) == ((), 7)
    assert removed.is_hidden(7)
    removed.closed(7)
    assert removed.resolve(HIDDEN) is None
    assert removed.unhide(HIDDEN)
    assert not removed.unhide(HIDDEN)


def test_a_hidden_name_is_gone_when_its_file_is_closed_and_not_before_it_is_used(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    assert not removed.is_gone(HIDDEN)
    removed.hide(FILE, HIDDEN, ONE, OPEN)
    removed.removed(FILE)
    assert not removed.is_gone(HIDDEN)
    removed.closed(7)
    assert removed.is_gone(HIDDEN)
    removed.unhide(HIDDEN)
    assert removed.is_gone(HIDDEN)
    assert not removed.is_gone(HIDDEN_TOO)
    assert not removed.is_gone(FILE)


def test_only_so_many_names_that_are_gone_are_remembered(libfuse):
    removed = libfuse.removed
    for number in range(5000):
        name = (b"d", b".fuse_hidden%016x" % number)
        removed.ask_again(FILE, ONE)
        removed.hide(FILE, name, ONE, OPEN)
        removed.unhide(name)
    gone = [number for number in range(5000) if removed.is_gone((b"d", b".fuse_hidden%016x" % number))]
    assert gone == list(range(5000 - 4096, 5000))


def test_a_replaced_file_is_itself_until_the_rename_is_done(libfuse):
    removed = libfuse.removed
    assert removed.ask_again(FILE, ONE, replaced=True)
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.REPLACE
    assert removed.resolve(HIDDEN) == (FILE, 0)
    assert not removed.ask_again(FILE, ONE, replaced=True)
    removed.removed(FILE)
    assert removed.resolve(HIDDEN) == ((), 7)


def test_the_second_call_in_the_plain_way_is_let_through(libfuse):
    assert libfuse.removed.ask_again(FILE, ONE)
    assert not libfuse.removed.ask_again(FILE, ONE)
    assert not libfuse.hides


def test_a_thread_that_cannot_be_seen_is_never_asked_again(libfuse):
    assert not libfuse.removed.ask_again(FILE, 0)


def test_what_was_not_asked_for_is_refused_once_and_then_plain(libfuse):
    """A second thread's file is hidden because libfuse hides for the first one: unlink or replace, nobody knows."""
    removed = libfuse.removed
    assert removed.ask_again(FILE, ONE)
    assert removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN) is Hide.UNASKED
    assert not libfuse.hides
    assert not removed.ask_again(FILE, ONE)
    assert not removed.ask_again(OTHER, TWO)


def test_nothing_is_hidden_while_a_refused_call_is_to_come(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN)
    assert not removed.ask_again((b"third",), 300)
    assert not libfuse.hides


def test_a_call_that_comes_late_is_not_refused_again(libfuse):
    """The kernel makes it twice, and what it is told then is what the user is told. Machines may be busy."""
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN)
    libfuse.now += 8
    assert not removed.ask_again((b"third",), 300)
    assert not removed.unname((b"fourth",), 400, 0)
    assert not libfuse.hides
    assert not removed.ask_again(FILE, ONE)
    assert not removed.ask_again(OTHER, TWO)
    assert removed.ask_again(FILE, ONE)
    libfuse.now += 8
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.UNLINK


def test_a_thread_that_never_came_back_is_forgotten(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN)
    libfuse.now += 11
    assert removed.ask_again(OTHER, TWO)
    libfuse.now += 11
    assert removed.hide(OTHER, HIDDEN, TWO, OPEN) is Hide.UNASKED
    assert not libfuse.hides


def test_nobody_waits_for_a_call_on_a_name_that_was_removed_meanwhile(libfuse):
    """Two threads remove one open file: the second finds nothing to call again for."""
    removed = libfuse.removed
    assert removed.ask_again(FILE, ONE)
    assert removed.hide(FILE, HIDDEN, TWO, OPEN) is Hide.UNASKED
    assert not removed.ask_again(FILE, ONE)
    removed.removed(FILE, replaced=True)
    assert not removed.ask_again(OTHER, ONE), "it finds another one"
    removed.removed(FILE)
    assert removed.ask_again(OTHER, ONE)
    assert libfuse.hides
    removed.removed(OTHER)
    assert not libfuse.hides
    assert not removed.ask_again(FILE, TWO), "unless the name is there again, and then not refused again"


def test_what_libfuse_hides_unasked_is_refused_however_long_it_was_left_switched_on(libfuse):
    """Or the file would get that name on the remote machine."""
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    libfuse.now += 1000
    assert libfuse.hides
    assert removed.hide(OTHER, HIDDEN, TWO, OPEN) is Hide.UNASKED
    assert not libfuse.hides


def test_our_own_thread_waits_for_calls_that_were_refused(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN)
    come = threading.Timer(0.05, removed.settled, (OTHER, TWO))
    come.start()
    assert removed.unname(FILE, 300, 20)
    come.join()
    assert libfuse.hides
    assert removed.hide(FILE, HIDDEN, 300, OPEN) is Hide.UNNAME


def test_a_plain_removal_settles_what_was_asked(libfuse):
    libfuse.removed.ask_again(FILE, ONE)
    libfuse.removed.settled(FILE, ONE)
    assert not libfuse.hides


@pytest.mark.parametrize(
    "name", [(b"d", b"file2"), (b"e", HIDDEN[-1]), (b"d", b".fuse_hidden1"), (b"d", HIDDEN[-1] + b"0")]
)
def test_other_renames_are_renames(libfuse, name):
    libfuse.removed.ask_again(FILE, ONE)
    assert libfuse.removed.hide(FILE, name, ONE, OPEN) is Hide.NOTHING


def test_a_users_own_name_like_that_is_a_rename(libfuse):
    removed = libfuse.removed
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.NOTHING
    removed.ask_again(OTHER, TWO)
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.UNASKED
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.NOTHING


def test_two_files_of_one_name_are_kept_apart(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE)
    removed.hide(FILE, HIDDEN, ONE, frozenset({7}))
    removed.removed(FILE)
    removed.ask_again(FILE, ONE)
    removed.hide(FILE, HIDDEN_TOO, ONE, frozenset({8}))
    removed.removed(FILE)
    assert removed.resolve(HIDDEN) == ((), 7)
    assert removed.resolve(HIDDEN_TOO) == ((), 8)


def test_a_call_that_was_on_its_way_is_understood_after_hiding_was_switched_off(libfuse):
    removed = libfuse.removed
    removed.ask_again(FILE, ONE, replaced=True)
    removed.hide(OTHER, HIDDEN_TOO, TWO, OPEN)
    assert not libfuse.hides
    assert removed.hide(FILE, HIDDEN, ONE, OPEN) is Hide.REPLACE
