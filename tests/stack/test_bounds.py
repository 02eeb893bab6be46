"""Where something runs out: the disk at the agent, the life of a token, the handles of a client."""

from __future__ import annotations

import contextlib
import errno
import os
import time

import pytest

from tests.stack.processes import run
from tests.stack.world import LAPTOP

LIFE = 2.0
"""Seconds that a token lives."""

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def small(stack):
    """A file system of 4 MiB at the agent, exported beside the other."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small file system")
    small = stack.home / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=200", "none", small)
    stack.write_agent(exports=(small,))
    yield small
    stack.agent.stop()
    run("umount", small)


def test_a_full_disk_at_the_agent_is_told_and_nothing_earlier_is_lost(stack, small):
    stack.start()
    mounted = stack.mount(remote=small)
    (mounted.path / "earlier").write_bytes(b"earlier" * 10_000)
    with (mounted.path / "large").open("wb", buffering=0) as file:
        written = 0
        with pytest.raises(OSError) as raised:
            while True:
                written += file.write(b"x" * 100_000)
        assert raised.value.errno == errno.ENOSPC
    assert (small / "large").stat().st_size >= written
    assert (mounted.path / "large").read_bytes()[:written] == b"x" * written
    assert (small / "earlier").read_bytes() == b"earlier" * 10_000
    said = run("cp", mounted.path / "earlier", mounted.path / "copy", status=1)
    assert "No space left on device" in said
    assert os.statvfs(mounted.path).f_bavail == 0
    (mounted.path / "large").unlink()
    (mounted.path / "earlier").rename(mounted.path / "moved")
    (mounted.path / "later").write_bytes(b"later" * 10_000)
    assert (small / "later").read_bytes() == b"later" * 10_000

    with pytest.raises(OSError) as raised:
        for number in range(300):
            (mounted.path / f"{number}").mkdir()
    assert raised.value.errno == errno.ENOSPC


def test_a_mount_outlives_its_tokens(stack):
    stack.write_broker(token_seconds=LIFE, heartbeat_seconds=LIFE / 4)
    stack.write_client(LAPTOP, attribute_seconds=0.0)
    stack.start()
    mounted = stack.mount()
    end = time.monotonic() + 3 * LIFE
    count = 0
    while time.monotonic() < end:
        (mounted.path / "file").write_text(str(count))
        assert (stack.export / "file").read_text() == str(count)
        count += 1
    assert stack.broker.said.count("is here") == 2, "the agent and the mount came once and never had to come again"


def test_too_many_open_files_are_refused_and_the_others_stay(stack):
    stack.write_agent(limits={"open_files_per_client": 20})
    stack.start()
    mounted = stack.mount()
    with contextlib.ExitStack() as opened:
        files = []
        with pytest.raises(OSError) as raised:
            while len(files) < 40:
                files.append(opened.enter_context((mounted.path / f"{len(files)}").open("wb", buffering=0)))
        assert raised.value.errno == errno.EMFILE
        for file in files:
            file.write(b"text")
    (mounted.path / "more").write_text("text")
