"""Nothing is asked about a file that nothing was written to, and everything that was written is asked about."""

from __future__ import annotations

import os

import pytest

from peer.errors import OperationFailed
from peer.filesystem import Decorator
from peer.mount.unflushed import Unflushed
from schema.requests import AllocateSpace, CopyRange, FlushFile
from tests.conformance.driver import Files, refused
from tests.conformance.memory_filesystem import memory_filesystem


class Agent(Decorator):
    def __init__(self):
        super().__init__(memory_filesystem())
        self.flushed = []
        self.broken = False

    def flush_file(self, request, caller):
        self.flushed.append(request.handle)
        if self.broken:
            raise OperationFailed("EDQUOT")
        return self.inner.flush_file(request, caller)


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture
def files(agent):
    return Files(Unflushed(agent))


def flush(files, handle):
    files.filesystem.flush_file(FlushFile(handle), files.caller)


WAYS = {
    "write": lambda files, handle: files.write(handle, 0, b"text"),
    "allocate": lambda files, handle: files.filesystem.allocate_space(AllocateSpace(handle, 0, 0, 9), files.caller),
    "copy": lambda files, handle: files.filesystem.copy_range(
        CopyRange(files.open(b"other", os.O_RDONLY), 0, handle, 0, 3), files.caller
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_written_is_flushed_once(agent, files, way):
    files.put(b"other", b"abc")
    handle = files.create(b"a")
    flush(files, handle)
    assert agent.flushed == []
    WAYS[way](files, handle)
    flush(files, handle)
    flush(files, handle)
    assert agent.flushed == [handle]
    WAYS[way](files, handle)
    flush(files, handle)
    assert agent.flushed == [handle, handle]


def test_what_could_not_be_flushed_is_tried_again(agent, files):
    handle = files.create(b"a")
    files.write(handle, 0, b"text")
    agent.broken = True
    for _ in range(2):
        with refused("EDQUOT"):
            flush(files, handle)
    assert len(agent.flushed) == 2


def test_the_next_file_of_the_same_handle_was_not_written(agent, files):
    handle = files.create(b"a")
    files.write(handle, 0, b"text")
    files.close(handle)
    flush(files, handle)
    assert agent.flushed == []
