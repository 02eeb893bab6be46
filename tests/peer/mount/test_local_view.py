from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.mount.identity_map import MappedIdentity, PreservedIdentity
from peer.mount.local_view import LocalView, shown_inode
from tests.peer.mount.samples import metadata

U64 = st.integers(0, 2**64 - 1)
INODE = st.integers(1, 2**63 - 1)


def test_on_the_roots_volume_everything_is_shown_as_it_is():
    view = LocalView(PreservedIdentity(), root_volume=5)
    assert view.shown(metadata()) is metadata() or view.shown(metadata()) == metadata()


def test_owners_are_translated():
    view = LocalView(MappedIdentity(1, 2, 501, 20), root_volume=5)
    assert (view.shown(metadata()).uid, view.shown(metadata()).gid) == (501, 20)


def test_links_can_be_added():
    view = LocalView(PreservedIdentity(), root_volume=5)
    assert view.shown(metadata(links=0), further_links=1).links == 1


@given(INODE, U64)
def test_an_inode_of_another_volume_is_no_inode_of_the_roots(inode, volume):
    shown = shown_inode(inode, volume, root_volume=5)
    assert shown == inode if volume == 5 else shown >= 2**63
    assert 0 < shown < 2**64


@given(INODE, INODE, U64)
def test_two_inodes_of_one_volume_never_meet(one, other, volume):
    assert (shown_inode(one, volume, 5) == shown_inode(other, volume, 5)) == (one == other)


@given(INODE, st.integers(6, 2**32), st.integers(6, 2**32))
def test_the_same_inode_on_two_volumes_is_two(inode, one, other):
    assert (shown_inode(inode, one, 5) == shown_inode(inode, other, 5)) == (one == other)


@given(U64)
def test_no_inode_is_zero(volume):
    """glibc skips directory entries whose inode number is 0."""
    assert shown_inode(0, volume, 5) != 0
