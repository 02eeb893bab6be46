"""Files that are open while they are removed or replaced."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from tests.mounted.trial import mounted


def test_an_unlinked_file_goes_on_in_every_way(here, there):
    with (here / "file").open("wb+", buffering=0) as file:
        descriptor = file.fileno()
        file.write(b"before")
        os.unlink(here / "file")
        assert os.listdir(there) == os.listdir(here) == []
        assert os.fstat(descriptor).st_nlink == 0
        file.write(b" and after")
        assert os.pread(descriptor, 100, 0) == b"before and after"
        assert os.fstat(descriptor).st_size == 16
        os.fchmod(descriptor, 0o640)
        os.ftruncate(descriptor, 6)
        os.utime(descriptor, ns=(3, 4))
        os.setxattr(descriptor, "user.note", b"still here")
        assert os.getxattr(descriptor, "user.note") == b"still here"
        assert os.listxattr(descriptor) == ["user.note"]
        os.removexattr(descriptor, "user.note")
        status = os.fstat(descriptor)
        assert (status.st_mode & 0o777, status.st_size, status.st_mtime_ns, status.st_nlink) == (0o640, 6, 4, 0)
        os.fsync(descriptor)
    assert os.listdir(there) == []


def test_the_name_is_free_at_once(here, there):
    with (here / "file").open("wb+", buffering=0) as old:
        old.write(b"old")
        os.unlink(here / "file")
        (here / "file").write_bytes(b"new one")
        assert os.fstat(old.fileno()).st_size == 3
        assert os.stat(here / "file").st_size == 7
        with (here / "file").open("rb") as new:
            os.unlink(here / "file")
            assert (os.fstat(old.fileno()).st_size, os.fstat(new.fileno()).st_size) == (3, 7)
    assert os.listdir(there) == []


def test_the_directory_can_go_as_well(here, there):
    (here / "directory").mkdir()
    with (here / "directory" / "file").open("wb+", buffering=0) as file:
        file.write(b"alone")
        os.unlink(here / "directory" / "file")
        os.rmdir(here / "directory")
        assert not (there / "directory").exists()
        file.write(b" but well")
        assert os.pread(file.fileno(), 100, 0) == b"alone but well"


def test_a_replaced_file_goes_on(here, there):
    (here / "file").write_bytes(b"old")
    (here / "new").write_bytes(b"brand new")
    with (here / "file").open("rb+", buffering=0) as old:
        os.rename(here / "new", here / "file")
        assert os.fstat(old.fileno()).st_nlink == 0
        assert os.pread(old.fileno(), 100, 0) == b"old"
        assert os.stat(here / "file").st_size == 9
        assert (there / "file").read_bytes() == b"brand new"
    assert os.listdir(there) == ["file"]


def test_a_replacement_is_never_seen_halfway(here, there):
    """Whoever looks on the remote machine while open files are replaced finds one or the other, never nothing."""
    (here / "file").write_bytes(b"0")
    done, missing = threading.Event(), []

    def look():
        while not done.is_set():
            if not (there / "file").exists():
                missing.append(1)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        for number in range(50):
            with (here / "file").open("rb") as held:
                (here / "new").write_bytes(b"%d" % number)
                os.rename(here / "new", here / "file")
                held.read()
    finally:
        done.set()
        looking.join(20)
    assert not missing
    assert (there / "file").read_bytes() == b"49"


def test_who_found_a_file_before_it_was_replaced_is_told_to_look_again(here):
    """What stat(2) does between finding an inode and asking for its attributes, drawn out by a descriptor for neither
    reading nor writing: were it told ENOENT, it would say so of a name that has been there all the time."""
    (here / "file").write_bytes(b"old")
    (here / "new").write_bytes(b"new")
    with (here / "file").open("rb"):
        found = os.open(here / "file", os.O_PATH)
        os.rename(here / "new", here / "file")
    try:
        for ask in (os.fstat, lambda descriptor: os.getxattr(f"/proc/self/fd/{descriptor}", "user.note")):
            with pytest.raises(OSError) as refused:
                ask(found)
            assert refused.value.errno == errno.ESTALE
    finally:
        os.close(found)


def test_a_name_that_is_replaced_again_and_again_is_never_missing(anew):
    """With the kernel believing nothing, so that each look is a question to us."""
    with mounted(anew, attribute_timeout=0.0) as mount:
        file, done, missing = mount.local / "file", threading.Event(), []
        file.write_bytes(b"0")

        def look():
            while not done.is_set():
                try:
                    file.stat()
                    file.read_bytes()
                except OSError as failure:
                    if failure.errno != errno.ESTALE:  # the kernel looks twice, and may be late both times
                        missing.append(failure)

        looking = [threading.Thread(target=look, daemon=True) for _ in range(3)]
        for thread in looking:
            thread.start()
        try:
            for number in range(200):
                with file.open("rb"):
                    (mount.local / "new").write_bytes(b"%d" % number)
                    os.rename(mount.local / "new", file)
        finally:
            done.set()
            for thread in looking:
                thread.join(20)
        assert not missing
        assert os.listdir(mount.remote) == ["file"]


def test_a_file_that_somebody_else_replaced_goes_on_beside_the_new_one(anew):
    with mounted(anew, attribute_timeout=60.0) as mount:
        file, hidden = mount.local / "file", mount.remote / "hidden"
        (mount.remote / "file").write_bytes(b"the old one")
        with file.open("rb", buffering=0) as old:
            assert old.read() == b"the old one"
            for content in (b"new", b"one that is longer than the old one"):
                hidden.write_bytes(content)
                os.rename(hidden, mount.remote / "file")
                with file.open("rb", buffering=0) as new:
                    assert os.pread(old.fileno(), 100, 0) == b"the old one"
                    assert new.read() == content
                    assert os.fstat(new.fileno()).st_size == file.stat().st_size == len(content)
                    assert os.fstat(old.fileno()).st_size == 11
                    assert os.pread(old.fileno(), 100, 0) == b"the old one"
                    assert os.listdir(mount.local) == ["file"]
        assert (mount.remote / "file").read_bytes() == content
        assert os.listdir(mount.remote) == ["file"]


def test_space_is_told_of_an_open_file_that_is_gone(here):
    with (here / "file").open("wb") as file:
        os.unlink(here / "file")
        assert os.fstatvfs(file.fileno()).f_blocks == os.statvfs(here).f_blocks


def test_a_refused_removal_leaves_the_file_as_it_was(here, there):
    (here / "file").write_bytes(b"kept")
    (here / "directory").mkdir()
    with (here / "file").open("rb") as file:
        with pytest.raises(OSError) as refused:
            os.rename(here / "directory", here / "file")
        assert refused.value.errno == errno.ENOTDIR
        assert os.fstat(file.fileno()).st_nlink == 1
        assert (here / "file").read_bytes() == b"kept"
        os.chmod(here / "file", 0o604)
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o604
        os.unlink(here / "file")
        assert os.fstat(file.fileno()).st_nlink == 0
    assert os.listdir(there) == ["directory"]


def test_many_threads_remove_their_open_files(here, there):
    failures = []

    def run(number):
        try:
            for turn in range(25):
                with (here / f"file{number}").open("wb+", buffering=0) as file:
                    file.write(b"content")
                    os.unlink(here / f"file{number}")
                    assert os.pread(file.fileno(), 100, 0) == b"content"
                (here / f"a{number}").write_bytes(b"%d" % turn)
                (here / f"b{number}").write_bytes(b"%d" % turn)
                with (here / f"b{number}").open("rb") as file:
                    os.rename(here / f"a{number}", here / f"b{number}")
                    file.read()
        except (OSError, AssertionError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not failures
    assert sorted(os.listdir(there)) == [f"b{number}" for number in range(6)]


def test_two_threads_remove_the_same_open_file(here):
    for _ in range(20):
        (here / "file").write_bytes(b"x")
        outcomes = []

        def remove(outcomes=outcomes):
            try:
                os.unlink(here / "file")
                outcomes.append(0)
            except OSError as failure:
                outcomes.append(failure.errno)

        with (here / "file").open("rb"):
            threads = [threading.Thread(target=remove) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert sorted(outcomes) == [0, errno.ENOENT]
