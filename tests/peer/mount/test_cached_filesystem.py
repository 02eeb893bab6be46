"""What is answered without asking, what is asked anyway, and what our own changes make of it."""

from __future__ import annotations

import os

import pytest

from peer.errors import OperationFailed
from schema.requests import (
    CreateFile,
    CreateLink,
    DeleteFile,
    GetMetadata,
    ListDir,
    LockMode,
    ReadFile,
    SetMetadata,
    SetXattr,
)
from tests.conformance.driver import Files, refused
from tests.peer.mount.laptop import Laptop
from tests.simulation.coherence.remote import NOBODY


@pytest.fixture
def laptop():
    return Laptop()


def test_what_is_known_is_not_asked_twice(laptop):
    laptop.files.put(b"a", b"text")
    laptop.hear()
    laptop.asks()
    first = laptop.files.stat(b"a")
    laptop.asks()
    assert laptop.files.stat(b"a") == first
    assert laptop.asks() == []


def test_a_name_that_is_not_there_is_known_too(laptop):
    for _ in range(2):
        with refused("ENOENT"):
            laptop.files.stat(b"a")
    assert laptop.asks() == ["GetMetadata"]


def test_a_listing_answers_for_all_names_and_any_page(laptop):
    laptop.files.put(b"a", b"")
    laptop.files.put(b"b", b"")
    laptop.hear()
    laptop.filesystem.list_dir(ListDir(()), NOBODY)
    laptop.asks()
    page = laptop.filesystem.list_dir(ListDir((), after=b"a", limit=1), NOBODY)
    assert [entry.name for entry in page.entries] == [b"b"]
    assert page.complete
    laptop.files.stat(b"a")
    with refused("ENOENT"):
        laptop.files.stat(b"c")
    assert laptop.asks() == []


def test_opening_always_asks(laptop):
    laptop.files.put(b"a", b"text")
    laptop.hear()
    laptop.asks()
    for _ in range(2):
        laptop.files.get(b"a")
    assert laptop.asks().count("OpenFile") == 2


def test_what_is_suspect_is_verified_together(laptop):
    laptop.files.put(b"a", b"")
    laptop.files.put(b"b", b"")
    laptop.hear()
    laptop.files.stat(b"a"), laptop.files.stat(b"b")
    laptop.follow()
    laptop.asks()
    laptop.files.stat(b"a"), laptop.files.stat(b"b")
    assert laptop.asks() == ["VerifyMetadata"]


def test_when_the_feed_is_silent_everything_is_asked(laptop):
    laptop.files.put(b"a", b"")
    laptop.hear()
    laptop.files.stat(b"a")
    laptop.now += 8.0
    laptop.asks()
    laptop.files.stat(b"a")
    assert laptop.asks() == ["GetMetadata"]


def test_our_own_changes_are_seen_at_once_though_the_feed_is_late(laptop):
    laptop.files.stat(b"")
    laptop.files.put(b"a", b"one")
    assert laptop.files.stat(b"a").size == 3
    laptop.files.put(b"a", b"three")
    assert laptop.files.stat(b"a").size == 5
    laptop.files.unlink(b"a")
    with refused("ENOENT"):
        laptop.files.stat(b"a")


def test_an_answer_that_is_late_hides_no_change_of_ours_by_another_name_of_the_file(laptop):
    laptop.files.put(b"a", b"")
    laptop.files.link(b"a", b"b")
    laptop.hear()
    asked, before = laptop.known.asking(), laptop.files.stat(b"b")
    laptop.now += 1.0
    laptop.files.change(b"a", mode=0o600)
    laptop.now += 1.0
    laptop.known.learn((b"b",), before, laptop.known.moment, asked)
    assert laptop.known.metadata((b"b",)).suspect


@pytest.mark.parametrize("news", [False, True])
def test_an_answer_without_a_moment_is_not_kept_if_news_came_meanwhile(laptop, news):
    path = (b"a",)
    laptop.remote.write(CreateFile(path, os.O_RDWR, 0o600))
    laptop.hear()
    asked, before = laptop.known.asking(), laptop.agent.get_metadata(GetMetadata(path), NOBODY).metadata
    if news:
        laptop.remote.write(SetMetadata(path, mode=0o644))
        laptop.hear()
    laptop.known.learn(path, before, None, asked)
    assert (laptop.known.metadata(path) is None) == news


def test_nor_if_the_feed_was_lost_after_the_news(laptop):
    path = (b"a",)
    laptop.remote.write(CreateFile(path, os.O_RDWR, 0o600))
    laptop.hear()
    asked, before = laptop.known.asking(), laptop.agent.get_metadata(GetMetadata(path), NOBODY).metadata
    laptop.remote.write(DeleteFile(path))
    laptop.hear()
    laptop.known.lose()
    laptop.known.learn(path, before, None, asked)
    known = laptop.known.metadata(path)
    assert known is None or known.suspect


