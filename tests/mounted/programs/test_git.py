"""git on the mount: clone, commit, gc, fsck; and an index that it can trust."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.stack.processes import run, until

FILES = 40
_AUTHOR = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(where, *arguments):
    return run("git", "-C", where, *arguments, **_AUTHOR)


@pytest.fixture
def origin(tmp_path):
    """A repository on a local disk."""
    origin = tmp_path / "origin"
    git(tmp_path, "init", "-q", "-b", "main", origin)
    for number in range(FILES):
        file = origin / f"d{number % 5}" / f"f{number}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{number}\n" * number)
    (origin / "program").write_text("#!/bin/sh\n")
    (origin / "program").chmod(0o755)
    (origin / "link").symlink_to("d0/f0")
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "first")
    return origin


def test_a_repository_is_cloned_worked_in_packed_and_sound(places, origin):
    clone = places.laptop / "clone"
    git(places.laptop, "clone", "-q", f"file://{origin}", "clone")
    assert git(clone, "status", "--porcelain") == ""
    (clone / "d0" / "f0").write_text("changed\n")
    (clone / "new").write_text("new\n")
    (clone / "d1" / "f1").unlink()
    git(clone, "mv", "d2/f2", "d3/moved")
    assert git(clone, "status", "--porcelain").split() == [
        "M",
        "d0/f0",
        "D",
        "d1/f1",
        "R",
        "d2/f2",
        "->",
        "d3/moved",
        "??",
        "new",
    ]
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "second")
    git(clone, "branch", "side", "HEAD~1")
    git(clone, "checkout", "-q", "side")
    assert (clone / "d1" / "f1").read_text() == "1\n"
    git(clone, "checkout", "-q", "main")
    git(clone, "gc", "-q", "--prune=now")
    assert git(clone, "fsck", "--strict", "--full") == ""
    assert git(clone, "status", "--porcelain") == ""
    # What is there is a repository for others too: for the other client, and for the agent's own machine.
    for seen in (places.desktop, places.server):
        assert git(seen / "clone", "-c", "safe.directory=*", "status", "--porcelain") == ""
        assert git(seen / "clone", "-c", "safe.directory=*", "log", "--format=%s").split() == ["second", "first"]
    git(origin, "pull", "-q", f"file://{clone}", "main")
    assert (origin / "new").read_text() == "new\n"


def opened_until_now(world, places, mark):
    """Paths below the test's directory that clients opened, by the agent's audit log up to an open of our own."""
    audit = world.stack.audit
    (places.laptop / mark).write_text("")
    opened: list[str] = []

    def complete():
        opened[:] = [
            entry["path"]
            for entry in map(json.loads, audit.read_text().splitlines())
            if entry["operation"] in ("OpenFile", "CreateFile") and str(places.server) in entry["path"]
        ]
        return str(places.server / mark) in opened

    until("the audit log has the mark", complete)
    return opened


def test_status_trusts_its_index_and_opens_no_file_again(world, places, origin):
    clone = places.laptop / "clone"
    git(places.laptop, "clone", "-q", f"file://{origin}", "clone")
    long_ago = time.time() - 1000
    for directory, _, names in os.walk(clone):
        for name in names:
            if ".git" not in directory:
                os.utime(os.path.join(directory, name), (long_ago, long_ago), follow_symlinks=False)
    git(clone, "status")
    before = len(opened_until_now(world, places, "before"))
    index = (clone / ".git" / "index").stat().st_mtime_ns
    assert git(clone, "-c", "core.checkStat=default", "status", "--porcelain") == ""
    assert (clone / ".git" / "index").stat().st_mtime_ns == index
    opened = opened_until_now(world, places, "after")[before:]
    assert [path for path in opened if "/clone/" in path and "/.git/" not in path] == []
    assert any("/.git/" in path for path in opened)
    for name in ("d0/f0", "program"):
        here, there = (clone / name).stat(), (places.server / "clone" / name).stat()
        assert (here.st_ino, here.st_mtime_ns, here.st_ctime_ns) == (there.st_ino, there.st_mtime_ns, there.st_ctime_ns)
