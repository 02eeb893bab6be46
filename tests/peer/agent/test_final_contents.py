"""What is read names its version once that can be of nothing else."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from peer.agent import final_contents
from schema.requests import OpenFile, ReadFile
from tests.peer.agent.conftest import ME


def test_what_is_read_names_its_version_once_that_can_be_of_nothing_else(files, export, monkeypatch):
    path = export / "a"
    path.write_bytes(b"text")
    handle = files.open(b"a", os.O_RDONLY)
    read = ReadFile(handle, 0, 9)
    assert files.filesystem.read_file(read, ME).version is None
    later = path.stat().st_ctime_ns + final_contents.SETTLED_NS
    monkeypatch.setattr(time, "time_ns", lambda: later - 1)
    assert files.filesystem.read_file(read, ME).version is None
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert files.filesystem.read_file(read, ME).version == files.stat(b"a").version
    assert files.filesystem.open_file(OpenFile(files.at(b"a"), os.O_RDONLY), ME).now_ns == later


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR])
def test_what_is_read_while_somebody_has_the_file_open_for_writing_is_of_no_version(files, export, monkeypatch, flags):
    """A write(2) that takes long has set the change time before it began; what it copies comes when it comes."""
    path = export / "a"
    path.write_bytes(b"text")
    later = path.stat().st_ctime_ns + final_contents.SETTLED_NS
    monkeypatch.setattr(time, "time_ns", lambda: later)

    def opened():
        answer = files.filesystem.open_file(OpenFile(files.at(b"a"), flags), ME)
        data = files.filesystem.read_file(ReadFile(answer.handle, 0, 9), ME)
        files.close(answer.handle)
        return answer.now_ns, data.version

    quiet = (later, files.stat(b"a").version)
    assert opened() == quiet
    with path.open("r+b") as writer:
        assert opened() == (0, None)
        with mmap.mmap(writer.fileno(), 4) as mapping:
            writer.close()
            mapping[:] = b"next"
            assert opened() == (0, None)
    later = path.stat().st_ctime_ns + final_contents.SETTLED_NS
    assert opened() == (later, files.stat(b"a").version)


def test_who_opens_a_file_for_writing_while_it_is_asked_about_is_let_in(files, export):
    """And nobody dies of the signal by which the kernel asks for a lease."""
    (export / "a").write_bytes(b"text")
    handle = files.open(b"a", os.O_RDONLY)
    program = "import sys\nfor number in range(1000): open(sys.argv[1], 'wb').write(b'%4d' % number)"
    with subprocess.Popen([sys.executable, "-c", program, export / "a"]) as writer:

        def ask():
            while writer.poll() is None:
                files.read(handle, 0, 4)

        with ThreadPoolExecutor(2) as askers:
            for asker in [askers.submit(ask) for _ in range(2)]:
                asker.result()
    assert writer.returncode == 0
    assert files.read(handle, 0, 4) == b" 999"