def test_nor_if_news_of_the_file_came_by_another_name(laptop):
    path, other = (b"a",), (b"b",)
    laptop.remote.write(CreateFile(path, os.O_RDWR, 0o600))
    laptop.remote.write(CreateLink(path, other))
    laptop.hear()
    asked, before = laptop.known.asking(), laptop.agent.get_metadata(GetMetadata(path), NOBODY).metadata
    laptop.remote.write(SetMetadata(other, mode=0o644))
    laptop.hear()
    laptop.known.learn(path, before, None, asked)
    assert laptop.known.metadata(path) is None


def test_what_is_told_of_an_open_file_is_news_of_its_names(laptop):
    laptop.files.put(b"a", b"")
    laptop.files.link(b"a", b"b")
    laptop.files.link(b"a", b"c")
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.unlink(b"a")
    laptop.now += 6.0
    laptop.remote.heartbeat()
    laptop.hear()
    laptop.files.stat(b"b")
    laptop.remote.write(SetMetadata((b"c",), mode=0o600))
    assert laptop.files.stat(b"b").mode & 0o777 != 0o600, "believed for a while"
    laptop.filesystem.get_metadata(GetMetadata(handle=handle), NOBODY)
    assert laptop.files.stat(b"b").mode & 0o777 == 0o600


def test_a_change_that_failed_leaves_nothing_believed(laptop):
    laptop.files.put(b"a", b"")
    laptop.hear()
    laptop.files.stat(b"a")
    laptop.agent.broken = OperationFailed("ETIMEDOUT")
    with refused("ETIMEDOUT"):
        laptop.files.change(b"a", mode=0o600)
    laptop.agent.broken = None
    laptop.asks()
    laptop.files.stat(b"a")
    assert laptop.asks() != []


def test_contents_are_read_and_kept_only_for_a_version_that_is_sure(laptop):
    laptop.files.put(b"a", b"text")
    laptop.hear()
    handle = laptop.files.open(b"a", os.O_RDONLY)
    read = ReadFile(handle, 0, 4)
    assert laptop.filesystem.read_file(read, NOBODY).data == b"text"
    laptop.asks()
    assert laptop.filesystem.read_file(read, NOBODY).data == b"text"
    assert laptop.asks() == []
    laptop.files.put(b"a", b"next")
    laptop.hear()
    assert laptop.filesystem.read_file(read, NOBODY).data == b"next"
    laptop.now += 8.0
    laptop.asks()
    assert laptop.filesystem.read_file(read, NOBODY).data == b"next"
    assert laptop.asks() == ["GetMetadata"]
    laptop.files.put(b"a", b"more")
    laptop.now += 8.0
    laptop.asks()
    for _ in range(2):
        assert laptop.filesystem.read_file(read, NOBODY).data == b"more"
    assert laptop.asks() == ["GetMetadata", "ReadFile", "GetMetadata"]


def test_an_open_file_that_lost_its_name_is_asked_for(laptop):
    laptop.files.put(b"a", b"text")
    handle = laptop.files.open(b"a", os.O_RDONLY)
    laptop.files.put(b"b", b"other")
    laptop.files.rename(b"b", b"a")
    laptop.hear()
    assert laptop.filesystem.get_metadata(GetMetadata((), handle), NOBODY).metadata.size == 4


def test_of_a_locked_file_nothing_is_answered_until_it_is_closed(laptop):
    laptop.files.put(b"a", b"text")
    laptop.hear()
    handle = laptop.files.open(b"a")
    laptop.files.lock(handle, 1, LockMode.EXCLUSIVE)
    laptop.asks()
    laptop.files.stat(b"a")
    laptop.files.stat(handle)
    laptop.filesystem.read_file(ReadFile(handle, 0, 4), NOBODY)
    laptop.filesystem.read_file(ReadFile(handle, 0, 4), NOBODY)
    assert laptop.asks() == ["GetMetadata", "GetMetadata", "ReadFile", "ReadFile"]
    laptop.files.close(handle)
    laptop.files.stat(b"a")
    laptop.asks()
    laptop.files.stat(b"a")
    assert laptop.asks() == []


def test_an_attribute_that_was_read_before_the_file_changed_does_not_go_with_its_later_change_time(laptop):
    laptop.files.put(b"a", b"")
    laptop.hear()
    laptop.files.stat(b"a")
    there = Files(laptop.agent, caller=NOBODY)
    slow = laptop.agent.get_xattr

    def meanwhile(request, caller):
        try:
            return slow(request, caller)
        finally:
            laptop.remote.write(SetXattr((b"a",), name=b"user.x", value=b"new"))
            laptop.known.learn((b"a",), there.stat(b"a"), laptop.known.moment, laptop.known.asking((b"a",)))

    laptop.agent.get_xattr = meanwhile
    with refused("ENODATA"):
        laptop.files.getxattr(b"a", b"user.x")
    assert laptop.known.part((), range(9)).record.details == ()
    laptop.agent.get_xattr = slow
    laptop.hear()
    assert laptop.files.getxattr(b"a", b"user.x") == b"new"
    laptop.files.getxattr(b"a", b"user.x")
    assert [each.xattrs for each in laptop.known.part((), range(9)).record.details] == [{b"user.x": b"new"}]
