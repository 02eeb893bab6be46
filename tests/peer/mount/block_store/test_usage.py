from __future__ import annotations

import fcntl
import os

import pytest

from peer.mount.block_store.containers import Containers
from peer.mount.block_store.usage import Usage


def write(usage, size, limit=1 << 40, batch=1):
    """Whether there was room for it; then it is written."""
    granted = usage.reserve(size, limit, batch)
    if granted:
        usage.wrote(size, batch)
    return granted


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage"


@pytest.fixture
def process(tmp_path):
    return lambda: Usage(Containers(str(tmp_path)))


def test_small_amounts_stay_with_their_process_until_a_batch_came_together(process):
    one, other = process(), process()
    assert write(one, 60, batch=100)
    assert other.share() == 0
    assert write(one, 60, batch=100)
    assert other.share() == 60
    write(one, 60, batch=100)
    assert other.share() == other.estimate == 120


def test_beyond_the_limit_by_less_than_a_batch_for_each_process(process):
    processes = [process() for _ in range(4)]
    taken = 0
    while any(granted := [write(each, 30, 1_000, batch=100) for each in processes]):
        taken += 30 * sum(granted)
    assert 1_000 - 30 <= taken < 1_000 + 4 * 100


def test_a_process_that_slept_learns_what_the_others_wrote_before_it_goes_beyond(process):
    sleeper, other = process(), process()
    assert write(sleeper, 10, 1_000, batch=100)
    assert write(other, 985, 1_000, batch=100)
    assert not write(sleeper, 100, 1_000, batch=100)


def test_what_was_refused_is_not_counted(process):
    one, other = process(), process()
    assert write(one, 900, 1_000)
    for _ in range(3):
        assert not write(other, 200, 1_000)
    assert other.share() == 900
    assert write(other, 100, 1_000)


def test_a_write_under_way_during_a_count_is_never_lost(process):
    one, other = process(), process()
    assert one.reserve(400, 1_000, batch=1)
    before = other.share()
    other.counted(before, 0)  # it was not on disk yet when the count looked
    one.wrote(400, batch=1)
    assert other.share() == 400
    assert not write(other, 700, 1_000)


def test_a_count_sets_the_number_right_and_loses_nothing_of_what_was_added_meanwhile(process):
    one, other = process(), process()
    write(one, 1_000, batch=1)
    before = one.share()
    write(other, 70, batch=1)
    one.counted(before, 500)
    assert one.estimate == 570
    assert other.share() == 570


def test_what_was_not_shared_yet_outlives_a_count(process):
    usage = process()
    before = usage.share()
    write(usage, 30, batch=100)
    usage.counted(before, 500)
    assert usage.estimate == 530


@pytest.mark.parametrize("damage", [b"", b"abc", b"\xff" * 8, b"\xff" * 4096])
def test_a_damaged_number_does_no_harm_that_a_count_does_not_undo(path, process, damage):
    with open(path, "wb") as file:
        file.write(damage)
    usage = process()
    write(usage, 5, batch=1)
    before = usage.share()
    usage.counted(before, 40)
    assert usage.share() == 40


def test_nobody_waits_long_for_a_lock_that_a_stopped_process_holds_and_nothing_is_lost(path, process):
    usage = process()
    write(usage, 5)
    usage.reserve(7, 1_000, batch=1)
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    usage.wrote(7, batch=1)
    assert usage.estimate == 12
    assert not write(usage, 1), "what cannot be accounted for is not written"
    os.close(descriptor)
    assert process().share() == 5
    assert write(usage, 1)
    assert process().share() == 13


def test_where_the_number_cannot_be_written_no_one_may_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        Usage(Containers(str(tmp_path / "file"))).reserve(7, 10, batch=1)


def test_a_directory_that_is_missing_is_made(tmp_path):
    assert write(Usage(Containers(str(tmp_path / "a" / "b"))), 7)
