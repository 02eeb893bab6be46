"""What programs see of names on a mount that is watched, while the watcher is being told of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.stack.processes import until
from tests.stack.test_watchers import Watched

pytestmark = pytest.mark.timeout(120)
ROUNDS = 30
LOOKING = """
import json, os, sys
seen = []
print("looking", flush=True)
while not os.path.exists(sys.argv[2]):
    try:
        there = os.stat(sys.argv[1]).st_ino
    except FileNotFoundError:
        there = 0
    if seen[-1:] != [there]:
        seen.append(there)
print(json.dumps(seen))
"""
"""Looks at one name until another one is there, and says what it saw."""


@pytest.fixture
def watched(stack, tmp_path):
    watched = Watched(stack, tmp_path)
    yield watched
    watched.watcher.kill()


def test_nobody_sees_a_name_come_back_or_go_because_a_watcher_is_told_of_it(watched, tmp_path):
    watched.begin()
    name, stop = watched.export / "name", tmp_path / "stop"
    command = [sys.executable, "-c", LOOKING, watched.mount.path / "name", stop]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        try:
            assert looking.stdout.readline() == "looking\n"
            for number in range(1, ROUNDS + 1):
                name.touch()
                watched.hears("created", "name", times=number)
                name.unlink()
                watched.hears("deleted", "name", times=number)
        finally:
            stop.touch()
        seen = json.loads(looking.stdout.read())
    assert len(seen) <= 2 * ROUNDS + 1, f"it was made {ROUNDS} times, and seen to come or go {len(seen) - 1} times"


def test_what_somebody_else_does_right_after_us_is_told(watched):
    (watched.export / "draft").write_text("as a formatter there has it")
    watched.begin()
    (watched.mount.path / "file").write_text("as the user saved it")
    (watched.export / "draft").rename(watched.export / "file")
    # What replaced the file may come from a name of ours; while the file is open here still, the draft's name goes.
    mount = re.escape(str(watched.mount.path))
    moved = rf"moved {mount}/(?:draft|\.remotefs-replacing-\w+) {mount}/file"
    told = re.compile(rf"^(?:{moved}|deleted {mount}/draft ?)$", re.MULTILINE)
    until("it is told", lambda: told.search(watched.watcher.said))
    assert (watched.mount.path / "file").read_text() == "as a formatter there has it"
