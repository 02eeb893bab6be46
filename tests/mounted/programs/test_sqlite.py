"""SQLite: several processes write one database, and it is whole at the end with every row in it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

ROWS = 25
WRITER = f"""
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
print("ready", flush=True)
sys.stdin.readline()
for number in range({ROWS}):
    base.execute("BEGIN IMMEDIATE")
    count = base.execute("SELECT count(*) FROM rows").fetchone()[0]
    base.execute("INSERT INTO rows VALUES (?, ?, ?)", (sys.argv[2], count, "x" * 500))
    base.execute("COMMIT")
base.close()
"""


def write_at_once(databases):
    """Let one process write through each of the paths, all beginning together."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, path in enumerate(databases)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            said, _ = writer.communicate(timeout=50)
            assert writer.returncode == 0, said
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate(timeout=10)


def check(path, writers):
    with closing(sqlite3.connect(path, timeout=10)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert base.execute("SELECT writer, count(*) FROM rows GROUP BY writer ORDER BY writer").fetchall() == [
            (str(writer), ROWS) for writer in range(writers)
        ]
        # Each saw all that was there before it: no count came twice.
        assert base.execute("SELECT DISTINCT seen FROM rows ORDER BY seen").fetchall() == [
            (number,) for number in range(writers * ROWS)
        ]


def make(path, journal):
    with closing(sqlite3.connect(path, timeout=10)) as base:
        assert base.execute(f"PRAGMA journal_mode={journal}").fetchone() == (journal,)
        base.execute("CREATE TABLE rows (writer TEXT, seen INTEGER, filler TEXT)")
        base.commit()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_two_writers_on_one_mount(places, journal):
    make(places.laptop / "base", journal)
    write_at_once([places.laptop / "base"] * 2)
    check(places.laptop / "base", 2)
    check(places.server / "base", 2)


def test_writers_on_two_mounts_and_at_the_agent(places):
    make(places.desktop / "base", "delete")
    write_at_once([places.laptop / "base", places.desktop / "base", places.server / "base"])
    for seen in (places.laptop, places.desktop, places.server):
        check(seen / "base", 3)
