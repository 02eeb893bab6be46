"""Reading, writing and everything else that is done to the bytes of a file."""

from __future__ import annotations

import errno
import mmap
import os
import random

import pytest

from tests.conformance import libc
from tests.mounted.trial import mounted

MIB = 2**20
PUNCH_HOLE, KEEP_SIZE = 2, 1


def test_what_is_written_is_read_and_is_there(here, there):
    data = random.Random(1).randbytes(3 * MIB + 17)
    (here / "file").write_bytes(data)
    assert (there / "file").read_bytes() == data
    assert (here / "file").read_bytes() == data


def test_random_reads_and_writes_agree_with_a_local_file(here, tmp_path):
    dice = random.Random(2)
    with (here / "file").open("wb+", buffering=0) as mine, (tmp_path / "file").open("wb+", buffering=0) as theirs:
        for _ in range(150):
            offset, size = dice.randrange(300_000), dice.randrange(1, 70_000)
            if dice.random() < 0.5:
                data = dice.randbytes(size)
                assert os.pwrite(mine.fileno(), data, offset) == os.pwrite(theirs.fileno(), data, offset)
            else:
                assert os.pread(mine.fileno(), size, offset) == os.pread(theirs.fileno(), size, offset)
            if dice.random() < 0.1:
                length = dice.randrange(300_000)
                mine.truncate(length)
                theirs.truncate(length)
        assert os.fstat(mine.fileno()).st_size == os.fstat(theirs.fileno()).st_size


def test_files_over_four_gigabytes(here, there):
    offset = 5 * 2**30 + 123
    with (here / "file").open("wb+", buffering=0) as file:
        assert os.pwrite(file.fileno(), b"far out", offset) == 7
        assert os.pread(file.fileno(), 20, offset - 3) == b"\0\0\0far out"
    assert os.stat(here / "file").st_size == offset + 7
    assert os.stat(there / "file").st_blocks < 1024


def test_appends_through_two_descriptors_lose_nothing(here, there):
    one, two = (os.open(here / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for _ in range(2))
    for number in range(50):
        os.write(one, b"one %03d\n" % number)
        os.write(two, b"two %03d\n" % number)
    with (there / "log").open("ab") as remote:
        remote.write(b"from there\n")
    os.write(one, b"the end\n")
    os.close(one)
    os.close(two)
    lines = (there / "log").read_bytes().splitlines()
    assert len(lines) == 102
    assert lines[-2:] == [b"from there", b"the end"]
    assert (here / "log").read_bytes().splitlines() == lines


def test_opening_with_truncation_and_exclusion(here, there):
    (there / "file").write_bytes(b"something")
    with pytest.raises(FileExistsError):
        os.open(here / "file", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(here / "file", os.O_WRONLY | os.O_TRUNC))
    assert os.stat(there / "file").st_size == 0


def test_direct_reads_and_writes_pass_the_page_cache_by(here, there):
    (here / "file").write_bytes(b"a" * 8192)
    descriptor = os.open(here / "file", os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    try:
        assert os.preadv(descriptor, [buffer], 0) == 4096
        with (there / "file").open("rb+") as remote:
            remote.write(b"b" * 4096)
        assert os.preadv(descriptor, [buffer], 0) == 4096
        assert buffer[:4] == b"bbbb"
        buffer[:] = b"c" * 4096
        assert os.pwritev(descriptor, [buffer], 4096) == 4096
    finally:
        buffer.close()
        os.close(descriptor)
    assert (there / "file").read_bytes() == b"b" * 4096 + b"c" * 4096


def test_shared_and_private_mappings(here, there):
    (here / "file").write_bytes(b"." * 10_000)
    with (here / "file").open("rb+") as file:
        with mmap.mmap(file.fileno(), 0) as shared:
            shared[5000:5005] = b"hello"
            shared.flush()
        assert (there / "file").read_bytes()[4998:5007] == b"..hello.."
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
            private[0:4] = b"mine"
            assert private[:5] == b"mine."
    assert (there / "file").read_bytes()[:4] == b"...."


def test_holes_are_found_and_punched(here, there):
    with (here / "file").open("wb+", buffering=0) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, b"x" * 65536, 0)
        os.pwrite(descriptor, b"y" * 65536, 4 * MIB)
        os.fsync(descriptor)
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 65536
        assert os.lseek(descriptor, 65536, os.SEEK_DATA) == 4 * MIB
        libc.fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, 4096, 8192)
        assert os.pread(descriptor, 16384, 0) == b"x" * 4096 + b"\0" * 8192 + b"x" * 4096
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 4096
        with pytest.raises(OSError, match="No such device or address"):
            os.lseek(descriptor, 100 * MIB, os.SEEK_DATA)
        libc.fallocate(descriptor, 0, 0, 6 * MIB)
        assert os.fstat(descriptor).st_size == 6 * MIB
    assert os.stat(there / "file").st_size == 6 * MIB


def test_ranges_are_copied_by_the_agent(here, there):
    data = random.Random(3).randbytes(2 * MIB)
    (here / "source").write_bytes(data)
    with (here / "source").open("rb") as source, (here / "copy").open("wb+") as target:
        done = 0
        while done < MIB:
            done += os.copy_file_range(source.fileno(), target.fileno(), MIB - done, 500 + done, 100 + done)
        assert os.pread(target.fileno(), MIB, 100) == data[500 : 500 + MIB]
    assert (there / "copy").read_bytes() == b"\0" * 100 + data[500 : 500 + MIB]


def test_data_is_on_the_remote_machine_after_fsync(here, there):
    with (here / "file").open("wb") as file:
        file.write(b"safe")
        file.flush()
        os.fsync(file.fileno())
        assert (there / "file").read_bytes() == b"safe"
        os.fdatasync(file.fileno())
    directory = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def test_reading_at_and_past_the_end(here):
    (here / "file").write_bytes(b"12345")
    with (here / "file").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100, 3) == b"45"
        assert os.pread(file.fileno(), 100, 5) == b""
        assert os.pread(file.fileno(), 100, 500) == b""


def test_a_descriptor_for_reading_does_not_write(here):
    (here / "file").write_bytes(b"12345")
    with (here / "file").open("rb") as file, pytest.raises(OSError) as refused:
        os.write(file.fileno(), b"x")
    assert refused.value.errno == errno.EBADF


@pytest.mark.parametrize("new", [b"longer than it was", b"short"])
def test_an_open_finds_the_whole_of_what_was_closed_before_though_the_kernel_believes_in_another_size(anew, new):
    with mounted(anew, attribute_timeout=60.0) as mount:
        (mount.remote / "file").write_bytes(b"ten bytes\n")
        assert os.stat(mount.local / "file").st_size == 10
        (mount.remote / "file").write_bytes(new)
        assert (mount.local / "file").read_bytes() == new
        with (mount.local / "file").open("rb") as file:
            assert os.fstat(file.fileno()).st_size == len(new)
        (mount.remote / "new").write_bytes(b"another file, of another size")
        os.rename(mount.remote / "new", mount.remote / "file")
        assert (mount.local / "file").read_bytes() == b"another file, of another size"
