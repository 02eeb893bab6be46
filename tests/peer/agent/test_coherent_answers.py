"""What clients change is told at once and once, and answers say as of when they are true."""

from __future__ import annotations

import os

import pytest

from peer.agent.watched_tree import NOT_COVERED
from schema.changes import Renamed
from schema.replies import DirectoryPage, Done, Failure, Metadata, XattrNames, XattrValue
from schema.requests import (
    CheckAccess,
    CloseFile,
    CreateDir,
    CreateFile,
    CreateLink,
    DeleteFile,
    GetXattr,
    ListDir,
    ListXattrs,
    OpenFile,
    RemoveDir,
    RenamePath,
    SetMetadata,
    WriteFile,
)
from tests.peer.agent.feed_reader import until
from tests.peer.agent.feed_world import about

# --- own changes, told once


def test_what_clients_do_is_told_before_they_are_answered_and_once(world, reader):
    seen = []

    def do(request):
        reply = world.ask(request)
        assert not isinstance(reply, Failure), reply
        seen.append(len(reader.read()))
        until("its directories are watched", lambda: world.watcher.coverage(world.path("new")).name)
        until("those that it made too", lambda: not world.watcher.doubts)
        return reply

    opened = do(CreateFile(world.path("new"), os.O_RDWR | os.O_EXCL, 0o644))
    do(WriteFile(handle=opened.handle, offset=0, data=memoryview(b"bytes")))
    world.ask(CloseFile(opened.handle))
    do(SetMetadata(world.path("new"), mode=0o600))
    do(CreateDir(world.path("made"), 0o755))
    do(RenamePath(world.path("new"), world.path("made", "there")))
    do(RenamePath(world.path("made"), world.path("named")))
    do(DeleteFile(world.path("named", "there")))
    do(RemoveDir(world.path("named")))
    assert seen == sorted(set(seen)), "each was told at once"
    assert seen[0] > 0
    own = list(reader.read())
    changes = world.settle(reader)
    assert changes == [change for change in own if not about(change, world.top)]
    assert [type(change) for change in own if not about(change, world.top)].count(Renamed) == 2
    until("all is covered again", lambda: world.watcher.coverage(world.path("d")).listing)


# --- as_of


def test_answers_say_as_of_when_they_are_true(world, reader):
    moment = reader.moment
    page = world.ask(ListDir(world.path("d")))
    assert isinstance(page, DirectoryPage)
    assert page.as_of == moment
    assert world.stat("d").as_of == moment
    assert world.stat("d", "f").as_of == moment
    missing = world.stat("d", "missing")
    assert isinstance(missing, Failure)
    assert (missing.code, missing.as_of) == ("ENOENT", moment)


def test_what_goes_with_the_change_time_has_a_moment_once_that_is_old(world, reader, monkeypatch):
    path, xattr = world.path("d", "f"), b"user.remotefs"
    os.setxattr(world.export / "d" / "f", xattr, b"value")
    world.settle(reader)
    access = CheckAccess(path, mode=os.R_OK)
    asked = (ListXattrs(path), GetXattr(path, name=xattr), GetXattr(path, name=b"user.none"), access)
    for old_after, moment in ((0, reader.moment), (10**15, None)):
        monkeypatch.setattr("peer.agent.coherent_answers.SETTLED_NS", old_after)
        answers = [world.ask(request) for request in asked]
        assert [type(answer) for answer in answers] == [XattrNames, XattrValue, Failure, Done]
        assert [answer.as_of for answer in answers] == [moment] * 4


def test_what_is_not_under_watch_has_no_moment(world, reader):
    os.link(world.export / "d" / "f", world.export / "d" / "other")
    assert world.stat("d", "f").as_of is None, "it could change through its other name"
    assert world.stat("missing", "below").as_of is None, "the directory is not there to be watched"
    world.watcher.doubts.raise_for(world.path("d"))
    assert world.watcher.coverage(world.path("d", "f")) == NOT_COVERED
    world.settle(reader)
    until("the doubt is settled", lambda: world.watcher.coverage(world.path("d", "f")).name)


def test_what_changes_a_file_with_several_names_has_a_moment(world, reader):
    path, other = world.path("d", "f"), world.path("d", "other")
    answers = [world.ask(CreateLink(path, other)), world.ask(SetMetadata(other, mode=0o600))]
    assert all(answer.as_of is not None and answer.as_of.epoch == reader.moment.epoch for answer in answers)
    assert world.stat("d", "other").as_of is None


@pytest.mark.parametrize("somebody_took_the_name", [True, False])
def test_what_changes_a_file_by_its_handle_has_a_moment_whatever_it_is_called(world, reader, somebody_took_the_name):
    path = world.path("d", "f")
    handle = world.ask(OpenFile(path, os.O_RDWR)).handle
    (world.export / "d" / "f").rename(world.export / "d" / "g")
    if somebody_took_the_name:
        (world.export / "d" / "f").touch()
    world.settle(reader)
    moment = reader.moment
    reply = world.ask(WriteFile(handle=handle, offset=0, data=memoryview(b"bytes")))
    assert reply.as_of is not None
    assert reply.as_of.number >= moment.number
    until("it is told", lambda: reader.numbers_of(world.path("d", "g"))[-1] > reply.as_of.number)


def test_nothing_is_covered_before_the_watches_are_in_place(world):
    (world.export / "f").touch()
    world.follow()
    assert isinstance(world.stat("f"), Metadata)
    assert world.stat("f").as_of is None
    world.start()
    assert world.stat("f").as_of is not None


def test_without_a_follower_there_is_no_moment(world):
    world.start()
    assert world.stat().as_of is None
    assert world.shelf.published == []


# --- changes that somebody else's come between


def and_then(world, monkeypatch, kind, somebody_else):
    """Have `somebody_else` change something, and the feed tell of it, when a request of `kind` is done."""
    operation = world.dispatcher._by_request[kind]

    def done(request, asker):
        reply = operation(request, asker)
        somebody_else()
        world.feeds.changed(request.path)
        return reply

    monkeypatch.setitem(world.dispatcher._by_request, kind, done)


def test_a_change_is_answered_as_of_the_last_look(world, reader, monkeypatch):
    file = world.export / "f"
    file.touch()
    reader.wait_for_path(world.path("f"))
    and_then(world, monkeypatch, SetMetadata, lambda: file.write_bytes(b"more"))
    reply = world.ask(SetMetadata(world.path("f"), mode=0o600))
    assert (reply.metadata.size, reply.metadata.mode & 0o777) == (4, 0o600)
    until("it is told", lambda: reader.numbers_of(world.path("f")))
    assert reply.as_of.number >= reader.numbers_of(world.path("f"))[-1]


@pytest.mark.parametrize("again", [True, False])
def test_what_was_removed_is_said_to_be_gone_unless_somebody_made_it_again(world, reader, monkeypatch, again):
    file = world.export / "f"
    file.touch()
    reader.wait_for_path(world.path("f"))
    and_then(world, monkeypatch, DeleteFile, file.touch if again else lambda: None)
    reply = world.ask(DeleteFile(world.path("f")))
    assert (reply.as_of is None) is again


def test_what_says_nothing_of_what_is_there_still_says_how_far_the_feed_was(world, reader):
    (world.export / "f").touch()
    reader.wait_for_path(world.path("f"))
    reply = world.ask(RenamePath(world.path("f"), world.path("g")))
    assert reply.as_of is not None
    until("it is told", lambda: reader.numbers_of(world.path("g")))
    assert reply.as_of.number < reader.numbers_of(world.path("g"))[0]
