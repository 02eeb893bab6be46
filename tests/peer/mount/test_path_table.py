from __future__ import annotations

from peer.mount.path_table import PathTable, moved_path

A, B, C, BELOW = (b"a",), (b"b",), (b"c",), (b"a", b"below")


def test_keys_are_found_by_path_and_paths_by_key():
    table = PathTable[int]()
    table.add(1, A)
    table.add(2, A)
    assert table.at(A) == {1, 2}
    assert table.path(1) == A
    table.discard(1)
    table.discard(99)
    assert table.at(A) == {2}
    assert table.path(1) is None


def test_a_removed_name_leaves_its_keys_nowhere():
    table = PathTable[int]()
    table.add(1, A)
    assert table.forget(A) == {1}
    assert table.path(1) is None
    assert table.forget(A) == frozenset()
    table.discard(1)


def test_a_renamed_directory_takes_what_is_below_along():
    table = PathTable[int]()
    table.add(1, A)
    table.add(2, BELOW)
    table.add(3, (b"ab",))
    table.move(A, B)
    assert (table.path(1), table.path(2), table.path(3)) == (B, (b"b", b"below"), (b"ab",))
    assert table.at(A) == frozenset()


def test_exchanged_paths_change_places():
    table = PathTable[int]()
    table.add(1, BELOW)
    table.add(2, B)
    table.exchange(A, B)
    assert table.path(1) == (b"b", b"below")
    assert table.path(2) == A


def test_moving_what_is_unknown_changes_nothing():
    table = PathTable[int]()
    table.move(A, B)
    table.exchange(A, B)
    table.add(1, C)
    table.move(A, B)
    assert table.path(1) == C


def test_a_path_below_another_moves_with_it():
    assert moved_path(BELOW, A, B) == (b"b", b"below")
    assert moved_path(A, A, ()) == ()
    assert moved_path(B, A, C) is None
