"""The bytes of files: reading, writing, holes, sizes, space, copies."""

from __future__ import annotations

import os

import pytest

from tests.conformance.driver import Files, refused

KEEP_SIZE = 1
PUNCH_HOLE = 2
SEEK_DATA = 3
SEEK_HOLE = 4
MIB = 2**20


def test_what_was_written_is_read(files: Files) -> None:
    handle = files.create(b"a")
    assert files.write(handle, 0, b"hello world").size == 11
    assert files.write(handle, 6, b"there").size == 11
    assert files.read(handle) == b"hello there"
    assert files.read(handle, 6, 3) == b"the"
    assert files.get(b"a") == b"hello there"


def test_a_read_is_short_only_at_the_end(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"x" * 300_000)
    assert len(files.read(handle, 0, MIB)) == 300_000
    assert len(files.read(handle, 0, 299_999)) == 299_999
    assert files.read(handle, 299_999, 10) == b"x"
    assert files.read(handle, 300_000, 10) == b""
    assert files.read(handle, 2**40, 10) == b""
    assert files.read(handle, 0, 0) == b""


def test_a_megabyte_goes_in_one_request(files: Files) -> None:
    data = bytes(range(256)) * (MIB // 256)
    handle = files.create(b"a")
    files.write(handle, 0, data)
    assert files.read(handle, 0, MIB) == data


def test_writing_nothing_changes_nothing(files: Files) -> None:
    handle = files.create(b"a")
    files.change(handle, mtime_ns=5)
    assert files.write(handle, 100, b"").size == 0
    assert files.stat(b"a").mtime_ns == 5


def test_what_was_never_written_reads_as_zero(files: Files) -> None:
    handle = files.create(b"a")
    assert files.write(handle, 10_000, b"end").size == 10_003
    assert files.read(handle, 0, 10_000) == bytes(10_000)
    assert files.read(handle, 9_999, 10) == b"\0end"


@pytest.mark.needs("holes")
def test_offsets_beyond_four_gigabytes(files: Files) -> None:
    handle = files.create(b"a")
    for offset in (2**31 - 2, 2**32 - 2, 5 * 2**30):
        files.write(handle, offset, b"edge")
        assert files.read(handle, offset - 1, 6) == b"\0edge"
    assert files.stat(b"a").size == 5 * 2**30 + 4
    assert files.stat(b"a").blocks * 512 < MIB


def test_truncating_cuts_and_extends_with_zeros(files: Files) -> None:
    files.put(b"a", b"x" * 10_000)
    assert files.change(b"a", size=5_000).size == 5_000
    assert files.change(b"a", size=9_000).size == 9_000
    assert files.get(b"a") == b"x" * 5_000 + bytes(4_000)
    assert files.change(b"a", size=0).size == 0
    assert files.get(b"a") == b""


def test_truncating_by_handle(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"abcdef")
    assert files.change(handle, size=3).size == 3
    assert files.read(handle) == b"abc"
    assert files.get(b"a") == b"abc"


def test_opening_with_truncate_empties(files: Files) -> None:
    files.put(b"a", b"old content")
    handle = files.open(b"a", os.O_RDWR | os.O_TRUNC)
    assert files.stat(b"a").size == 0
    files.write(handle, 0, b"new")
    assert files.get(b"a") == b"new"


def test_creating_with_truncate_empties_what_is_there(files: Files) -> None:
    files.put(b"a", b"old content")
    inode = files.stat(b"a").inode
    files.create(b"a", os.O_RDWR | os.O_TRUNC)
    assert files.stat(b"a").size == 0
    assert files.stat(b"a").inode == inode


def test_creating_what_is_there_opens_it_as_it_is(files: Files) -> None:
    files.put(b"a", b"content")
    files.change(b"a", mode=0o600)
    handle = files.create(b"a", os.O_RDWR, mode=0o777)
    assert files.read(handle) == b"content"
    assert files.stat(b"a").mode & 0o777 == 0o600


def test_appends_of_two_handles_come_one_after_another(files: Files) -> None:
    one = files.create(b"a", os.O_WRONLY | os.O_APPEND)
    two = files.open(b"a", os.O_RDWR | os.O_APPEND)
    for number in range(10):
        files.write(one, 0, b"<%d" % number)
        assert files.write(two, 12345, b"%d>" % number).size == (number + 1) * 4
    assert files.read(two) == b"".join(b"<%d%d>" % (number, number) for number in range(10))


def test_an_append_follows_a_truncation(files: Files) -> None:
    handle = files.create(b"a", os.O_RDWR | os.O_APPEND)
    files.write(handle, 0, b"abcdef")
    files.change(b"a", size=2)
    files.write(handle, 0, b"x")
    assert files.read(handle) == b"abx"


def test_two_handles_see_each_others_bytes(files: Files) -> None:
    one, two = files.create(b"a"), files.open(b"a")
    for number in range(5):
        files.write(one, number, b"%d" % number)
        assert files.read(two, number, 1) == b"%d" % number
        files.write(two, 100 + number, b"%d" % number)
        assert files.read(one, 100 + number, 1) == b"%d" % number


def test_a_write_past_what_a_file_may_hold_is_refused(files: Files) -> None:
    handle = files.create(b"a")
    with refused("EFBIG", "EINVAL"):
        files.write(handle, 2**63 - 1, b"xx")
    assert files.stat(b"a").size == 0


def test_opening_brings_the_first_bytes(files: Files) -> None:
    files.put(b"a", b"hello world")
    assert files.first_bytes(b"a", 5) == b"hello"
    assert files.first_bytes(b"a", 100) == b"hello world"
    assert files.first_bytes(b"a", 0) == b""
    assert files.first_bytes(b"a", 5, os.O_RDWR | os.O_TRUNC) == b""


def test_a_handle_that_may_not_read_brings_no_bytes(files: Files) -> None:
    files.put(b"a", b"hello world")
    assert files.first_bytes(b"a", 5, os.O_WRONLY) == b""


def test_allocating_extends_the_file_with_zeros(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"abc")
    after = files.allocate(handle, 0, 0, 100_000)
    assert after.size == 100_000
    assert after.blocks * 512 >= 100_000
    assert files.read(handle, 0, 6) == b"abc\0\0\0"


@pytest.mark.needs("fallocate")
def test_allocating_may_keep_the_size(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"abc")
    after = files.allocate(handle, KEEP_SIZE, 0, 100_000)
    assert (after.size, after.blocks * 512 >= 100_000) == (3, True)
    assert files.read(handle) == b"abc"


@pytest.mark.needs("fallocate")
def test_punching_a_hole_zeroes_the_range_and_gives_space_back(files: Files) -> None:
    handle = files.create(b"a")
    blocks = files.write(handle, 0, b"x" * MIB).blocks
    after = files.allocate(handle, PUNCH_HOLE | KEEP_SIZE, 100, 900_000)
    assert after.size == MIB
    assert after.blocks < blocks or blocks == 0
    assert files.read(handle, 0, 200) == b"x" * 100 + bytes(100)
    assert files.read(handle, 900_099, 2) == b"\0x"


@pytest.mark.needs("fallocate")
def test_punching_must_keep_the_size(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"abc")
    with refused("EOPNOTSUPP", "EINVAL"):
        files.allocate(handle, PUNCH_HOLE, 0, 3)
    assert files.read(handle) == b"abc"


def test_allocating_nothing_is_refused(files: Files) -> None:
    handle = files.create(b"a")
    with refused("EINVAL"):
        files.allocate(handle, 0, 0, 0)


def test_no_data_is_missed_by_seeking(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, MIB, b"data")
    found = files.seek(handle, 0, SEEK_DATA)
    assert files.read(handle, 0, found) == bytes(found)
    assert found <= MIB
    assert files.seek(handle, MIB + 1, SEEK_DATA) == MIB + 1
    assert files.seek(handle, MIB, SEEK_HOLE) == MIB + 4


@pytest.mark.needs("holes")
def test_holes_are_found_by_seeking(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"head")
    files.write(handle, MIB, b"data")
    files.change(handle, size=2 * MIB)
    hole = files.seek(handle, 0, SEEK_HOLE)
    assert 4 <= hole < MIB
    assert files.seek(handle, hole, SEEK_DATA) == MIB
    with refused("ENXIO"):
        files.seek(handle, MIB + MIB // 2, SEEK_DATA)


@pytest.mark.parametrize("whence", [SEEK_DATA, SEEK_HOLE])
def test_seeking_past_the_end_is_refused(files: Files, whence: int) -> None:
    handle = files.create(b"a")
    with refused("ENXIO"):
        files.seek(handle, 0, whence)
    files.write(handle, 0, b"abc")
    with refused("ENXIO"):
        files.seek(handle, 3, whence)


def test_copying_between_files(files: Files) -> None:
    data = os.urandom(MIB // 2)
    source, target = files.create(b"a"), files.create(b"b")
    files.write(source, 0, data)
    assert files.copy(source, 1000, target, 50, 400_000) == 400_000
    assert files.read(target, 0, MIB) == bytes(50) + data[1000:401_000]
    assert files.stat(b"b").size == 400_050


def test_copying_stops_at_the_end_of_the_source(files: Files) -> None:
    source, target = files.create(b"a"), files.create(b"b")
    files.write(source, 0, b"abcdef")
    assert files.copy(source, 4, target, 0, 100) == 2
    assert files.copy(source, 100, target, 2, 100) == 0
    assert files.read(target) == b"ef"


def test_copying_within_a_file_must_not_overlap(files: Files) -> None:
    handle = files.create(b"a")
    files.write(handle, 0, b"abcdef")
    with refused("EINVAL"):
        files.copy(handle, 0, handle, 2, 4)
    assert files.copy(handle, 0, handle, 6, 3) == 3
    assert files.read(handle) == b"abcdefabc"
