from __future__ import annotations

import pytest

from peer.mount.symlink_policy import stays_inside


@pytest.mark.parametrize(
    ("target", "depth"),
    [
        (b"file", 0),
        (b"a/b/c", 0),
        (b"./a//b/.", 0),
        (b"..", 1),
        (b"../..", 2),
        (b"./.././../a", 2),
        (b"...", 0),
        (b"..a/b..", 0),
        (b"\xff", 0),
    ],
)
def test_a_target_below_the_root_is_shown(target, depth):
    assert stays_inside(target, depth)


@pytest.mark.parametrize(
    ("target", "depth"),
    [
        (b"/", 5),
        (b"/etc/passwd", 5),
        (b"//x", 5),
        (b"..", 0),
        (b"../..", 1),
        (b"./../x", 0),
        # Where `a` is a link itself, its parent is not where it seems to be.
        (b"a/..", 5),
        (b"a/../b", 5),
        (b"../a/..", 5),
    ],
)
def test_a_target_that_may_lead_out_is_not(target, depth):
    assert not stays_inside(target, depth)
