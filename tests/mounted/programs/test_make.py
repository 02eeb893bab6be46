"""make trusts time stamps: it builds what is older, and nothing else."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.stack.processes import run, until

pytestmark = pytest.mark.skipif(not os.environ.get("CI") and not shutil.which("gcc"), reason="gcc is not installed")
MAKEFILE = """
program: main.o part.o
\tgcc -o $@ $^
%.o: %.c part.h
\tgcc -c -o $@ $<
"""


def make(where):
    return [line for line in run("make", cwd=where).splitlines() if line.startswith("gcc")]


def test_make_builds_what_is_older_and_nothing_else(places):
    where = places.laptop
    (where / "Makefile").write_text(MAKEFILE)
    (where / "part.h").write_text("int part(void);\n")
    (where / "part.c").write_text('#include "part.h"\nint part(void) { return 42; }\n')
    (where / "main.c").write_text('#include "part.h"\nint main(void) { return part(); }\n')
    assert len(make(where)) == 3
    run(where / "program", status=42)
    run(places.server / "program", status=42)
    assert make(where) == []
    assert make(places.desktop) == []

    # An edit at the agent is seen here, with its time.
    built = (places.server / "part.o").stat().st_mtime_ns
    (places.server / "part.c").write_text('#include "part.h"\nint part(void) { return 7; }\n')
    os.utime(places.server / "part.c", ns=(built + 1, built + 1))
    until("the edit is seen", lambda: (places.desktop / "part.c").stat().st_mtime_ns == built + 1)
    assert make(places.desktop) == ["gcc -c -o part.o part.c", "gcc -o program main.o part.o"]
    run(where / "program", status=7)
