"""Which directories the kernel holds, as far as can be told."""

from __future__ import annotations

import pytest

from peer.mount.held_listings import HeldListings
from peer.mount.kernel_cache import KernelCache
from tests.peer.mount.samples import metadata

HOME, OTHER = (b"home",), (b"other",)
LONG = 100.0


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def listings(clock):
    listings = HeldListings(clock)
    listings.believed(LONG)
    clock.now += 1
    return listings


def test_what_was_given_is_held_for_half_the_time_that_it_is_believed(listings, clock):
    assert not listings.holds(HOME)
    began = clock.now
    clock.now += 10
    listings.gave(HOME, began)
    assert listings.holds(HOME)
    assert not listings.holds(OTHER)
    clock.now = began + LONG / 2 - 1
    assert listings.holds(HOME)
    clock.now = began + LONG / 2
    assert not listings.holds(HOME)


def test_what_is_asked_about_is_not_held_any_more(listings, clock):
    for directory in (HOME, OTHER):
        listings.gave(directory, clock.now)
    listings.asked(HOME)
    assert not listings.holds(HOME)
    assert listings.holds(OTHER)


def test_what_began_while_it_was_believed_for_another_time_is_not_held(listings, clock):
    began = clock.now
    clock.now += 1
    listings.believed(LONG)
    clock.now += 1
    listings.gave(HOME, began)
    assert not listings.holds(HOME)


def test_what_is_not_believed_at_all_is_not_held(listings, clock):
    listings.believed(0.0)
    clock.now += 1
    listings.gave(HOME, clock.now)
    assert not listings.holds(HOME)


def test_what_takes_longer_to_list_than_it_may_be_held_is_not(listings, clock):
    began = clock.now
    clock.now += LONG
    listings.gave(HOME, began)
    clock.now = began + 1
    assert not listings.holds(HOME)


def test_as_many_are_remembered_as_there_is_room_for(listings, clock, monkeypatch):
    monkeypatch.setattr("peer.mount.held_listings._CAPACITY", 2)
    for name in (b"a", b"b", b"c"):
        listings.gave((name,), clock.now)
    assert [listings.holds((name,)) for name in (b"a", b"b", b"c")] == [False, True, True]


class Kernel:
    """A kernel that holds nothing, of which nothing is heard."""

    def believe(self, attributes, names, absences):
        pass

    def of_directory(self, path, *, cached_only):
        return None

    def within(self, path, names):
        return ()


@pytest.fixture
def room(monkeypatch, clock):
    monkeypatch.setattr("time.monotonic", clock)
    room = KernelCache(Kernel(), Kernel())
    room.believe(LONG, LONG, LONG)
    clock.now += 1
    room.gave_listing(HOME, clock.now)
    assert room.holds_listing(HOME)
    return room


def test_a_question_of_the_kernels_says_that_it_does_not_hold_the_directory(room):
    room.observe_listed((*HOME, b"a"), metadata())
    assert room.holds_listing(HOME)
    room.observe((*HOME, b"a"), metadata())
    assert not room.holds_listing(HOME)


def test_a_kernel_that_was_told_to_ask_again_holds_nothing(room):
    room.forget_attributes_in(HOME, [b"a"])
    assert not room.holds_listing(HOME)


def test_a_kernel_that_believes_names_for_no_time_holds_nothing_from_then_on(room, clock):
    room.believe(LONG, 0.0, 0.0)
    clock.now += 1
    room.gave_listing(OTHER, clock.now)
    assert not room.holds_listing(OTHER)
