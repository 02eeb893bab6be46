from __future__ import annotations

from peer.mount.aliases import Aliases
from tests.peer.mount.samples import metadata

A, B, C = (b"a",), (b"b",), (b"c",)
TWO = metadata(links=2)
FILE = (TWO.volume, TWO.inode)


def paths(aliases):
    return {alias.path for alias in aliases}


def test_names_of_one_file_know_of_each_other():
    table = Aliases()
    assert table.observe(A, TWO) is not None
    assert table.observe(A, TWO) is None
    table.observe(B, TWO)
    assert paths(table.others(FILE, A)) == {B}
    assert paths(table.others(FILE, None)) == {A, B}


def test_files_with_one_name_and_directories_are_not_kept():
    table = Aliases()
    assert table.observe(A, metadata()) is None
    assert table.observe(B, metadata(links=5, mode=0o040755)) is None
    assert table.others(FILE, None) == ()


def test_the_last_name_is_kept_while_another_is_open():
    """The other one's name was removed, and the kernel's inode of it is still there."""
    table = Aliases()
    table.observe(A, TWO)
    table.move(A, (b".hidden",))
    table.observe(B, metadata(links=1))
    assert paths(table.remove(B)) == {(b".hidden",)}


def test_removing_a_name_gives_the_others():
    table = Aliases()
    for path in (A, B, C):
        table.observe(path, TWO)
    assert paths(table.remove(A)) == {B, C}
    assert table.remove(A) == ()


def test_a_name_that_means_another_file_now_is_moved_to_it():
    table = Aliases()
    table.observe(A, TWO)
    table.observe(B, TWO)
    table.observe(B, metadata(links=2, inode=99))
    assert table.others(FILE, A) == ()
    assert table.file_at(B) == (5, 99)


def test_a_moved_name_keeps_its_node():
    table = Aliases()
    alias = table.observe((b"d", b"a"), TWO)
    assert alias is not None
    alias.node = 77
    table.move((b"d",), (b"e",))
    (moved,) = table.others(FILE, None)
    assert (moved.path, moved.node) == ((b"e", b"a"), 77)


def test_the_table_is_bounded():
    table = Aliases(capacity=10)
    for number in range(25):
        table.observe((b"%d" % number,), TWO)
    assert len(table.others(FILE, None)) == 10
    assert (b"24",) in paths(table.others(FILE, None))
