"""Files with several names: the kernel caches each apart, and each must tell the truth at once."""

from __future__ import annotations

import os
import threading

import pytest


def seen(here, *names):
    return [(os.stat(here / name).st_nlink, os.stat(here / name).st_ino) for name in names]


def test_all_names_have_one_inode_and_count_the_links(here, there):
    (here / "a").write_bytes(b"one")
    (here / "directory").mkdir()
    os.link(here / "a", here / "b")
    os.link(here / "b", here / "directory" / "c")
    inode = os.stat(there / "a").st_ino
    names = ("a", "b", "directory/c")
    assert seen(here, *names) == [(3, inode)] * 3
    os.unlink(here / "b")
    assert seen(here, "a", "directory/c") == [(2, inode)] * 2
    os.rename(here / "directory", here / "moved")
    os.unlink(here / "a")
    assert seen(here, "moved/c") == [(1, inode)]


def test_a_change_through_one_name_is_seen_through_the_others(here):
    (here / "a").write_bytes(b"before")
    os.link(here / "a", here / "b")
    assert [os.stat(here / name).st_size for name in "ab"] == [6, 6]
    assert (here / "b").read_bytes() == b"before"
    os.chmod(here / "a", 0o640)
    assert os.stat(here / "b").st_mode & 0o777 == 0o640
    os.utime(here / "b", ns=(1, 2))
    assert os.stat(here / "a").st_mtime_ns == 2
    with (here / "a").open("ab") as file:
        file.write(b" and after")
        file.flush()
        assert os.stat(here / "b").st_size == 16
    assert (here / "b").read_bytes() == b"before and after"
    os.truncate(here / "b", 3)
    assert os.stat(here / "a").st_size == 3


def test_replacing_one_name_leaves_one_link_less(here):
    (here / "a").write_bytes(b"a")
    os.link(here / "a", here / "b")
    (here / "new").write_bytes(b"new")
    assert os.stat(here / "a").st_nlink == 2
    os.rename(here / "new", here / "b")
    assert os.stat(here / "a").st_nlink == 1


def test_an_open_file_that_lost_one_name_counts_the_other(here):
    (here / "a").write_bytes(b"a")
    os.link(here / "a", here / "b")
    with (here / "a").open("rb") as file:
        os.unlink(here / "a")
        assert os.fstat(file.fileno()).st_nlink == 1
        assert os.stat(here / "b").st_nlink == 1
        os.unlink(here / "b")
        assert os.fstat(file.fileno()).st_nlink == 0


@pytest.mark.timeout(60)
def test_hammering_all_names_at_once_ends(here, there):
    """Writers, readers, linkers and removers on the names of one file: nothing may wait for ever."""
    (here / "a").write_bytes(b"x" * 40_000)
    for name in "bcd":
        os.link(here / "a", here / name)
    failures = []

    def run(work):
        try:
            for number in range(60):
                work(number)
        except OSError as failure:
            failures.append(failure)

    def write(name):
        def work(number):
            with (here / name).open("rb+") as file:
                file.seek(number * 500)
                file.write(b"y" * 3000)

        return work

    def read(name):
        def work(number):
            with (here / name).open("rb") as file:
                assert len(file.read()) >= 40_000
            os.stat(here / name)

        return work

    def link(number):
        os.link(here / "a", here / f"new{number}")
        os.chmod(here / f"new{number}", 0o600 + number % 8)
        os.rename(here / f"new{number}", here / f"newer{number}")
        assert os.stat(here / f"newer{number}").st_nlink == 5
        os.unlink(here / f"newer{number}")

    threads = [
        threading.Thread(target=run, args=(work,), daemon=True)
        for work in (write("a"), write("b"), read("a"), read("c"), read("d"), link)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures
    assert os.stat(there / "a").st_nlink == 4
    assert seen(here, *"abcd") == [(4, os.stat(there / "a").st_ino)] * 4
    assert (here / "a").read_bytes() == (here / "d").read_bytes() == (there / "a").read_bytes()
