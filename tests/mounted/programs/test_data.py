"""Bytes by every road: mappings, appends from two machines, beyond 4 GiB, and what close and fsync promise."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys

import pytest

from tests.stack.processes import run

GIB = 1 << 30


def test_a_shared_mapping_is_written_back_and_a_private_one_is_not(places):
    (places.laptop / "file").write_bytes(b"a" * 10_000)
    with (places.laptop / "file").open("r+b") as file:
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED) as shared:
            shared[5000:5003] = b"new"
            shared.flush()
            assert (places.server / "file").read_bytes()[4999:5004] == b"anewa"
            assert os.pread(file.fileno(), 5, 4999) == b"anewa"
            shared[0:3] = b"end"
        with mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as private:
            private[0:3] = b"own"
            assert private[0:3] == b"own"
        os.fsync(file.fileno())
    assert (places.server / "file").read_bytes()[:4] == b"enda"


def test_a_shared_mapping_is_shared_between_processes(places):
    (places.laptop / "file").write_bytes(bytes(4096))
    other = "import mmap,sys; f=open(sys.argv[1],'r+b'); mmap.mmap(f.fileno(), 0)[100:105] = b'other'"
    with (places.laptop / "file").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        run(sys.executable, "-c", other, places.laptop / "file")
        assert mapping[100:105] == b"other"


APPENDER = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("ready", flush=True)
sys.stdin.readline()
for number in range(150):
    os.write(file, f"{sys.argv[2]} {number} {'.' * (number % 90)}\\n".encode())
"""


def test_appends_of_two_clients_and_the_agent_lose_nothing(places):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, place / "log", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, place in (("laptop", places.laptop), ("desktop", places.desktop), ("server", places.server))
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            writer.communicate(timeout=40)
            assert writer.returncode == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate(timeout=10)
    lines = (places.server / "log").read_text().splitlines()
    for name in ("laptop", "desktop", "server"):
        own = [line for line in lines if line.startswith(f"{name} ")]
        assert own == [f"{name} {number} {'.' * (number % 90)}" for number in range(150)]
    assert len(lines) == 450
    assert (places.laptop / "log").read_text().splitlines() == lines


def test_a_file_beyond_four_gibibytes(places):
    with (places.laptop / "big").open("w+b") as file:
        file.truncate(5 * GIB)
        os.pwrite(file.fileno(), b"far", 4 * GIB + 5)
        os.pwrite(file.fileno(), b"near", 4096)
    assert (places.laptop / "big").stat().st_size == 5 * GIB
    assert (places.desktop / "big").stat().st_blocks * 512 < GIB
    with (places.server / "big").open("rb") as file:
        assert os.pread(file.fileno(), 3, 4 * GIB + 5) == b"far"
        assert os.pread(file.fileno(), 4, 5) == bytes(4)
    with (places.desktop / "big").open("rb") as file:
        assert os.pread(file.fileno(), 5, 4 * GIB + 4) == b"\0far\0"
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) <= 4096
        far = os.lseek(file.fileno(), GIB, os.SEEK_DATA)
        assert 4 * GIB - (1 << 20) <= far <= 4 * GIB + 5
        assert os.lseek(file.fileno(), far, os.SEEK_HOLE) <= 5 * GIB
    assert run("truncate", "-s", "1", places.laptop / "big") == ""
    assert (places.server / "big").stat().st_size == 1


@pytest.mark.parametrize("size", [1, 4096, 1_000_001, 9_000_000])
def test_when_close_returns_the_agent_has_every_byte(places, size):
    data = os.urandom(size)
    file = os.open(places.laptop / "file", os.O_WRONLY | os.O_CREAT)
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.close(file)
    assert (places.server / "file").read_bytes() == data
    assert (places.desktop / "file").read_bytes() == data


def test_when_fsync_returns_the_agent_has_every_byte(places):
    with (places.laptop / "file").open("wb", buffering=0) as file:
        for number in range(20):
            file.write(bytes([number]) * 10_000)
            os.fsync(file.fileno())
            assert (places.server / "file").stat().st_size == 10_000 * (number + 1)
    assert (places.server / "file").read_bytes() == b"".join(bytes([number]) * 10_000 for number in range(20))


def test_dd_there_and_back(places, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    for block, flags in (("5000", "notrunc"), ("1M", "fsync"), ("65536", "notrunc")):
        run("dd", f"if={source}", f"of={places.laptop}/file", f"bs={block}", f"conv={flags}")
        run("cmp", source, places.server / "file")
        run("dd", f"if={places.desktop}/file", f"of={tmp_path}/back", f"bs={block}")
        run("cmp", source, tmp_path / "back")


def test_an_open_file_that_was_removed_is_used_on(places):
    with (places.laptop / "file").open("w+b", buffering=0) as file:
        file.write(b"before")
        os.unlink(places.laptop / "file")
        assert os.listdir(places.server) == []
        file.write(b" and after")
        assert os.pread(file.fileno(), 100, 0) == b"before and after"
        assert os.fstat(file.fileno()).st_nlink == 0
        os.ftruncate(file.fileno(), 6)
        os.fchmod(file.fileno(), 0o600)
        assert os.fstat(file.fileno()).st_size == 6
        with pytest.raises(OSError) as raised:
            os.stat(places.laptop / "file")
        assert raised.value.errno == errno.ENOENT
        (places.laptop / "file").write_text("another")
        assert os.pread(file.fileno(), 100, 0) == b"before"
    assert (places.server / "file").read_text() == "another"
    run("rm", "-r", places.laptop / "file")
    os.rmdir(places.laptop)
    assert not places.server.exists()


def test_a_file_that_the_agent_removes_is_read_on_here(places):
    (places.server / "file").write_bytes(b"still here")
    with (places.laptop / "file").open("rb", buffering=0) as file:
        os.unlink(places.server / "file")
        assert file.read() == b"still here"
