"""A mount that comes back knows what the last one knew, shows none of it that is not so any more, and asks little."""

from __future__ import annotations

import os
import re
import stat
import urllib.request
from collections import Counter

import pytest

from tests.stack.processes import until

pytestmark = pytest.mark.timeout(120)
DIRECTORIES, FILES = 12, 20
VERIFIED = "what was known of names is verified"
"""What a mount logs. Who looks before that has what he looks at asked for."""
_COUNT = re.compile(r'remotefs_agent_requests_total{kind="(\w+)",outcome="(\w+)"} (\S+)')


@pytest.fixture
def tree(stack):
    """An export that a mount has seen all of, and that nobody has mounted now."""
    for number in range(DIRECTORIES):
        directory = stack.export / f"d{number}"
        directory.mkdir()
        for each in range(FILES):
            (directory / f"f{each}").write_text(f"{number} {each}")
        (directory / "link").symlink_to("f0")
    stack.write_agent(feed={"heartbeat_seconds": 0.3})
    stack.start()
    mounted = stack.mount()
    until("all is known", lambda: not listings(stack, lambda: seen(mounted.path)))
    mounted.program.stop()
    return stack.export


def asked(stack):
    """What the agent has answered since it was started, by kind."""
    with urllib.request.urlopen(f"http://{stack.metrics}/metrics", timeout=10) as page:
        lines = _COUNT.findall(page.read().decode())
    counts = Counter()
    for kind, _, count in lines:
        counts[kind] += int(float(count))
    return counts


def listings(stack, look):
    """How many directories the agent listed for `look`."""
    before = asked(stack)["ListDir"]
    look()
    return asked(stack)["ListDir"] - before


def seen(top, *, contents=False):
    """All that stat(2) and readlink(2) say of a tree, but for what differs between a mount and what it shows."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            said = [status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            if stat.S_ISLNK(status.st_mode):
                said.append(os.readlink(path))
            elif contents and stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    said.append(file.read())
            found[os.path.relpath(path, top)] = said
    return found


def change(export):
    """One change of each kind, none of which shows in what another one would."""
    status = os.stat(export / "d0" / "f0")
    (export / "d0" / "f0").write_text("X 0")
    os.utime(export / "d0" / "f0", ns=(status.st_atime_ns, status.st_mtime_ns))  # as large and as old as before
    (export / "d1" / "new").write_text("new")
    (export / "d2" / "f2").unlink()
    (export / "d3" / "f3").rename(export / "d3" / "g3")
    (export / "d4" / "f4").rename(export / "d5" / "f5")
    for name in os.listdir(export / "d6"):
        (export / "d6" / name).unlink()
    (export / "d6").rmdir()
    (export / "d6").write_text("a file now")
    (export / "d7" / "f7").unlink()
    (export / "d7" / "f7").mkdir()
    (export / "d7" / "f7" / "within").touch()
    (export / "d8" / "f8").chmod(0o600)
    (export / "d9" / "link").unlink()
    (export / "d9" / "link").symlink_to("f9")
    (export / "d10").rename(export / "away")
    (export / "d11").rename(export / "d10")


def test_a_known_tree_is_asked_about_and_not_for(stack, tree):
    before = asked(stack)
    mounted = stack.mount()
    mounted.program.wait_for(VERIFIED)
    assert seen(mounted.path) == seen(tree)
    news = asked(stack) - before
    assert news["VerifyMetadata"] > 0
    assert news["ListDir"] == 0
    assert news["GetMetadata"] < DIRECTORIES
    assert news["VerifyMetadata"] < DIRECTORIES


def test_what_changed_meanwhile_is_seen_at_the_first_look(stack, tree):
    change(tree)
    mounted = stack.mount()
    assert seen(mounted.path, contents=True) == seen(tree, contents=True)


def test_a_mount_that_was_killed_knows_what_the_one_before_it_knew(stack, tree):
    mounted = stack.mount()
    (tree / "d2" / "f9").write_text("seen by the one that is killed")
    until("it sees that", lambda: seen(mounted.path) == seen(tree))
    mounted.kill()
    change(tree)
    again = stack.mount()
    assert seen(again.path, contents=True) == seen(tree, contents=True)


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_file_is_as_good_as_none(stack, tree, damage):
    (kept,) = (stack.home / "laptop-cache" / "metadata").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    content = kept.read_bytes()
    kept.write_bytes(content[:-7] if damage == "cut" else os.urandom(len(content)))
    change(tree)
    mounted = stack.mount()
    assert seen(mounted.path, contents=True) == seen(tree, contents=True)
    mounted.program.wait_for("what was known of names is not kept")
    mounted.program.stop()
    assert mounted.program.said.count("what was known of names is not kept") == 1
    assert kept.read_bytes() != content, "the next mount finds a good one"


def test_an_agent_that_was_restarted_is_asked_about_what_is_known(stack, tree):
    mounted = stack.mount()
    assert seen(mounted.path) == seen(tree)
    mounted.program.wait_for(VERIFIED)
    stack.agent.kill()
    verified = mounted.program.said.count(VERIFIED)
    (tree / "d1" / "f1").write_text("written while nobody watched")
    stack.start_agent()
    stack.agent.wait_for("directories under watch")
    until("the agent was asked what holds", lambda: mounted.program.said.count(VERIFIED) > verified)
    assert asked(stack)["VerifyMetadata"]
    assert seen(mounted.path) == seen(tree)
    assert asked(stack)["ListDir"] == 0
