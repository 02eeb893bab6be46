"""What is remembered of changes, and what is said when it is not remembered any more."""

from __future__ import annotations

from peer.mount.recent_changes import RecentChanges


def test_the_oldest_go_and_the_floor_says_so():
    recent = RecentChanges(capacity=2)
    for number in (1, 2, 3):
        recent.add(number, (((b"%d" % number,), False),))
    assert recent.floor == 1
    assert recent.touched((b"other",), 0), "nobody knows"
    assert not recent.touched((b"1",), 1)
    assert recent.touched((b"3",), 2)
    assert not recent.touched((b"3",), 3)


def test_forgetting_an_old_change_keeps_a_later_one_of_the_same_path():
    recent = RecentChanges(capacity=1)
    recent.add(1, (((b"a", b"x"), True),))
    recent.add(2, (((b"a", b"x"), True),))
    assert recent.touched((b"a", b"x", b"y"), 1)
    assert recent.touched_within((b"a",), 1)
