"""What is opened without asking, what is asked for anyway, and what becomes of a file that changes while it is open."""

from __future__ import annotations

import os

import msgspec
import pytest

from peer.errors import OperationFailed
from peer.mount.lazy_handles import FIRST
from peer.mount.quiet_files import QUIET_SECONDS, QuietFiles
from schema.replies import OpenedFile
from schema.requests import CreateFile, DeleteFile, LockMode, OpenFile, RenamePath, SetMetadata, WriteFile
from tests.conformance.driver import refused
from tests.peer.mount.laptop import Laptop
from tests.peer.mount.samples import metadata

SECOND = 10**9
NAME = (b"a",)


@pytest.fixture
def laptop():
    laptop = Laptop(local_opens=True)
    make(laptop, NAME, b"text")
    laptop.files.get(b"a")
    laptop.asks()
    return laptop


def make(laptop, path, content):
    """Somebody else makes a file, in place if it is there, and closes it; the laptop hears of it."""
    write_silently(laptop, path, content)
    laptop.hear()


def write_silently(laptop, path, content):
    laptop.remote.write(CreateFile(path, os.O_RDWR | os.O_CREAT, 0o644))
    handle = laptop.remote.ask(OpenFile(path, os.O_RDWR))[0].handle
    laptop.remote.write(WriteFile(handle, 0, memoryview(content)))


def elsewhere(laptop, request):
    """Somebody else changes names; the laptop hears of it."""
    laptop.remote.write(request)
    laptop.hear()


def test_a_quiet_file_is_read_again_without_a_question(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    assert handle >= FIRST
    assert laptop.files.stat(handle) == laptop.files.stat(b"a")
    assert laptop.files.read(handle) == b"text"
    laptop.files.close(handle)
    assert laptop.asks() == []


def test_an_empty_file_is_opened_without_a_question():
    laptop = Laptop(local_opens=True)
    make(laptop, NAME, b"")
    laptop.files.get(b"a")
    laptop.asks()
    assert laptop.files.get(b"a") == b""
    assert laptop.asks() == []


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_DIRECT])
def test_other_ways_of_opening_are_asked_for(laptop, flags):
    laptop.files.open(b"a", flags)
    assert laptop.asks() == ["OpenFile"]


def test_who_opened_it_to_write_only_reads_nothing_though_it_is_stored(laptop):
    handle = laptop.files.open(b"a", os.O_WRONLY)
    for size in (0, 4):
        with refused("EBADF"):
            laptop.files.read(handle, 0, size)


def test_a_file_that_is_being_worked_on_is_asked_for(laptop):
    laptop.remote.age_ns = SECOND
    make(laptop, NAME, b"next")
    for _ in range(2):
        assert laptop.files.get(b"a") == b"next"
        assert "OpenFile" in laptop.asks()
    laptop.remote.age_ns = 3 * SECOND
    laptop.files.get(b"a")
    laptop.asks()
    assert laptop.files.get(b"a") == b"next"
    assert laptop.asks() == []


def test_a_change_is_asked_for_as_soon_as_it_is_heard_of(laptop):
    make(laptop, NAME, b"next")
    assert laptop.files.get(b"a") == b"next"
    assert "OpenFile" in laptop.asks()


def test_without_the_feed_opens_are_asked_for(laptop):
    laptop.now += 60.0
    laptop.files.get(b"a")
    assert "OpenFile" in laptop.asks()


def test_what_is_not_stored_as_a_whole_is_asked_for(laptop):
    laptop.contents.blocks.clear()
    laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.asks() == ["OpenFile"]


