"""Which calls stand for a change of the feed."""

from __future__ import annotations

import stat

from peer.mount.knowledge import Applied
from peer.mount.metadata_cache import Known
from peer.mount.watcher_echo.echoes import Call, Echo, echoes_of, is_passing
from schema.changes import Changed, Renamed, Swept
from tests.peer.mount.samples import FILE, metadata

A, B = (b"x", b"a"), (b"x", b"b")
NEW = metadata(inode=12)
DIRECTORY = metadata(inode=13, mode=stat.S_IFDIR | 0o755)
ABSENT = Known(None, suspect=False)


def known(file):
    return Known(file, suspect=False)


def changed(before, now, *, directory=None, below=()):
    return echoes_of(Applied(Changed(A, now), (before,), below), directory)


def calls(*arguments, **keywords):
    return [(echo.call, echo.path) for echo in changed(*arguments, **keywords)]


def test_what_was_absent_is_made():
    assert changed(ABSENT, FILE) == [Echo(Call.MAKE, A, None, FILE)]


def test_what_is_gone_is_removed():
    assert changed(known(FILE), None) == [Echo(Call.REMOVE, A, FILE, None)]
    assert changed(ABSENT, None) == []


def test_a_directory_goes_after_what_was_in_it():
    below = ((*A, b"y"), FILE)
    assert calls(known(DIRECTORY), None, below=(below,)) == [(Call.REMOVE, (*A, b"y")), (Call.REMOVE, A)]


def test_what_nothing_is_known_of_goes_as_a_file():
    (echo,) = changed(None, None)
    assert echo.call is Call.REMOVE
    assert stat.S_ISREG(echo.before.mode)


def test_a_file_with_other_contents_is_written():
    assert calls(known(FILE), metadata(size=4, mtime_ns=70, ctime_ns=70)) == [(Call.WRITE, A)]


def test_other_attributes_are_touched():
    assert calls(known(FILE), metadata(mode=0o100600, ctime_ns=70)) == [(Call.TOUCH, A)]
    assert calls(known(FILE), metadata(links=2)) == []


def test_names_that_come_and_go_do_not_touch_their_directory():
    now = metadata(inode=13, mode=DIRECTORY.mode, mtime_ns=70, ctime_ns=70)
    assert calls(known(DIRECTORY), now) == []


def test_what_we_know_already_was_written_if_that_was_the_last_that_happened_to_it():
    for size in (3, 4):
        written = metadata(size=size, mtime_ns=70, ctime_ns=70)
        assert calls(known(written), written) == [(Call.WRITE, A)]
    for now in (metadata(mtime_ns=69, ctime_ns=70), DIRECTORY):
        assert calls(known(now), now) == []


def test_another_file_of_the_name_was_moved_there():
    (echo,) = changed(known(FILE), NEW)
    assert (echo.call, echo.path, echo.before, echo.now) == (Call.RENAME, A, FILE, NEW)
    assert echo.source[:-1] == A[:-1]
    assert is_passing(echo.source)


def test_another_kind_of_file_is_removed_and_made():
    assert calls(known(FILE), DIRECTORY) == [(Call.REMOVE, A), (Call.MAKE, A)]
    assert calls(known(DIRECTORY), FILE) == [(Call.REMOVE, A), (Call.MAKE, A)]


def test_what_nothing_was_known_of_is_new_if_its_directory_is_as_young():
    assert calls(None, FILE, directory=metadata(mtime_ns=FILE.ctime_ns)) == [(Call.MAKE, A)]
    old = metadata(ctime_ns=10**9)
    assert calls(None, old, directory=metadata(mtime_ns=0)) == [(Call.WRITE, A)]


def test_a_rename_is_one_pair():
    applied = Applied(Renamed(A, B, FILE), (known(FILE), known(NEW)))
    assert echoes_of(applied, None) == [Echo(Call.RENAME, B, NEW, FILE, A)]


def test_of_a_rename_that_was_told_of_by_its_new_name_the_old_one_is_left():
    applied = Applied(Renamed(A, B, FILE), (known(FILE), known(FILE)))
    assert echoes_of(applied, None) == [Echo(Call.REMOVE, A, FILE, None)]


def test_our_own_rename_is_no_event():
    assert echoes_of(Applied(Renamed(A, B, FILE), (ABSENT, known(FILE))), None) == []


def test_nothing_is_said_of_what_was_swept():
    assert echoes_of(Applied(Swept(A), (known(DIRECTORY),)), None) == []
