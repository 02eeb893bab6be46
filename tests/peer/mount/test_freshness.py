"""What is said of a file's freshness is true, and nothing carries it away."""

from __future__ import annotations

import re

import pytest

from peer.mount.freshness import NAME, Clocks, ToldFreshness, describe
from peer.mount.knowledge import Standing
from schema.changes import Moment
from schema.requests import CreateFile, GetXattr
from tests.conformance.driver import Files, refused
from tests.peer.mount.laptop import Laptop
from tests.peer.mount.samples import metadata
from tests.simulation.coherence.remote import NOBODY

NOON = Clocks(monotonic=500.0, epoch=1_763_899_200.0)
FILE = metadata(inode=7, size=200_000, mtime_ns=1_500_000_001, ctime_ns=-1)
STANDING = Standing(
    metadata=FILE, sure=True, covered=True, listed=False, trusted=True, moment=Moment(7, 1234), heard_at=488.0
)
VERSION = "version inode=7 size=200000 mtime=1.500000001 ctime=-1.999999999"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "current at 0000000000000007/1234"),
        ({"trusted": False}, "unknown since 2025-11-23T11:59:48Z (12 s ago)"),
        ({"trusted": False, "heard_at": None}, "unknown, the change feed was never heard"),
        ({"sure": False}, "unknown, to be asked for when it is used next"),
        ({"covered": False}, "unknown, no change feed covers it"),
    ],
)
def test_what_is_said_of_a_file(changes, said):
    standing = STANDING._replace(**changes)
    assert describe(standing, 131_072, NOON) == f"{said}; {VERSION}; cached 131072 of 200000 bytes"


def test_what_is_said_of_other_things():
    directory = metadata(mode=0o040755, inode=7, size=200_000, mtime_ns=1_500_000_001, ctime_ns=-1)
    current = f"current at 0000000000000007/1234; {VERSION}"
    assert describe(STANDING._replace(metadata=directory), None, NOON) == f"{current}; listing not cached"
    assert describe(STANDING._replace(metadata=directory, listed=True), None, NOON) == f"{current}; listing complete"
    assert describe(STANDING._replace(metadata=metadata(mode=0o120777), sure=False), None, NOON).endswith(
        "ctime=0.000000008"
    )
    assert describe(STANDING._replace(metadata=None, sure=False), None, NOON).startswith("unknown")


@pytest.fixture
def laptop():
    return Laptop()


@pytest.fixture
def files(laptop):
    told = ToldFreshness(laptop.filesystem, laptop.known, laptop.contents, lambda: Clocks(laptop.now, 0.0))
    return Files(told, caller=NOBODY)


def asked(files, where, handle=0):
    return files.filesystem.get_xattr(GetXattr(files.at(where), handle, name=NAME), NOBODY).value.decode()


def test_it_follows_what_the_feed_tells_and_asks_nobody(laptop, files):
    files.put(b"a", b"text")
    laptop.hear()
    files.get(b"a")
    files.stat(b"")
    laptop.asks()
    assert re.fullmatch(r"current at 0{15}1/\d+; .* cached 4 of 4 bytes", asked(files, b"a"))
    assert "listing not cached" in asked(files, b"")
    laptop.now += 60.0
    assert asked(files, b"a").startswith("unknown since")
    assert asked(files, b"b").startswith("unknown")
    assert laptop.asks() == []


def test_what_somebody_else_changed_is_current_in_its_new_version(laptop, files):
    files.put(b"a", b"text")
    laptop.hear()
    before = asked(files, b"a")
    laptop.remote.write(CreateFile((b"b",), 0, 0o644))
    laptop.hear()
    assert asked(files, b"a").split("; ")[1:] == before.split("; ")[1:]
    laptop.remote.overflow()
    laptop.hear()
    assert asked(files, b"a").startswith("unknown")


def test_it_is_not_listed_and_cannot_be_set_or_removed(files):
    files.put(b"a", b"text")
    assert NAME not in files.xattrs(b"a")
    with refused("EPERM"):
        files.setxattr(b"a", NAME, b"x")
    with refused("EPERM"):
        files.removexattr(b"a", NAME)
    assert asked(files, b"", handle=5) == "unknown, the file has no name any more"
