"""Verifying in bulk: what a client may not see or say is answered as such, and what is said is covered or not."""

from __future__ import annotations

import os

import pytest

from peer.agent.watched_tree import NOT_COVERED
from schema.fingerprints import SALT_SIZE, canonical, fingerprint, fingerprint_of_all
from schema.known_names import KnownDirectory, KnownName
from schema.limits import MAX_COMPARED, MAX_PAGE_ENTRIES
from schema.replies import Failure, VerifiedMetadata
from schema.requests import VerifyMetadata
from tests.peer.agent.feed_reader import until

SALT = b"s" * SALT_SIZE


def question(*directories, names=()):
    return VerifyMetadata(SALT, directories, names)


def known(world, *names):
    return KnownName(names[-1].encode(), fingerprint(canonical(world.stat(*names).metadata), SALT))


def test_what_is_as_it_was_known_takes_no_bytes_and_is_covered(world, reader):
    names = (known(world, "d", "f"), KnownName(b"missing", None))
    answer = world.ask(question(KnownDirectory(world.path("d"), 2, whole=True), names=names))
    assert isinstance(answer, VerifiedMetadata)
    assert (answer.changed, answer.appeared) == ((), ())
    assert [(each.found, each.covered, each.complete) for each in answer.directories] == [(True, True, True)]
    assert answer.as_of == reader.moment


def test_each_directory_is_covered_by_itself(world, reader):
    world.watcher.doubts.raise_for(world.path("d"))
    assert world.watcher.coverage(world.path("d", "f")) == NOT_COVERED
    answer = world.ask(question(KnownDirectory(world.path(), 0), KnownDirectory(world.path("d"), 0)))
    assert [each.covered for each in answer.directories] == [True, False]
    world.settle(reader)
    until("the doubt is settled", lambda: world.watcher.coverage(world.path("d", "f")).name)


def test_a_change_after_it_was_verified_is_told(world, reader):
    world.ask(question(KnownDirectory(world.path("d"), 1), names=(known(world, "d", "f"),)))
    os.utime(world.export / "d" / "f", ns=(1, 1))
    changes = world.settle(reader)
    assert [change.path for change in changes] == [world.path("d", "f")]


def test_nothing_is_said_of_what_may_not_be_seen_or_is_no_directory(world, reader):
    paths = ((b"etc",), world.path("missing"), world.path("d", "f"))
    names = (KnownName(b"passwd", None), KnownName(b"a", None), KnownName(b"b", None))
    answer = world.ask(question(*(KnownDirectory(path, 1, whole=True) for path in paths), names=names))
    assert [each.found for each in answer.directories] == [False] * 3
    assert (answer.changed, answer.appeared) == ((), ())


def test_a_symbolic_link_is_not_followed(world, reader):
    (world.export / "link").symlink_to("/etc")
    answer = world.ask(question(KnownDirectory(world.path("link"), 0, whole=True)))
    assert [each.found for each in answer.directories] == [False]


@pytest.mark.parametrize("name", [b"..", b".", b"../../etc/passwd", b"a/b", b"a\0b"])
def test_what_is_no_name_leads_nowhere(world, reader, name):
    answer = world.ask(question(KnownDirectory(world.path("d"), 1), names=(KnownName(name, 1),)))
    assert isinstance(answer, Failure)
    assert answer.code == "EINVAL"


def test_a_directory_that_is_compared_is_covered_as_any_other(world, reader):
    entry = (b"f", canonical(world.stat("d", "f").metadata))
    for fingerprint_now in (fingerprint_of_all([entry], SALT), 7):
        answer = world.ask(question(KnownDirectory(world.path("d"), 1, fingerprint=fingerprint_now)))
        (said,) = answer.directories
        assert (said.found, said.covered, said.complete) == (True, True, fingerprint_now != 7)
        assert (answer.changed, answer.appeared) == ((), ())


def test_no_more_is_compared_than_an_agent_has_time_for(world, reader):
    directory = KnownDirectory(world.path("d"), MAX_COMPARED, fingerprint=1)
    assert isinstance(world.ask(question(directory)), VerifiedMetadata)
    answer = world.ask(question(directory, KnownDirectory(world.path("d"), 1, fingerprint=1)))
    assert answer.code == "MALFORMED"


@pytest.mark.parametrize("counts", [(), (1,), (1, 2)])
def test_counts_that_do_not_fit_the_names_are_refused(world, reader, counts):
    directories = (KnownDirectory(world.path("d"), count) for count in counts)
    answer = world.ask(question(*directories, names=(KnownName(b"a", 1), KnownName(b"b", 1))))
    assert isinstance(answer, Failure)
    assert answer.code == "MALFORMED"


def test_of_too_many_new_names_none_is_told(world, reader, monkeypatch):
    monkeypatch.setattr("peer.agent.verification.MAX_PAGE_ENTRIES", 3)
    for name in ("a", "b", "c", "d2"):
        (world.export / "d" / name).touch()
    asked = KnownDirectory(world.path("d"), 0, whole=True)
    answer = world.ask(question(asked, KnownDirectory(world.path(), 0, whole=True)))
    assert [each.complete for each in answer.directories] == [False, True]
    assert {each.name for each in answer.appeared} == {b"d"}
    assert MAX_PAGE_ENTRIES > 3
