"""From one mount to the next: what is kept, what is asked again, and what becomes of a file that is no good."""

from __future__ import annotations

import logging
import os

import pytest

from peer.certificates import OwnKeys, certificate_of, generate
from peer.errors import OperationFailed
from peer.mount.bulk_verification import BulkVerification
from peer.mount.kept_metadata.keeper import MetadataKeeper, kept_in
from schema.identity import peer_id
from schema.requests import ListDir
from tests.conformance.driver import Files
from tests.peer.agent.feed_reader import until
from tests.peer.mount.laptop import Laptop
from tests.simulation.coherence.remote import NOBODY

AGENT_KEY = b"a" * 32


def own_keys():
    own = generate(peer_id("laptop"))
    return OwnKeys(certificate_of(own), own.transport_secret, own.identity_secret)


class Mount:
    """A laptop that mounts and unmounts; the feed is followed at once."""

    def __init__(self, directory, keys):
        self.directory, self.keys = directory, keys
        self.laptop = Laptop()
        self.remote = self.laptop.remote

    @property
    def file(self):
        return kept_in(self.directory, self.keys, AGENT_KEY, ())

    def mount(self):
        laptop = self.laptop = Laptop(remote=self.remote)
        laptop.asks()
        verification = BulkVerification(laptop.known, os.urandom)
        self.keeper = MetadataKeeper(self.file, laptop.known, laptop.agent, (), NOBODY, verification=verification)
        self.keeper.start()
        return laptop

    def knows(self, *path):
        known = self.laptop.known.metadata(path)
        return known is not None and not known.suspect


@pytest.fixture
def mount(tmp_path):
    mount = Mount(tmp_path / "kept", own_keys())
    there = Files(mount.laptop.agent, caller=NOBODY)
    there.mkdir(b"d")
    for name in (b"a", b"d/x", b"d/y"):
        there.put(name, b"text")
    laptop = mount.mount()
    for path in ((), (b"d",)):
        laptop.filesystem.list_dir(ListDir(path), NOBODY)
    mount.keeper.stop()
    return mount


def test_a_known_tree_is_asked_about_by_one_question(mount):
    laptop = mount.mount()
    until("what was kept is read", lambda: laptop.known.metadata((b"d", b"x")) is not None)
    assert not mount.knows(b"d", b"x")
    mount.keeper.followed()
    until("it is verified", lambda: laptop.known.listing((b"d",)) is not None)
    mount.keeper.stop()
    assert laptop.asks() == ["VerifyMetadata"]
    assert laptop.files.names(b"d") == [b"x", b"y"]
    assert laptop.files.stat(b"d/x").size == 4
    assert laptop.asks() == []


def test_what_changed_meanwhile_is_not_what_was_kept(mount):
    there = Files(mount.laptop.agent, caller=NOBODY)
    there.put(b"d/x", b"longer text")
    there.unlink(b"d/y")
    there.put(b"new", b"")
    laptop = mount.mount()
    assert laptop.files.stat(b"d/x").size == len(b"longer text")
    assert laptop.files.names(b"d") == [b"x"]
    assert laptop.files.names() == [b"a", b"d", b"new"]
    mount.keeper.stop()


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage", "empty", "a directory"])
def test_a_file_that_is_no_good_is_said_once_and_counts_as_none(mount, damage, caplog):
    path = mount.file.path
    content = path.read_bytes()
    if damage == "a directory":
        path.unlink()
        path.mkdir()
    else:
        bent = bytearray(content)
        bent[len(bent) // 2] ^= 1
        path.write_bytes({"cut": content[:-1], "flipped": bent, "garbage": os.urandom(999), "empty": b""}[damage])
    with caplog.at_level(logging.INFO):
        laptop = mount.mount()
        laptop.files.stat(b"a")
        mount.keeper.stop()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert laptop.asks() == ["GetMetadata"]


def test_another_client_another_agent_and_another_path_find_nothing(mount):
    there = mount.directory
    assert kept_in(there, mount.keys, AGENT_KEY, ()).path.exists()
    assert not kept_in(there, own_keys(), AGENT_KEY, ()).path.exists()
    assert not kept_in(there, mount.keys, b"b" * 32, ()).path.exists()
    other = kept_in(there, mount.keys, AGENT_KEY, (b"d",))
    mount.file.path.rename(other.path)
    mount.mount()
    mount.keeper.stop()
    assert not mount.knows(b"a")


def test_a_mount_that_is_killed_leaves_what_was_saved_before(mount):
    before = mount.file.path.read_bytes()
    laptop = mount.mount()
    laptop.files.put(b"later", b"")
    assert mount.file.path.read_bytes() == before, "nothing is saved yet"
    mount.mount()
    until("what was kept is read", lambda: mount.laptop.known.metadata((b"a",)) is not None)
    assert not mount.knows(b"a")
    mount.keeper.stop()


def test_it_is_saved_now_and_then_while_something_is_learnt(mount, monkeypatch):
    monkeypatch.setattr("peer.mount.kept_metadata.keeper.SAVE_EVERY", 0.01)
    mount.file.path.unlink()
    laptop = mount.mount()
    laptop.files.stat(b"a")
    until("it is saved", mount.file.path.exists)
    mount.keeper.stop()


def test_an_agent_that_cannot_be_reached_is_not_asked_on_and_on(mount):
    laptop = mount.mount()
    until("what was kept is read", lambda: laptop.known.metadata((b"a",)) is not None)
    laptop.agent.broken = OperationFailed("ETIMEDOUT")
    mount.keeper.followed()
    until("it is asked", lambda: laptop.agent.asked)
    mount.keeper.stop()
    assert laptop.asks() == ["VerifyMetadata"]
    assert not mount.knows(b"a")


def test_what_is_not_under_watch_yet_is_asked_about_again(mount, monkeypatch):
    monkeypatch.setattr("peer.mount.kept_metadata.keeper.AGAIN_AFTER", 0.01)
    laptop = mount.mount()
    until("what was kept is read", lambda: laptop.known.metadata((b"a",)) is not None)
    mount.remote.scanning = True
    mount.keeper.followed()
    until("it is asked", lambda: laptop.agent.asked)
    mount.remote.scanning = False
    until("it is verified", lambda: laptop.known.listing((b"d",)) is not None)
    mount.keeper.stop()
    assert len(laptop.asks()) > 1


def test_without_a_file_it_verifies_and_keeps_nothing(mount):
    laptop = mount.laptop
    laptop.follow()
    laptop.asks()
    verification = BulkVerification(laptop.known, os.urandom)
    keeper = MetadataKeeper(None, laptop.known, laptop.agent, (), NOBODY, verification=verification)
    keeper.start()
    keeper.followed()
    until("it is verified", lambda: laptop.known.listing(()) is not None)
    keeper.stop()
    assert laptop.asks() == ["VerifyMetadata"]
