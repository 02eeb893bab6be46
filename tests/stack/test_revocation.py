"""A certificate that is deleted ends what its owner has, without a restart; put back, the owner goes on."""

from __future__ import annotations

import fcntl
import os

import pytest

from tests.stack.processes import until
from tests.stack.world import DESKTOP, LAPTOP, SERVER

pytestmark = pytest.mark.timeout(90)
SHORT = {"metadata": 2.5, "data": 2.5}


def refused(path):
    """Whether the mount is shut: it answers with an error that says so, by its deadline. Any other error is raised."""
    try:
        (path / "file").read_text()
    except (TimeoutError, PermissionError):
        return True
    return False


def unreadable(descriptor):
    """Also for the kernel, which keeps pages that it read and asks whether they are current."""
    try:
        os.pread(descriptor, 100, 0)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("where", ["broker", "agent"])
def test_a_deleted_certificate_shuts_a_live_mount_and_no_other(stack, where):
    for client in (LAPTOP, DESKTOP):
        stack.write_client(client, timeouts=SHORT, attribute_seconds=0.0)
    stack.start()
    laptop, desktop = stack.mount(LAPTOP), stack.mount(DESKTOP)
    (stack.export / "file").write_text("secret")
    with (laptop.path / "file").open("rb", buffering=0) as opened:
        assert opened.read() == b"secret"
        certificate = stack.authorized(LAPTOP) if where == "broker" else stack.trusted_by(SERVER, LAPTOP)
        kept = certificate.read_bytes()
        certificate.unlink()
        until("the mount is shut", lambda: refused(laptop.path))
        (stack.export / "file").write_text("more secret")
        until("an open file is shut", lambda: unreadable(opened.fileno()))
        assert (desktop.path / "file").read_text() == "more secret"
        assert laptop.program.running

        certificate.write_bytes(kept)
        until("the mount is open again", lambda: not refused(laptop.path))
        assert os.pread(opened.fileno(), 100, 0) == b"more secret"
    assert (laptop.path / "file").read_text() == "more secret"


def test_an_agent_that_is_revoked_serves_nobody(stack):
    stack.write_client(LAPTOP, timeouts=SHORT, attribute_seconds=0.0)
    stack.start()
    mounted = stack.mount()
    (stack.export / "file").write_text("text")
    assert not refused(mounted.path)
    stack.authorized(SERVER).unlink()
    until("the mount is shut", lambda: refused(mounted.path))
    stack.authorize(SERVER)
    until("the mount is open again", lambda: not refused(mounted.path))


def test_locks_of_a_client_whose_right_ended_are_free(stack, hands):
    stack.write_client(LAPTOP, timeouts=SHORT)
    stack.start()
    mounted = stack.mount()
    (stack.export / "file").write_text("text")

    def free():
        with (stack.export / "file").open("r+b") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    file = hands(os.open, mounted.path / "file", os.O_RDWR)
    hands(fcntl.flock, file, fcntl.LOCK_EX)
    assert not free()
    stack.trusted_by(SERVER, LAPTOP).unlink()
    until("the lock is free", free)
    with pytest.raises(OSError):
        hands(os.write, file, b"X")
    assert (stack.export / "file").read_text() == "text"
