"""access(2) is asked once for each state of a file."""

from __future__ import annotations

import os

import pytest

from peer.errors import OperationFailed
from peer.mount.known_access import KnownAccess
from schema.requests import CheckAccess, CreateFile, GetMetadata, SetMetadata
from tests.peer.mount.laptop import Laptop
from tests.simulation.coherence.remote import NOBODY

A = (b"a",)


@pytest.fixture
def laptop():
    laptop = Laptop()
    laptop.remote.write(CreateFile(A, os.O_RDWR | os.O_CREAT, 0o600))
    laptop.hear()
    laptop.access = KnownAccess(laptop.filesystem, laptop.known)
    laptop.filesystem.get_metadata(GetMetadata(A), NOBODY)
    laptop.asks()
    return laptop


def check(laptop, mode):
    laptop.access.check_access(CheckAccess(A, mode=mode), NOBODY)
    return laptop.asks()


def test_what_was_granted_is_not_asked_again(laptop):
    assert check(laptop, os.R_OK) == ["CheckAccess"]
    assert check(laptop, os.R_OK) == []
    assert check(laptop, os.W_OK) == ["CheckAccess"]
    assert check(laptop, os.R_OK | os.W_OK) == []


def test_a_change_of_the_file_has_it_asked_again(laptop):
    check(laptop, os.R_OK)
    laptop.remote.write(SetMetadata(A, mode=0o400))
    laptop.hear()
    assert check(laptop, os.R_OK) == ["CheckAccess"]
    assert check(laptop, os.R_OK) == []


def test_while_the_feed_is_not_trusted_it_is_asked(laptop):
    check(laptop, os.R_OK)
    laptop.now += 60
    assert check(laptop, os.R_OK) == ["CheckAccess"]


def test_a_refusal_is_asked_for_again(laptop):
    laptop.agent.broken = OperationFailed("EACCES", "")
    for _ in range(2):
        with pytest.raises(OperationFailed):
            check(laptop, os.R_OK)
        assert laptop.asks() == ["CheckAccess"]
