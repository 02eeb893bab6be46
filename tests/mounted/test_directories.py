"""Listing directories: large ones, changing ones, from any position."""

from __future__ import annotations

import ctypes
import os
import stat

import pytest

MANY = 5000


def names_of(directory):
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def test_a_large_directory_is_listed_whole(here, there):
    for number in range(MANY):
        (there / f"file{number}").touch()
    listed = names_of(here)
    assert len(listed) == MANY
    assert set(listed) == {f"file{number}" for number in range(MANY)}


def test_entries_that_stay_are_listed_once_while_others_come_and_go(here, there):
    stay = {f"stay{number}" for number in range(MANY)}
    for name in stay:
        (there / name).touch()
    for number in range(500):
        (there / f"go{number}").touch()
    listed = []
    with os.scandir(here) as entries:
        for count, entry in enumerate(entries):
            listed.append(entry.name)
            if count % 50 == 0 and count // 50 < 100:
                step = count // 50
                for number in range(step * 5, step * 5 + 5):
                    (there / f"go{number}").unlink(missing_ok=True)
                    (there / f"come{number}").touch()
    assert len(listed) == len(set(listed))
    assert stay <= set(listed)


def test_a_directory_can_be_emptied_while_it_is_read(here, there):
    for number in range(1500):
        (there / f"file{number}").touch()
    with os.scandir(here) as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert os.listdir(there) == []
    os.rmdir(here)
    assert not there.exists()


def test_entries_have_the_remote_types_and_inode_numbers(here, there):
    (there / "file").touch()
    (there / "directory").mkdir()
    (there / "link").symlink_to("file")
    os.mkfifo(there / "fifo")
    with os.scandir(here) as mine:
        seen = {entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in mine}
    with os.scandir(there) as theirs:
        assert seen == {
            entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in theirs
        }


class Entry(ctypes.Structure):
    _fields_ = (
        ("ino", ctypes.c_uint64),
        ("off", ctypes.c_int64),
        ("reclen", ctypes.c_uint16),
        ("type", ctypes.c_uint8),
        ("name", ctypes.c_char * 256),
    )


@pytest.fixture
def libc():
    library = ctypes.CDLL(None, use_errno=True)
    library.opendir.restype = ctypes.c_void_p
    library.readdir.restype = ctypes.POINTER(Entry)
    library.telldir.restype = ctypes.c_long
    for name in ("readdir", "rewinddir", "telldir", "closedir"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
    library.seekdir.argtypes = (ctypes.c_void_p, ctypes.c_long)
    return library


def read_all(libc, stream):
    names = []
    while entry := libc.readdir(stream):
        names.append((entry.contents.name, entry.contents.ino, libc.telldir(stream)))
    return names


def test_dots_positions_and_rewinding(libc, here, there):
    for number in range(1200):
        (there / f"file{number:04}").touch()
    stream = libc.opendir(os.fsencode(here))
    assert stream
    try:
        entries = read_all(libc, stream)
        names = [name for name, _, _ in entries]
        assert names[:2] == [b".", b".."]
        assert len(names) == len(set(names)) == 1202
        assert all(inode != 0 for _, inode, _ in entries)
        assert entries[0][1] == os.stat(there).st_ino
        (there / "file0000").unlink()
        (there / "new").touch()
        libc.seekdir(stream, entries[600][2])
        assert [name for name, _, _ in read_all(libc, stream)] == names[601:]
        libc.rewinddir(stream)
        again = [name for name, _, _ in read_all(libc, stream)]
        assert b"file0000" not in again
        assert b"new" in again
    finally:
        libc.closedir(stream)


def test_a_directory_that_may_not_be_read_is_not_opened(here):
    with pytest.raises(FileNotFoundError):
        os.listdir(here / "missing")
    (here / "file").touch()
    with pytest.raises(NotADirectoryError):
        os.listdir(here / "file")


def test_a_walk_sees_every_attribute(here, there):
    for number in range(300):
        (there / f"file{number}").write_bytes(b"x" * number)
    with os.scandir(here) as entries:
        sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
    assert sizes == {f"file{number}": number for number in range(300)}


def test_the_links_of_a_directory_count_what_is_in_it(here, there):
    for name in ("one", "two"):
        (here / name).mkdir()
    assert os.stat(here).st_nlink == os.stat(there).st_nlink
    os.rmdir(here / "one")
    assert os.stat(here).st_nlink == os.stat(there).st_nlink
    assert stat.S_ISDIR(os.stat(here).st_mode)
