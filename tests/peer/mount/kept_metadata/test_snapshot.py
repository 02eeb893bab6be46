"""What is taken out of one cache and put into another: suspect there, and in nobody's place."""

from __future__ import annotations

import pytest

from peer.mount.kept_metadata.snapshot import part, restore
from peer.mount.metadata_cache import Known, MetadataCache
from peer.mount.metadata_suspects import unverified
from tests.peer.mount.test_metadata_cache import AX, AY, A, directory, file, known, names

D = (b"d",)


@pytest.fixture
def cache():
    cache = MetadataCache(ttl=5.0)
    cache.keep_listing((), [(b"a", directory(1)), (b"d", directory(4))], 3, 0.0)
    cache.keep_listing(A, [(b"x", file(2, ctime_ns=7)), (b"y", file(3))], 3, 0.0)
    cache.keep_listing(D, [], 3, 0.0)
    return cache


def kept(cache):
    """All of `cache` in another one, as after a restart."""
    restarted = MetadataCache(ttl=5.0)
    waiting = [()]
    while waiting:
        path = waiting.pop()
        taken = part(cache, path, range(100))
        restore(restarted, taken.record)
        waiting += [(*path, name) for name in taken.below]
    return restarted


def test_all_that_was_known_is_known_again_and_suspect(cache):
    again = kept(cache)
    assert known(again, AX) == Known(file(2, ctime_ns=7), suspect=True)
    assert names(again, A) is None
    assert known(again, (b"a", b"none")) is None
    for path, expected in (((), [b"a", b"d"]), (A, [b"x", b"y"]), (D, [])):
        found = unverified(again, path, 0.0, range(10))
        assert found.whole, path
        assert [name for name, _ in found.names] == expected


def test_what_was_absent_is_kept_where_no_listing_says_so(cache):
    cache.keep((b"a", b"none"), None, 4, 0.0)
    cache.keep((b"other", b"none"), None, 4, 0.0)
    again = kept(cache)
    assert [name for name, _ in unverified(again, A, 0.0, range(10)).names] == [b"x", b"y"]
    assert known(again, (b"other", b"none")) == Known(None, suspect=True)


def test_what_is_known_by_now_stays(cache):
    taken = part(cache, A, range(10)).record
    now = MetadataCache(ttl=5.0)
    now.keep(AX, file(9), 8, 0.0)
    restore(now, taken)
    assert known(now, AX) == Known(file(9), suspect=False)
    assert known(now, AY).suspect
    listed = MetadataCache(ttl=5.0)
    listed.keep_listing(A, [(b"x", file(9))], 8, 0.0)
    restore(listed, taken)
    assert names(listed, A) == [b"x"]
    assert known(listed, AY) == Known(None, suspect=False)


def test_a_large_directory_is_taken_in_parts(cache):
    first = part(cache, A, range(1))
    second = part(cache, A, range(1, 2))
    assert (first.more, first.record.whole, second.more, second.record.whole) == (True, False, False, True)


def test_what_hangs_on_the_change_time_holds_while_that_is_the_same(cache):
    cache.keep_xattr(AX, b"user.a", None, 3, settled=True)
    cache.keep_target(AX, b"target", 3, settled=True)
    for now, target in ((file(2, ctime_ns=7), b"target"), (file(2, ctime_ns=8), None)):
        again = kept(cache)
        assert again.target(AX, 0.0, trusted=True) is None, "it is suspect"
        again.keep(AX, now, 5, 0.0)
        assert again.target(AX, 0.0, trusted=True) == target
        assert again.xattr(AX, b"user.a", 0.0, trusted=True) == ((None,) if target else None)


def test_what_is_not_proven_to_go_with_it_does_not_outlive_the_mount(cache):
    cache.keep_xattr(AX, b"user.a", None, 3, settled=True)
    cache.keep_xattr(AX, b"user.b", b"value", 3)
    assert cache.xattr(AX, b"user.b", 0.0, trusted=True) == (b"value",)
    again = kept(cache)
    again.keep(AX, file(2, ctime_ns=7), 5, 0.0)
    assert again.xattr(AX, b"user.a", 0.0, trusted=True) is None
    assert again.xattr(AX, b"user.b", 0.0, trusted=True) is None