def test_a_locked_file_is_asked_for(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.lock(handle, 1, LockMode.SHARED)
    assert laptop.asks() == ["OpenFile", "LockFile"]
    laptop.files.open(b"a", os.O_RDONLY)
    assert laptop.asks() == ["OpenFile"]


def test_it_is_opened_once_when_it_has_to_be(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"
    laptop.files.close(handle)
    assert laptop.asks() == ["OpenFile", "ReadFile", "ReadFile", "CloseFile"]


def test_what_is_written_in_place_is_seen_through_it(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    make(laptop, NAME, b"next")
    assert laptop.files.read(handle) == b"next"
    assert laptop.files.stat(handle).mtime_ns == laptop.files.stat(b"a").mtime_ns


@pytest.mark.parametrize("how", ["removed", "replaced", "moved"])
def test_a_file_whose_name_somebody_else_took_is_read_on_as_it_was(laptop, how):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    if how == "removed":
        elsewhere(laptop, DeleteFile(NAME))
    elif how == "replaced":
        make(laptop, (b"b",), b"other")
        elsewhere(laptop, RenamePath((b"b",), NAME))
    else:
        elsewhere(laptop, RenamePath(NAME, (b"b",)))
    assert laptop.files.read(handle) == b"text"
    assert laptop.files.stat(handle).size == 4
    laptop.contents.blocks.clear()
    with refused("ESTALE"):
        laptop.files.read(handle)
    with refused("ESTALE"):
        laptop.files.lock(handle, 1, LockMode.SHARED)
    laptop.files.close(handle)


def test_two_who_open_it_at_once_agree_though_its_name_is_gone_in_between(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    ask, others = laptop.remote.ask, []

    def meanwhile(request):
        if isinstance(request, OpenFile) and not others:  # another thread is quicker, and the name goes after that
            others.append("one")
            laptop.contents.blocks.clear()
            others.append(laptop.files.read(handle))
            laptop.remote.write(DeleteFile(NAME))
        return ask(request)

    laptop.remote.ask = meanwhile
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"
    assert others == ["one", b"text"]
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"


def test_what_is_opened_when_its_handle_was_closed_meanwhile_is_given_back(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    ask = laptop.remote.ask

    def meanwhile(request):
        if isinstance(request, OpenFile):
            laptop.files.close(handle)
        return ask(request)

    laptop.remote.ask = meanwhile
    laptop.files.unlink(b"a")
    assert laptop.asks() == ["OpenFile", "CloseFile", "DeleteFile"]


def test_another_file_with_the_same_inode_number_is_not_taken_for_it(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    ask = laptop.remote.ask

    def reborn(request):
        reply, *rest = ask(request)
        if isinstance(reply, OpenedFile):
            reply = msgspec.structs.replace(reply, generation=2)
        return reply, *rest

    laptop.remote.ask = reborn
    make(laptop, NAME, b"next")
    assert laptop.files.get(b"a") == b"next"
    assert laptop.files.read(handle) == b"text"
    assert laptop.files.stat(handle).links == 0


def test_what_we_remove_or_replace_ourselves_is_opened_before(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.unlink(b"a")
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"
    assert laptop.asks()[0] == "OpenFile"


def test_what_we_rename_ourselves_is_found_at_its_new_name(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.rename(b"a", b"b")
    make(laptop, NAME, b"other")
    laptop.contents.blocks.clear()
    assert laptop.files.read(handle) == b"text"


def test_a_right_that_was_lost_since_is_said(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.contents.blocks.clear()
    laptop.agent.broken = OperationFailed("EACCES")
    with refused("EACCES"):
        laptop.files.read(handle)
    laptop.agent.broken = None
    assert laptop.files.read(handle) == b"text"


def test_what_may_not_be_opened_counts_for_the_file_that_was(laptop):
    make(laptop, (b"b",), b"other")
    handle = laptop.files.open(b"a", os.O_RDONLY)
    ask = laptop.remote.ask

    def guarded(request):
        if isinstance(request, OpenFile):
            raise OperationFailed("EACCES")
        return ask(request)

    laptop.remote.ask = guarded
    elsewhere(laptop, SetMetadata(NAME, mode=0))
    with refused("EACCES"):
        laptop.files.read(handle)
    elsewhere(laptop, RenamePath((b"b",), NAME))
    assert laptop.files.read(handle) == b"text"


def test_copying_between_files_opens_both(laptop):
    source = laptop.files.open(b"a", os.O_RDONLY)
    target = laptop.files.create(b"b")
    laptop.files.copy(source, 0, target, 0, 4)
    assert laptop.files.read(target) == b"text"


def test_attributes_that_we_change_are_seen_at_once(laptop):
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.change(handle, mode=0o600)
    assert laptop.files.stat(handle).mode & 0o777 == 0o600
    elsewhere(laptop, SetMetadata(NAME, mode=0o640))
    assert laptop.files.stat(handle).mode & 0o777 == 0o640
    assert laptop.files.read(handle) == b"text"


# Where to ask is quick.


@pytest.fixture
def asking(laptop):
    """A laptop for which it is quick to ask."""
    laptop.ask_first = True
    return laptop


def test_where_to_ask_is_quick_what_the_feed_has_not_told_yet_is_seen(asking):
    write_silently(asking, NAME, b"next")
    assert asking.files.get(b"a") == b"next"


def test_what_is_still_the_same_is_opened_here(asking):
    assert asking.files.get(b"a") == b"text"
    assert asking.asks() == ["GetMetadata"]


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_where_to_ask_is_quick_a_name_that_went_is_missed(asking, how):
    if how == "removed":
        asking.remote.write(DeleteFile(NAME))
        with refused("ENOENT"):
            asking.files.open(b"a", os.O_RDONLY)
    else:
        write_silently(asking, (b"b",), b"text")
        asking.remote.write(RenamePath((b"b",), NAME))
        asking.files.open(b"a", os.O_RDONLY)
        assert "OpenFile" in asking.asks()


def test_what_cannot_be_asked_about_is_not_opened_here(asking):
    asking.agent.broken = OperationFailed("ETIMEDOUT")
    with refused("ETIMEDOUT"):
        asking.files.open(b"a", os.O_RDONLY)


# The table of quiet files by itself.


def opened(age=QUIET_SECONDS, generation=7, **changes):
    changed_at = 1_000 * SECOND
    of = metadata(ctime_ns=changed_at, **changes)
    return OpenedFile(1, of, generation, now_ns=changed_at + round(age * SECOND))


def test_only_the_very_version_counts():
    files = QuietFiles()
    files.opened(opened())
    assert files.generation(opened().metadata) == 7
    for change in ({"size": 4}, {"mtime_ns": 8}, {"inode": 12}, {"volume": 6}, {"links": 2}):
        assert files.generation(opened(**change).metadata) is None


@pytest.mark.parametrize(
    "other",
    [
        opened(age=1.9),
        opened(age=-5),
        opened(generation=0),
        opened(links=2),
        opened(mode=0o020644),
    ],
    ids=["changed just now", "changed in the future", "no generation", "another name", "no plain file"],
)
def test_what_counts_no_more_is_forgotten(other):
    files = QuietFiles()
    files.opened(opened())
    files.opened(other)
    assert files.generation(opened().metadata) is None


def test_those_used_longest_ago_are_forgotten():
    files = QuietFiles(entries=2)
    for inode in (1, 2):
        files.opened(opened(inode=inode))
    assert files.generation(opened(inode=1).metadata) == 7
    files.opened(opened(inode=3))
    assert [files.generation(opened(inode=inode).metadata) for inode in (1, 2, 3)] == [7, None, 7]
