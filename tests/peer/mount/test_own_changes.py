"""What our own changes make of what is known of the same file by another name than they were made by."""

from __future__ import annotations

import os

import pytest

from schema.replies import Following
from schema.requests import CreateLink, GetXattr, RenamePath, SetMetadata, SetXattr
from tests.conformance.driver import Files
from tests.peer.mount.laptop import Laptop
from tests.simulation.coherence.remote import NOBODY

A, B = (b"a",), (b"b",)


@pytest.fixture
def laptop():
    laptop = Laptop()
    laptop.files.put(b"a", b"text")
    laptop.hear()
    return laptop


@pytest.fixture
def handle(laptop):
    return laptop.files.open(b"a", os.O_RDWR)


def meanwhile(laptop, method, act):
    """Before the next answer of `method` is here, but after it was looked up, `act` is done."""
    slow = getattr(laptop.agent, method)

    def answer(request, caller):
        setattr(laptop.agent, method, slow)
        try:
            return slow(request, caller)
        finally:
            act()

    setattr(laptop.agent, method, answer)


def silently(laptop):
    """Somebody else renames the file, and the feed has not told of it."""
    laptop.remote.write(RenamePath(A, B))


def change(laptop, handle, how):
    if how == "write":
        laptop.files.write(handle, 0, b"longer than that")
    elif how == "truncate":
        laptop.filesystem.set_metadata(SetMetadata(handle=handle, size=1), NOBODY)
    else:
        laptop.filesystem.set_metadata(SetMetadata(handle=handle, mode=0o600), NOBODY)


CHANGES = pytest.mark.parametrize("how", ["write", "truncate", "chmod"])


def is_right(laptop, name):
    assert laptop.files.stat(name) == Files(laptop.agent, caller=NOBODY).stat(name)


@CHANGES
def test_by_a_handle_of_a_file_that_was_renamed_and_is_known_so(laptop, handle, how):
    silently(laptop)
    laptop.files.stat(b"b")
    change(laptop, handle, how)
    is_right(laptop, b"b")


@CHANGES
def test_by_a_handle_while_the_file_is_looked_up_by_its_new_name(laptop, handle, how):
    silently(laptop)
    meanwhile(laptop, "get_metadata", lambda: change(laptop, handle, how))
    laptop.files.stat(b"b")
    is_right(laptop, b"b")


@CHANGES
def test_by_a_handle_before_the_feed_tells_of_the_new_name_as_it_was(laptop, handle, how):
    laptop.files.names()
    silently(laptop)
    laptop.remote.notice()
    change(laptop, handle, how)
    told = laptop.remote.outbox[:]
    laptop.remote.outbox[:] = told[:-1]
    laptop.hear()
    is_right(laptop, b"b")


@CHANGES
def test_by_a_handle_while_the_directory_is_listed(laptop, handle, how):
    silently(laptop)
    meanwhile(laptop, "list_dir", lambda: change(laptop, handle, how))
    laptop.files.names()
    is_right(laptop, b"b")


@CHANGES
def test_by_a_handle_while_what_is_known_is_verified(laptop, handle, how):
    silently(laptop)
    laptop.hear()
    laptop.files.stat(b"b")
    laptop.follow()
    meanwhile(laptop, "verify_metadata", lambda: change(laptop, handle, how))
    laptop.files.stat(b"b")
    is_right(laptop, b"b")


@CHANGES
def test_while_the_feed_is_not_followed_is_newer_than_what_it_tells_then(laptop, handle, how):
    laptop.remote.write(SetMetadata(A, mode=0o640))
    started = laptop.remote.number
    laptop.known.lose()
    laptop.remote.notice()
    change(laptop, handle, how)
    told = [batch for batch in laptop.remote.outbox if batch.first <= started + 1]
    following = Following(b"t" * 16, b"k" * 32, laptop.remote.epoch, started + 1, 2.0, laptop.now)
    laptop.known.follow(following, laptop.now)
    for batch in told:
        laptop.known.take(batch, laptop.now)
    is_right(laptop, b"a")


def test_an_attribute_set_by_a_handle_is_seen_at_the_new_name(laptop, handle):
    silently(laptop)
    laptop.hear()
    laptop.filesystem.set_xattr(SetXattr(B, name=b"user.x", value=b"old"), NOBODY)
    laptop.hear()
    laptop.files.stat(b"b")
    laptop.files.getxattr(b"b", b"user.x")
    laptop.filesystem.set_xattr(SetXattr((), handle, name=b"user.x", value=b"new"), NOBODY)
    assert laptop.files.getxattr(b"b", b"user.x") == b"new"


def test_an_attribute_that_was_asked_for_by_the_new_name_meanwhile_is_not_kept(laptop, handle):
    silently(laptop)
    laptop.hear()
    laptop.files.stat(b"b")
    set_by_handle = SetXattr((), handle, name=b"user.x", value=b"new")
    laptop.filesystem.set_xattr(SetXattr(B, name=b"user.x", value=b"old"), NOBODY)
    laptop.files.stat(b"b")

    def set_and_look():
        laptop.filesystem.set_xattr(set_by_handle, NOBODY)
        laptop.files.stat(b"b")

    meanwhile(laptop, "get_xattr", set_and_look)
    laptop.filesystem.get_xattr(GetXattr(B, name=b"user.x"), NOBODY)
    assert laptop.files.getxattr(b"b", b"user.x") == b"new"


def test_an_answer_without_a_moment_is_not_kept_where_another_epoch_was_followed_meanwhile(laptop):
    laptop.remote.write(CreateLink(A, B))
    laptop.hear()
    laptop = Laptop(remote=laptop.remote)

    def the_agent_starts_again():
        laptop.remote.write(SetMetadata(B, mode=0o600))
        laptop.remote.overflow()
        laptop.follow()

    meanwhile(laptop, "get_metadata", the_agent_starts_again)
    laptop.files.stat(b"a")
    is_right(laptop, b"a")


@pytest.mark.parametrize(
    "act",
    [
        lambda files: files.unlink(b"b"),
        lambda files: files.rename(b"b", b"c"),
        lambda files: files.setxattr(b"b", b"user.x", b"1"),
        lambda files: files.change(b"b", mode=0o600),
    ],
    ids=["unlink", "rename", "setxattr", "chmod"],
)
def test_by_a_second_name_that_was_looked_up(laptop, act):
    laptop = Laptop(remote=laptop.remote)

    def somebody_links_it():
        laptop.remote.write(CreateLink(A, B))
        laptop.files.stat(b"b")

    meanwhile(laptop, "get_metadata", somebody_links_it)
    laptop.files.stat(b"a")
    act(laptop.files)
    is_right(laptop, b"a")
