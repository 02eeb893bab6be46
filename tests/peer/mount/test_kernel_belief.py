"""How long the kernel believes, and when it is told to stop; with a clock and a kernel of the test's own."""

from __future__ import annotations

import threading
import time

import pytest

from peer.mount.kernel_belief import LATE, PATIENCE, SETTLED, SOON, KernelBelief
from peer.mount.metadata_cache import Known
from peer.mount.withdrawals import EVERYTHING, UNSURE, Withdrawal
from tests.peer.mount.samples import FILE, metadata

A, B = (b"x", b"a"), (b"x", b"b")
SHORT, LONG = 1.0, 1800.0
ATTRIBUTES, PAGES = Withdrawal.ATTRIBUTES, Withdrawal.PAGES


class Kernel:
    """Notes what it is told; `room` is whether it takes news."""

    def __init__(self):
        self.hears = self.expires_names = self.room = True
        self.seconds = (SHORT, SHORT, 0.0)
        self.told = []
        self.opened = []

    def believe(self, *seconds):
        self.seconds = seconds

    def forget(self, path, what):
        self.told.append((path, what))
        return self.room

    def forget_attributes_in(self, directory, names):
        self.told.append(("attributes", directory, list(names)))

    def forget_names_in(self, directory, names):
        if self.room:
            self.told.append(("names", directory, list(names)))
        return self.room

    def touched(self, path):
        pass

    def open_paths(self):
        return self.opened


class Vouching:
    """What is known: `vouched` are the paths that the feed covers."""

    def __init__(self):
        self.trust = 1
        self.vouched = {A, B}
        self.version = FILE
        self.all = [((b"x",), [b"a", b"b"]), ((b"never told of",), [b"c"])]

    def begin(self, withdraw):
        self.withdraw = withdraw

    def vouches(self, path, metadata):
        return bool(self.trust) and path in self.vouched

    def metadata(self, path):
        return Known(self.version, suspect=False)

    def names(self):
        return self.all


class Room:
    def __init__(self):
        self.now = 100.0
        self.kernel, self.known = Kernel(), Vouching()
        self.belief = KernelBelief(self.known, lambda: self.now, short=SHORT, long=LONG)
        self.belief._kernel = self.kernel  # without its thread: `step` is the test's
        self.step()

    def step(self):
        while self.belief.step():
            pass

    def later(self, seconds):
        self.now += seconds
        self.step()

    def took(self):
        told = list(self.kernel.told)
        self.kernel.told.clear()
        return told


@pytest.fixture
def room():
    room = Room()
    room.later(SETTLED)
    room.belief.given(A, FILE)
    return room


def test_timeouts_are_long_only_once_the_feed_has_been_trusted_for_a_while():
    room = Room()
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    room.later(SETTLED)
    assert room.kernel.seconds == (LONG, LONG, LONG)


def test_a_kernel_whose_names_cannot_expire_believes_in_attributes_only():
    room = Room()
    room.kernel.expires_names = False
    room.later(SETTLED)
    assert room.kernel.seconds == (LONG, SHORT, 0.0)


def test_what_is_covered_stays(room):
    room.later(10 * SHORT)
    assert room.took() == []


def test_what_is_not_covered_is_lent_for_the_short_time(room):
    room.known.vouched.clear()
    room.belief.given(B, FILE)
    room.later(0.5 * SHORT)
    room.belief.given(B, FILE)
    assert room.took() == []
    room.later(0.5 * SHORT)
    assert room.took() == [(B, UNSURE)]
    room.later(10 * SHORT)
    assert room.took() == []


def test_what_an_open_file_without_a_name_was_answered_cannot_be_lent(room):
    room.belief.given_by_handle(None, FILE)
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    room.later(SETTLED)
    assert room.kernel.seconds == (LONG, LONG, LONG)
    room.belief.given_by_handle(A, FILE)
    assert room.kernel.seconds == (LONG, LONG, LONG)


def test_so_much_is_lent_that_timeouts_are_short_until_it_is_back(room):
    for number in range(20_000):
        room.belief.given((b"x", b"%d" % number), FILE)
    room.step()
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    room.later(SHORT)
    room.step()
    assert room.kernel.seconds == (LONG, LONG, LONG)


def test_news_are_told_at_once_and_again_but_pages_are_dropped_once(room):
    room.belief.withdraw(A, EVERYTHING)
    room.step()
    assert room.took() == [(A, EVERYTHING)]
    for delay in (*SOON, LATE):
        room.later(delay)
        assert room.took() == [(A, EVERYTHING & ~PAGES)]
    room.later(LATE)
    assert room.took() == []


def test_of_directories_that_the_kernel_was_never_told_of_it_hears_nothing(room):
    room.belief.withdraw((b"elsewhere", b"a"), EVERYTHING)
    room.later(LATE)
    assert room.took() == []


def test_news_of_a_file_that_we_write_spare_its_pages_while_it_is_as_we_left_it(room):
    room.belief.left(A, FILE)
    room.belief.withdraw(A, ATTRIBUTES | PAGES)
    for delay in (*SOON, LATE):
        room.later(delay)
    assert room.took() == [(A, ATTRIBUTES)] * 4


