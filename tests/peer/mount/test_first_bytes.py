"""A small file is read without a second question, and never as it was before something that is known by now."""

from __future__ import annotations

import os

import pytest

from peer.mount.first_bytes import LARGEST
from schema.requests import CreateFile, DeleteFile, OpenFile, RenamePath, WriteFile
from tests.peer.mount.laptop import Laptop

NAME = (b"a",)


@pytest.fixture(params=[0, 3_000_000_000], ids=["changed just now", "quiet"])
def laptop(request):
    """It knows of a file and has not read it."""
    laptop = Laptop()
    laptop.remote.age_ns = request.param
    write(laptop, NAME, b"text")
    laptop.hear()
    laptop.files.stat(b"a")
    laptop.asks()
    return laptop


def write(laptop, path, content):
    laptop.remote.write(CreateFile(path, os.O_RDWR | os.O_CREAT, 0o644))
    handle = laptop.remote.ask(OpenFile(path, os.O_RDWR))[0].handle
    laptop.remote.write(WriteFile(handle, 0, memoryview(content)))


def test_a_small_file_comes_with_its_open(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.files.read(handle, 0, 2) == b"te"
    assert laptop.files.read(handle, 2, 9) == b"xt"
    assert laptop.files.read(handle, 9, 9) == b""
    assert laptop.asks() == ["OpenFile"]


def test_only_what_is_final_is_kept(laptop):
    quiet = laptop.remote.age_ns > 0
    laptop.files.get(b"a")
    laptop.asks()
    laptop.files.get(b"a")
    assert "ReadFile" not in laptop.asks()
    known = laptop.files.stat(b"a")
    assert laptop.contents.complete(known.volume, known.version) is quiet


def test_who_opens_is_answered_as_he_asked(laptop):
    answer = laptop.filesystem.open_file(OpenFile(laptop.files.at(b"a"), os.O_RDONLY), laptop.files.caller)
    assert answer.data == b""
    answer = laptop.filesystem.open_file(OpenFile(laptop.files.at(b"a"), os.O_RDONLY, 2), laptop.files.caller)
    assert answer.data == b"te"


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC])
def test_who_may_change_it_is_given_nothing_before(laptop, flags):
    wanted = []
    ask = laptop.remote.ask
    laptop.remote.ask = lambda request: (wanted.append(getattr(request, "first_bytes", 0)), ask(request))[1]
    laptop.files.open(b"a", flags)
    assert wanted == [0]


def test_a_large_file_is_read_as_it_is_wanted(laptop):
    write(laptop, NAME, b"x" * (LARGEST + 1))
    laptop.hear()
    laptop.files.stat(b"a")
    laptop.asks()
    handle = laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.files.read(handle, 0, 3) == b"xxx"
    assert laptop.asks() == ["OpenFile", "ReadFile"]


def test_a_file_that_had_grown_is_read_as_it_is_wanted(laptop):
    write(laptop, NAME, b"longer than it was")
    handle = laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.files.read(handle) == b"longer than it was"
    assert laptop.asks() == ["OpenFile", "ReadFile"]


def test_what_somebody_wrote_since_is_read(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    write(laptop, NAME, b"next")
    laptop.hear()
    assert laptop.files.read(handle) == b"next"


def test_what_we_wrote_since_is_read(laptop):
    reading, writing = laptop.files.open(b"a", os.O_RDONLY), laptop.files.open(b"a", os.O_WRONLY)
    laptop.files.write(writing, 0, b"next")
    assert laptop.files.read(reading) == b"next"


def test_another_file_of_the_name_is_not_read(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    write(laptop, (b"b",), b"next")
    laptop.remote.write(RenamePath((b"b",), NAME))
    laptop.hear()
    assert laptop.files.read(handle) == b"text"
    laptop.remote.write(DeleteFile(NAME))
    laptop.hear()
    assert laptop.files.read(handle) == b"text"


def test_what_was_not_read_at_once_is_asked_for(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.contents.blocks.clear()
    laptop.now += 1.5
    assert laptop.files.read(handle) == b"text"
    assert laptop.asks() == ["OpenFile", "ReadFile"]


def test_while_the_feed_is_silent_it_is_asked_for(laptop):
    laptop.known.lose()
    handle = laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.files.read(handle) == b"text"
    assert laptop.asks()[1:] in (["ReadFile"], ["GetMetadata"]), "the agent says whether it is still of that version"
