"""Contents of files stay on the client's disk: read again without asking, never stale, never in the clear."""

from __future__ import annotations

import json
import mmap
import os
import subprocess

import pytest

from peer.mount.block_store.layout import BLOCK_SIZE
from peer.mount.freshness import NAME
from tests.stack.processes import until

pytestmark = pytest.mark.timeout(120)
TEXT = b"".join(b"%15d\n" % number for number in range(50_000))
"""A few blocks, of which no two are the same."""


class Audit:
    """What the agent says that it was asked."""

    def __init__(self, stack):
        self._stack = stack
        self._seen = 0
        self._marks = 0

    def news(self, mounted):
        """What was asked through `mounted` since the last call: the lines of that."""
        self._marks += 1
        mark = f"mark-{self._marks}"
        (mounted.path / mark).mkdir()
        until("the audit says what happened before", lambda: mark in self._stack.audit.read_text())
        lines = self._stack.audit.read_text().splitlines()
        new, self._seen = [json.loads(line) for line in lines[self._seen :]], len(lines)
        return [line for line in new if "mark" not in line["path"]]


@pytest.fixture
def audit(stack):
    return Audit(stack)


def read(path):
    """All of a file, from the program that serves the mount and not from the kernel's memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def until_quiet(mounted, audit, name):
    """Read a file until that needs nobody else: it must have been left alone for a while."""

    def alone():
        assert read(mounted.path / name) == TEXT
        audit.news(mounted)
        assert read(mounted.path / name) == TEXT
        return not audit.news(mounted)

    until("a quiet file is read without a question", alone)


def test_a_file_is_read_again_without_a_question_also_after_a_remount(stack, audit):
    (stack.export / "file").write_bytes(TEXT)
    stack.start()
    first = stack.mount()
    until_quiet(first, audit, "file")
    first.program.stop()
    second = stack.mount()
    file = second.path / "file"
    until("the feed is followed", lambda: file.stat() and os.getxattr(file, NAME).startswith(b"current at "))
    audit.news(second)
    assert read(file) == TEXT
    assert b"cached %d of %d bytes" % (len(TEXT), len(TEXT)) in os.getxattr(file, NAME)
    assert audit.news(second) == []


def test_a_change_is_seen_at_once_by_readers_and_maps(stack, audit):
    file = stack.export / "file"
    file.write_bytes(TEXT)
    stack.start()
    mounted = stack.mount()
    until_quiet(mounted, audit, "file")
    changed = TEXT[:BLOCK_SIZE] + b"changed" + TEXT[BLOCK_SIZE + 7 :]
    with (mounted.path / "file").open("rb") as reader, mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == TEXT
        with file.open("r+b") as writer:
            writer.seek(BLOCK_SIZE)
            writer.write(b"changed")
        until("the map shows it", lambda: mapped[:] == changed)
        assert os.pread(reader.fileno(), len(TEXT), 0) == changed
    assert read(mounted.path / "file") == changed


def test_killed_tampered_with_and_shared(stack, audit):
    (stack.export / "file").write_bytes(TEXT)
    stack.start()
    mounts = [stack.mount(), stack.mount()]
    for mounted in mounts:
        until_quiet(mounted, audit, "file")
    with subprocess.Popen(["cat", *([str(mounts[0].path / "file")] * 50)], stdout=subprocess.DEVNULL) as reader:
        mounts[0].kill()
        reader.wait(20)
    assert read(mounts[1].path / "file") == TEXT
    stored = [path for path in (stack.home / "laptop-cache").rglob("*") if path.is_file() and len(path.name) > 20]
    assert stored
    for path in stored:
        sealed = bytearray(path.read_bytes())
        assert b"1234\n" not in sealed
        assert b"file" not in path.name.encode()
        sealed[len(sealed) // 3] ^= 1
        path.write_bytes(sealed)
    assert read(mounts[1].path / "file") == TEXT
    assert read(stack.mount().path / "file") == TEXT


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk")
def test_a_full_disk_costs_nothing_but_hits(stack, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True, timeout=20)
    try:
        (stack.export / "file").write_bytes(TEXT)
        stack.write_client("laptop", cache={"directory": str(disk)})
        stack.start()
        mounted = stack.mount()

        def said():
            assert read(mounted.path / "file") == TEXT
            return "No space left on device" in mounted.program.said

        until("it is said", said)
        assert said()
        assert mounted.program.said.count("No space left on device") == 1
        mounted.program.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True, timeout=20)