def test_pages_go_when_somebody_else_turns_out_to_have_written_last(room):
    room.belief.left(A, FILE)
    room.belief.withdraw(A, ATTRIBUTES | PAGES)
    for delay in SOON:
        room.later(delay)
    room.known.version = metadata(size=9)
    room.later(LATE)
    assert room.took() == [(A, ATTRIBUTES)] * 3 + [(A, ATTRIBUTES | PAGES)]


def test_what_finds_no_room_is_told_again(room):
    room.kernel.room = False
    room.belief.withdraw(A, Withdrawal.MEANING)
    room.step()
    room.kernel.room = True
    room.took()
    room.later(LATE)
    assert (A, Withdrawal.MEANING) in room.took()


def test_a_short_gap_in_the_feed_lends_and_expires_nothing_else(room):
    room.known.trust = 0
    room.step()
    room.belief.given(A, FILE)
    room.later(PATIENCE / 2)
    room.known.trust = 1
    room.step()
    assert room.kernel.seconds == (LONG, LONG, LONG)
    assert room.took() == []
    room.later(SHORT)
    assert room.took() == [(A, UNSURE)]


def test_when_trust_is_lost_all_that_the_kernel_was_told_expires_and_again_for_what_was_on_its_way(room):
    room.kernel.opened = [A]
    room.known.trust = 0
    room.step()
    room.later(PATIENCE)
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    expected = [("attributes", (b"x",), [b"a", b"b"]), ("names", (b"x",), [b"a", b"b"]), (A, UNSURE)]
    assert room.took() == expected
    room.later(LATE)
    assert room.took() == expected
    room.known.trust = 2
    room.step()
    assert room.took() == [(A, PAGES)], "what was read of an open file during a write whose end nobody told of"
    room.later(SETTLED)
    assert room.kernel.seconds == (LONG, LONG, LONG)


def test_another_epoch_is_a_loss_even_if_nobody_saw_the_time_between(room):
    room.known.trust = 2
    room.step()
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    assert ("names", (b"x",), [b"a", b"b"]) in room.took()


def test_what_finds_no_room_when_all_expires_waits_for_it(room):
    room.known.trust, room.kernel.room = 2, False
    room.step()
    room.took()
    room.kernel.room = True
    room.step()
    assert ("names", (b"x",), [b"a", b"b"]) in room.took()


def test_what_moved_with_a_directory_of_ours_is_still_told_of(room):
    room.belief.given((b"x",), FILE)
    room.belief.moved((b"x",), (b"y",))
    room.belief.withdraw((b"y", b"a"), UNSURE)
    room.step()
    assert ((b"y", b"a"), UNSURE) in room.took()


def test_what_was_lent_is_owed_under_its_new_name(room):
    room.known.vouched.clear()
    room.belief.given((b"x",), FILE)
    room.belief.given(B, FILE)
    room.belief.moved((b"x",), (b"y",))
    room.later(SHORT)
    assert ((b"y", b"b"), UNSURE) in room.took()


def test_while_not_all_answers_are_true_none_is_kept_and_none_tells_what_we_wrote(room):
    with room.belief.suspended():
        assert room.kernel.seconds == (0.0, 0.0, 0.0)
        room.belief.left(A, FILE)
        room.known.trust = 0
        room.step()
        room.later(PATIENCE)
        assert room.kernel.seconds == (0.0, 0.0, 0.0)
    assert room.kernel.seconds == (SHORT, SHORT, 0.0)
    room.took()
    room.belief.withdraw(A, PAGES)
    room.step()
    assert room.took()[-1] == (A, PAGES)


def test_an_answer_that_was_overtaken_on_its_way_is_not_even_lent(room):
    room.known.vouched.clear()
    room.belief.given(B, metadata(size=9))
    room.step()
    assert room.took() == [(B, UNSURE)]


def test_what_is_believed_for_the_short_time_only_can_be_contradicted_in_it():
    room = Room()
    room.known.trust = 0
    for _ in range(3):  # until nothing that was told before is left to be told again
        room.later(LATE)
    room.took()
    room.belief.given(A, FILE)
    room.belief.withdraw(A, UNSURE)
    room.step()
    assert room.took() == [(A, UNSURE)]


def test_who_is_shown_a_listing_waits_until_the_kernel_knows_what_it_belies(room):
    said = threading.Event()
    slow = room.kernel.forget

    def forget(path, what):
        said.wait(5)
        return slow(path, what)

    room.kernel.forget = forget
    room.belief._thread.start()
    try:
        room.belief.given(A, FILE)
        room.belief.settle()  # of nothing
        room.belief.withdraw(A, UNSURE)
        began = time.monotonic()
        room.belief.settle()
        assert time.monotonic() - began < 5, "it does not wait for long"
        assert not room.took()
        said.set()
        room.belief.settle()
        assert room.took()
    finally:
        said.set()
        room.belief.end()
