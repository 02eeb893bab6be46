"""Verifying in bulk, from the client's side: what is asked, and what is believed of the answer."""

from __future__ import annotations

import os

import pytest

from peer.mount.bulk_verification import FEW, BulkVerification
from peer.mount.metadata_cache import Known
from schema.requests import ListDir
from tests.conformance.driver import Files, refused
from tests.peer.mount.laptop import Laptop
from tests.simulation.coherence.remote import NOBODY


@pytest.fixture
def laptop():
    """Knows all of a small tree, and has lost the feed and found it again."""
    laptop = Laptop()
    laptop.files.mkdir(b"d")
    for name in (b"a", b"d/x", b"d/y"):
        laptop.files.put(name, b"text")
    laptop.hear()
    for path in ((), (b"d",)):
        laptop.filesystem.list_dir(ListDir(path), NOBODY)
    laptop.follow()
    laptop.asks()
    return laptop


def verify(laptop, meanwhile=lambda: None, few=FEW):
    walk = BulkVerification(laptop.known, os.urandom, few=few)
    walk.begin(())
    while walk.walking:
        question = walk.next()
        if question is not None:
            answer = laptop.agent.verify_metadata(question.request, NOBODY)
            meanwhile()
            walk.answered(question, answer)


def listed(laptop, path):
    listing = laptop.known.listing(path)
    return None if listing is None else [name for name, _ in listing]


@pytest.mark.parametrize("few", [FEW, 0])
def test_a_known_tree_is_verified_by_one_question(laptop, few):
    assert listed(laptop, ()) is None
    verify(laptop, few=few)
    assert laptop.asks() == ["VerifyMetadata"]
    for name in (b"a", b"d", b"d/x"):
        laptop.files.stat(name)
    with refused("ENOENT"):
        laptop.files.stat(b"d/none")
    assert laptop.files.names(b"d") == [b"x", b"y"]
    assert laptop.asks() == []


@pytest.mark.parametrize(("few", "questions"), [(FEW, 1), (0, 2)])
def test_what_changed_meanwhile_is_learnt_by_it(laptop, few, questions):
    there = Files(laptop.agent, caller=NOBODY)
    there.put(b"d/x", b"other text")
    there.unlink(b"d/y")
    there.put(b"d/new", b"")
    laptop.follow()
    laptop.asks()
    verify(laptop, few=few)
    assert laptop.asks() == ["VerifyMetadata"] * questions
    assert laptop.files.stat(b"d/x").size == len(b"other text")
    assert listed(laptop, (b"d",)) == [b"new", b"x"]
    assert laptop.known.metadata((b"d", b"y")) == Known(None, suspect=False)
    assert laptop.asks() == []


@pytest.mark.parametrize("few", [FEW, 0])
def test_what_changes_while_the_answer_is_on_its_way_is_not_believed(laptop, few):
    verify(laptop, few=few, meanwhile=lambda: (laptop.files.put(b"d/x", b"changed"), laptop.hear()))
    assert laptop.files.stat(b"d/x").size == len(b"changed")
    assert listed(laptop, ()) is None, "d is in it, and was touched"
    assert laptop.known.metadata((b"a",)).suspect is False


def test_a_directory_that_went_takes_all_with_it(laptop):
    there = Files(laptop.agent, caller=NOBODY)
    there.unlink(b"d/x")
    there.unlink(b"d/y")
    there.rmdir(b"d")
    there.put(b"d", b"a file now")
    laptop.follow()
    verify(laptop)
    laptop.asks()
    assert laptop.files.stat(b"d").size == len(b"a file now")
    assert laptop.asks() == []
    assert laptop.known.metadata((b"d", b"x")) is None


def test_a_listing_that_is_known_is_asked_about_and_not_for(laptop):
    assert laptop.files.names(b"d") == [b"x", b"y"]
    assert laptop.asks() == ["VerifyMetadata"]


def test_a_listing_that_lost_a_name_meanwhile_is_not_complete(laptop):
    walk = BulkVerification(laptop.known, os.urandom)
    question = walk.about_names((b"d",))
    answer = laptop.agent.verify_metadata(question.request, NOBODY)
    laptop.files.unlink(b"d/x")
    walk.answered(question, answer)
    assert listed(laptop, (b"d",)) is None
    assert laptop.known.metadata((b"d", b"none")) is None


def test_many_names_are_verified_in_parts(laptop, monkeypatch):
    monkeypatch.setattr("peer.mount.bulk_verification.MAX_PAGE_ENTRIES", 2)
    verify(laptop)
    assert laptop.asks() == ["VerifyMetadata"] * 2
    assert laptop.known.metadata((b"d", b"x")).suspect is False
    assert listed(laptop, ()) == [b"a", b"d"]


def test_a_directory_is_asked_about_without_naming_what_is_in_it(laptop):
    walk = BulkVerification(laptop.known, os.urandom, few=1)
    walk.begin(())
    question = walk.next()
    assert question.request.names == ()
    assert [(each.path, each.count) for each in question.request.directories] == [((), 2), ((b"d",), 2)]
    assert all(each.fingerprint is not None for each in question.request.directories)
