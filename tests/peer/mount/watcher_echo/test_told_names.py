"""What is there is told of once."""

from __future__ import annotations

from peer.mount.watcher_echo.echoes import Call, Echo
from peer.mount.watcher_echo.told_names import ToldNames
from tests.peer.mount.samples import FILE, metadata

A, B = (b"a",), (b"b",)
MADE, REMOVED = Echo(Call.MAKE, A, None, FILE), Echo(Call.REMOVE, A, FILE, None)
WRITTEN = MADE._replace(call=Call.WRITE)


def test_a_file_is_made_once_and_then_written():
    names = ToldNames()
    assert names.news(MADE) == MADE
    assert names.news(MADE) == WRITTEN
    other = Echo(Call.MAKE, A, None, metadata(inode=12))
    assert names.news(other) == other


def test_a_directory_is_made_once():
    names = ToldNames()
    directory = Echo(Call.MAKE, A, None, metadata(mode=0o40755))
    assert names.news(directory) == directory
    assert names.news(directory) is None


def test_what_was_removed_or_moved_is_made_again():
    names = ToldNames()
    for away in (REMOVED, Echo(Call.RENAME, B, None, FILE, A)):
        names.news(MADE)
        assert names.news(away) == away
        assert names.news(MADE) == MADE


def test_what_was_moved_is_known_by_its_new_name():
    names = ToldNames()
    names.news(Echo(Call.RENAME, B, None, FILE, A))
    assert names.news(Echo(Call.MAKE, B, None, FILE)) == Echo(Call.WRITE, B, None, FILE)


def test_what_could_not_be_told_is_told_again():
    names = ToldNames()
    names.news(MADE)
    names.forget(A)
    assert names.news(MADE) == MADE
