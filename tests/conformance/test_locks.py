"""Locks: record locks between owners, their ranges, and flock(2) between handles."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from schema.requests import LockMode
from tests.conformance.driver import Files, refused

SHARED, EXCLUSIVE, UNLOCK = LockMode.SHARED, LockMode.EXCLUSIVE, LockMode.UNLOCK
ONE, TWO, THREE = 1, 2, 2**64 - 1
DEADLINE_SECONDS = 20


def test_an_exclusive_lock_keeps_others_out(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE)
    for mode in (SHARED, EXCLUSIVE):
        with refused("EAGAIN"):
            files.lock(handle, TWO, mode)
    files.lock(handle, ONE, UNLOCK)
    files.lock(handle, TWO, EXCLUSIVE)


def test_shared_locks_stand_beside_each_other(files: Files) -> None:
    handle = files.create(b"a")
    for owner in (ONE, TWO, THREE):
        files.lock(handle, owner, SHARED)
    with refused("EAGAIN"):
        files.lock(handle, ONE, EXCLUSIVE)
    files.lock(handle, TWO, UNLOCK)
    files.lock(handle, THREE, UNLOCK)
    files.lock(handle, ONE, EXCLUSIVE)


def test_an_owner_never_stands_in_its_own_way(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.lock(one, ONE, EXCLUSIVE)
    files.lock(two, ONE, EXCLUSIVE)
    files.lock(two, ONE, SHARED)
    files.lock(one, TWO, SHARED)


def test_the_handle_does_not_matter_but_the_file_does(files: Files) -> None:
    files.put(b"a")
    files.link(b"a", b"also a")
    files.put(b"b")
    files.lock(files.open(b"a"), ONE, EXCLUSIVE)
    with refused("EAGAIN"):
        files.lock(files.open(b"also a"), TWO, EXCLUSIVE)
    files.lock(files.open(b"b"), TWO, EXCLUSIVE)


def test_ranges_that_do_not_overlap_do_not_conflict(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 10, 10)
    files.lock(handle, TWO, EXCLUSIVE, 0, 10)
    files.lock(handle, TWO, EXCLUSIVE, 20, 0)
    for start, length in ((19, 1), (10, 1), (0, 11), (15, 100), (0, 0)):
        with refused("EAGAIN"):
            files.lock(handle, THREE, SHARED, start, length)


def test_length_zero_reaches_beyond_the_end(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 100, 0)
    files.lock(handle, TWO, EXCLUSIVE, 0, 100)
    for start in (100, 2**40, 2**62):
        with refused("EAGAIN"):
            files.lock(handle, TWO, SHARED, start, 1)


def test_unlocking_the_middle_splits(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 0, 30)
    files.lock(handle, ONE, UNLOCK, 10, 10)
    files.lock(handle, TWO, EXCLUSIVE, 10, 10)
    for start in (9, 20):
        with refused("EAGAIN"):
            files.lock(handle, THREE, SHARED, start, 1)


def test_turning_the_middle_shared_splits(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 0, 30)
    files.lock(handle, ONE, SHARED, 10, 10)
    files.lock(handle, TWO, SHARED, 10, 10)
    with refused("EAGAIN"):
        files.lock(handle, TWO, SHARED, 9, 1)
    with refused("EAGAIN"):
        files.lock(handle, TWO, SHARED, 20, 1)


def test_neighbours_join(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 0, 10)
    files.lock(handle, ONE, EXCLUSIVE, 20, 10)
    files.lock(handle, ONE, EXCLUSIVE, 10, 10)
    found = files.blocker(handle, TWO, SHARED, 15, 1)
    assert (found.mode, found.start, found.length) == (EXCLUSIVE, 0, 30)


def test_unlocking_everything_gives_all_ranges_back(files: Files) -> None:
    handle = files.create(b"a")
    for start in (0, 20, 40):
        files.lock(handle, ONE, EXCLUSIVE, start, 10)
    files.lock(handle, TWO, EXCLUSIVE, 60, 10)
    files.lock(handle, ONE, UNLOCK)
    files.lock(handle, THREE, EXCLUSIVE, 0, 60)
    with refused("EAGAIN"):
        files.lock(handle, THREE, EXCLUSIVE, 60, 1)


def test_unlocking_what_is_not_locked_is_done(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, UNLOCK)
    files.lock(handle, TWO, SHARED)
    files.lock(handle, ONE, UNLOCK, 5, 5)
    with refused("EAGAIN"):
        files.lock(handle, ONE, EXCLUSIVE)


def test_a_lock_that_is_refused_changes_nothing(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, SHARED, 0, 10)
    files.lock(handle, TWO, SHARED, 0, 20)
    with refused("EAGAIN"):
        files.lock(handle, ONE, EXCLUSIVE, 0, 30)
    files.lock(handle, THREE, SHARED, 0, 30)


def test_asking_says_who_stands_in_the_way(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, SHARED, 10, 5)
    found = files.blocker(handle, TWO, EXCLUSIVE)
    assert (found.mode, found.start, found.length) == (SHARED, 10, 5)
    files.lock(handle, ONE, EXCLUSIVE, 10, 0)
    found = files.blocker(handle, TWO, SHARED, 1000, 1)
    assert (found.mode, found.start, found.length) == (EXCLUSIVE, 10, 0)


def test_asking_takes_nothing_and_answers_unlocked_when_free(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, SHARED, 10, 5)
    assert files.blocker(handle, TWO, SHARED).mode is UNLOCK
    assert files.blocker(handle, TWO, EXCLUSIVE, 0, 10).mode is UNLOCK
    assert files.blocker(handle, ONE, EXCLUSIVE).mode is UNLOCK
    files.lock(handle, THREE, EXCLUSIVE, 0, 10)


def test_the_handle_must_allow_what_is_locked(files: Files) -> None:
    files.put(b"a")
    reader, writer = files.open(b"a", os.O_RDONLY), files.open(b"a", os.O_WRONLY)
    files.lock(reader, ONE, SHARED)
    with refused("EBADF"):
        files.lock(reader, ONE, EXCLUSIVE)
    files.lock(reader, ONE, UNLOCK)
    files.lock(writer, ONE, EXCLUSIVE)
    with refused("EBADF"):
        files.lock(writer, ONE, SHARED)


def test_an_owner_upgrades_by_another_handle(files: Files) -> None:
    files.put(b"a")
    reader, writer = files.open(b"a", os.O_RDONLY), files.open(b"a", os.O_RDWR)
    files.lock(reader, ONE, SHARED, 0, 10)
    files.lock(writer, ONE, EXCLUSIVE, 5, 10)
    with refused("EAGAIN"):
        files.lock(writer, TWO, SHARED, 14, 1)
    files.lock(writer, TWO, SHARED, 0, 5)


def test_an_upgrade_leaves_the_other_ranges_as_they_are(files: Files) -> None:
    files.put(b"a")
    reader, writer = files.open(b"a", os.O_RDONLY), files.open(b"a", os.O_RDWR)
    files.lock(reader, ONE, SHARED, 0, 10)
    files.lock(reader, ONE, UNLOCK, 0, 5)
    files.lock(reader, ONE, SHARED, 20, 10)
    files.lock(writer, ONE, EXCLUSIVE, 40, 10)
    files.lock(writer, TWO, EXCLUSIVE, 0, 5)
    files.lock(writer, TWO, EXCLUSIVE, 10, 10)
    files.lock(writer, TWO, SHARED, 5, 5)
    for start in (9, 20, 29):
        with refused("EAGAIN"):
            files.lock(writer, THREE, EXCLUSIVE, start, 1)
    with refused("EAGAIN"):
        files.lock(writer, THREE, SHARED, 40, 1)


def test_closing_the_handle_gives_its_locks_back(files: Files) -> None:
    handle, other = files.create(b"a"), files.open(b"a")
    files.lock(handle, ONE, EXCLUSIVE)
    with refused("EAGAIN"):
        files.lock(other, TWO, EXCLUSIVE)
    files.close(handle)
    files.lock(other, TWO, EXCLUSIVE)


def test_waiting_without_success_ends_in_eagain(files: Files) -> None:
    handle = files.create(b"a")
    files.lock(handle, ONE, EXCLUSIVE)
    with refused("EAGAIN"):
        files.lock(handle, TWO, EXCLUSIVE, wait_ms=30)


@pytest.mark.parametrize("freed_by", ["unlock", "close"])
def test_who_waits_gets_the_lock_when_it_is_free(files: Files, freed_by: str) -> None:
    handle, other = files.create(b"a"), files.open(b"a")
    files.lock(handle, ONE, EXCLUSIVE, 0, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(files.lock, other, TWO, EXCLUSIVE, 5, 10, wait_ms=DEADLINE_SECONDS * 1000)
        if freed_by == "unlock":
            files.lock(handle, ONE, UNLOCK)
        else:
            files.close(handle)
        waiting.result(DEADLINE_SECONDS)
    with refused("EAGAIN"):
        files.lock(other, THREE, SHARED, 14, 1)


def test_a_range_beyond_what_a_file_may_hold_is_refused(files: Files) -> None:
    handle = files.create(b"a")
    with refused("EOVERFLOW", "EINVAL"):
        files.lock(handle, ONE, EXCLUSIVE, 2**63 - 1, 2)


def test_flock_is_between_handles(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.flock(one, EXCLUSIVE)
    for mode in (SHARED, EXCLUSIVE):
        with refused("EAGAIN"):
            files.flock(two, mode)
    files.flock(one, UNLOCK)
    files.flock(two, SHARED)
    files.flock(one, SHARED)
    with refused("EAGAIN"):
        files.flock(one, EXCLUSIVE)


def test_flock_turns_from_shared_to_exclusive_and_back(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.flock(one, SHARED)
    files.flock(one, EXCLUSIVE)
    with refused("EAGAIN"):
        files.flock(two, SHARED)
    files.flock(one, SHARED)
    files.flock(two, SHARED)


def test_flock_asks_for_no_access_mode(files: Files) -> None:
    files.put(b"a")
    files.flock(files.open(b"a", os.O_RDONLY), EXCLUSIVE)
    with refused("EAGAIN"):
        files.flock(files.open(b"a", os.O_WRONLY), SHARED)


def test_flock_goes_with_its_handle(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.flock(one, EXCLUSIVE)
    files.close(one)
    files.flock(two, EXCLUSIVE, wait_ms=DEADLINE_SECONDS * 1000)  # a FUSE mount hears of a last close a little later


def test_who_waits_for_flock_gets_it_when_it_is_free(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.flock(one, EXCLUSIVE)
    with refused("EAGAIN"):
        files.flock(two, EXCLUSIVE, wait_ms=30)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(files.flock, two, EXCLUSIVE, wait_ms=DEADLINE_SECONDS * 1000)
        files.flock(one, UNLOCK)
        waiting.result(DEADLINE_SECONDS)
    with refused("EAGAIN"):
        files.flock(one, SHARED)


def test_an_unlinked_open_file_can_be_locked(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    files.unlink(b"a")
    files.lock(one, ONE, EXCLUSIVE)
    with refused("EAGAIN"):
        files.lock(two, TWO, SHARED)
