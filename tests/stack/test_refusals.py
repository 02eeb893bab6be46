"""Who may not mount is told why, in one sentence, and nothing is left behind."""

from __future__ import annotations

import errno
import os

import pytest

from peer.certificates import read_certificate
from schema.identity import fingerprint
from tests.stack.world import DESKTOP, LAPTOP, RELAY, SERVER

pytestmark = pytest.mark.timeout(90)
SHORT = {"metadata": 2.5, "data": 2.5}


@pytest.fixture(autouse=True)
def patience(stack):
    stack.write_client(LAPTOP, timeouts=SHORT)


def identity_of(stack, name):
    return fingerprint(read_certificate(stack.config / f"{name}.cert").identity_key)


def test_a_client_that_the_broker_does_not_know(stack):
    stack.authorized(LAPTOP).unlink()
    stack.write_broker(handshake_seconds=1.0)
    stack.start()
    said = stack.refused()
    assert f"tcp://127.0.0.1:{stack.port}" in said
    assert "does not know this peer's transport key" in said
    stack.broker.wait_for("is not authorised")


def test_a_client_that_the_agent_does_not_trust(stack):
    stack.trusted_by(SERVER, LAPTOP).unlink()
    stack.start()
    said = stack.refused()
    assert SERVER in said
    assert "refuses" in said


def test_a_client_whose_key_the_agent_knows_otherwise(stack):
    before = identity_of(stack, LAPTOP)
    stack.make_keys(LAPTOP)
    stack.authorize(LAPTOP)
    stack.start()
    said = stack.refused()
    assert SERVER in said
    assert "refuses" in said
    # The agent's operator learns both keys.
    stack.agent.wait_for(before)
    assert identity_of(stack, LAPTOP) in stack.agent.said


def test_an_agent_that_this_client_does_not_trust(stack):
    stack.trusted_by(LAPTOP, SERVER).unlink()
    stack.start()
    assert f"'{SERVER}' is not trusted" in stack.refused()


def test_an_agent_whose_key_changed(stack):
    pinned = identity_of(stack, SERVER)
    stack.make_keys(SERVER)
    stack.authorize(SERVER)
    stack.start()
    said = stack.refused()
    assert SERVER in said
    assert pinned in said
    assert identity_of(stack, SERVER) in said


def test_a_relay_whose_key_is_not_the_pinned_one(stack):
    stack.start()
    stack.make_keys("other")
    (stack.config / f"{RELAY}.cert").write_bytes((stack.config / "other.cert").read_bytes())
    said = stack.refused()
    assert f"tcp://127.0.0.1:{stack.port}" in said
    assert "its own key is not the one that is pinned here" in said


def test_a_client_and_an_agent_that_are_no_pair(stack):
    stack.write_broker(pairs=(DESKTOP,))
    stack.start()
    said = stack.refused()
    assert LAPTOP in said
    assert SERVER in said
    assert "pair" in said


def test_an_agent_that_is_not_there(stack):
    stack.start_broker()
    said = stack.refused()
    assert SERVER in said
    assert "not" in said


def test_a_broker_that_is_not_there(stack):
    assert f"tcp://127.0.0.1:{stack.port}" in stack.refused()


def test_a_directory_that_is_not_exported(stack):
    stack.start()
    secret = stack.home / "secret"
    secret.mkdir()
    (stack.export / "way out").symlink_to(secret)
    missing = stack.export / "missing"
    for remote in (secret, stack.home, stack.export / "way out", missing):
        assert f"{SERVER}:{remote} cannot be mounted by {LAPTOP}: " in stack.refused(remote=remote)


def test_what_is_below_the_export_can_be_mounted_and_what_is_beside_it_is_not_reached(stack):
    (stack.export / "below").mkdir()
    (stack.export / "beside").write_text("secret")
    (stack.export / "below" / "link").symlink_to("../beside")
    stack.start()
    mounted = stack.mount(remote=stack.export / "below")
    (mounted.path / "file").write_text("here")
    assert (stack.export / "below" / "file").read_text() == "here"
    # The link is data: the kernel follows it on this machine, where nothing is beside the mount.
    assert os.readlink(mounted.path / "link") == "../beside"
    with pytest.raises(FileNotFoundError):
        (mounted.path / "link").read_text()


def test_a_read_only_path(stack):
    frozen = stack.export / "frozen"
    frozen.mkdir()
    (frozen / "file").write_text("as it was")
    stack.write_agent(read_only_paths=[str(frozen)])
    stack.start()
    mounted = stack.mount()
    here = mounted.path / "frozen"
    changes = [
        lambda: (here / "new").touch(),
        lambda: (here / "file").write_text("changed"),
        lambda: (here / "file").unlink(),
        lambda: (here / "file").rename(mounted.path / "elsewhere"),
        lambda: (here / "file").chmod(0o600),
        lambda: (here / "below").mkdir(),
        lambda: os.truncate(here / "file", 0),
        lambda: os.setxattr(here / "file", "user.a", b"b"),
        lambda: os.link(here / "file", mounted.path / "elsewhere"),
        lambda: here.rename(mounted.path / "elsewhere"),
        lambda: here.rmdir(),
    ]
    for change in changes:
        with pytest.raises(OSError) as raised:
            change()
        assert raised.value.errno == errno.EROFS
    assert (here / "file").read_text() == "as it was"
    (mounted.path / "file").write_text("beside it all is as ever")
    assert sorted(os.listdir(stack.export)) == ["file", "frozen"]
    assert os.listdir(frozen) == ["file"]

    whole = stack.mount(remote=frozen)
    with pytest.raises(OSError) as raised:
        (whole.path / "new").touch()
    assert raised.value.errno == errno.EROFS


def test_a_mount_point_that_cannot_be_one(stack):
    stack.start()
    mounted = stack.mount()
    (mounted.path / "full").mkdir()
    (mounted.path / "full" / "file").touch()
    for local, word in (
        (stack.home / "nowhere", "nowhere"),
        (stack.config, "not empty"),
        (stack.home / "audit.jsonl", "director"),
    ):
        assert word in stack.refused(local=local)
