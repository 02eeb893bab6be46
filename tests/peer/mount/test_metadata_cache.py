"""The cache by itself: what it knows, what it doubts, what it forgets, and how much room it takes."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest

from peer.mount.metadata_cache import Known, MetadataCache
from peer.mount.metadata_facts import BACKSTOP
from peer.mount.metadata_node import UNKNOWN, file_key, pack, unpack
from peer.mount.metadata_suspects import unverified
from peer.mount.withdrawals import Withdrawal
from schema.attributes import FileMetadata
from schema.changes import Changed, Renamed, Swept
from tests.peer.mount.samples import FILE

A, AX, AY = (b"a",), (b"a", b"x"), (b"a", b"y")
TTL = 5.0


def file(inode: int, **fields: int) -> FileMetadata:
    return msgspec.structs.replace(FILE, inode=inode, mode=0o100644, links=1, **fields)


def directory(inode: int, **fields: int) -> FileMetadata:
    return msgspec.structs.replace(FILE, inode=inode, mode=0o040755, links=2, **fields)


@pytest.fixture
def cache() -> MetadataCache:
    return MetadataCache(ttl=TTL)


def known(cache: MetadataCache, path: tuple[bytes, ...], now: float = 0.0, *, trusted: bool = True) -> Known | None:
    return cache.metadata(path, now, trusted=trusted)


def names(cache: MetadataCache, path: tuple[bytes, ...], now: float = 0.0) -> list[bytes] | None:
    listing = cache.listing(path, now, trusted=True)
    return None if listing is None else [name for name, _ in listing]


def test_attributes_are_packed_and_unpacked():
    wild = msgspec.structs.replace(FILE, mtime_ns=-1, atime_ns=2**62, inode=2**64 - 1, size=2**63)
    assert unpack(pack(wild)) == wild
    assert unpack(pack(None)) is None


def test_numbers_that_no_file_has_are_not_kept(cache):
    cache.keep_listing((), [(b"a", file(-1)), (b"b", file(2))], 3, 0.0)
    assert names(cache, ()) is None
    assert known(cache, A) is None
    cache.apply(4, Changed((b"b",), file(-1)), 0.0)
    assert known(cache, (b"b",)).suspect


def test_a_covered_fact_needs_trust_and_another_one_only_time(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.keep(AX, file(2), UNKNOWN, 0.0)
    assert known(cache, A) == Known(file(1), suspect=False)
    assert known(cache, A, trusted=False) == Known(file(1), suspect=True)
    assert known(cache, A, BACKSTOP) == Known(file(1), suspect=True)
    assert known(cache, AX, trusted=False) == Known(file(2), suspect=False)
    assert known(cache, AX, TTL) == Known(file(2), suspect=True)


def test_an_answer_that_nobody_can_date_makes_what_it_contradicts_suspect(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.keep(A, file(1), UNKNOWN, 0.0)
    assert known(cache, A) == Known(file(1), suspect=False)
    cache.keep(A, file(1, size=9), UNKNOWN, 0.0)
    assert known(cache, A).suspect


def test_names_that_nobody_can_date_make_what_they_contradict_suspect(cache):
    same, changed, gone, absent, new = (name.encode() for name in ("same", "changed", "gone", "absent", "new"))
    cache.keep_listing((), [(same, file(1)), (changed, file(2)), (gone, file(3))], 3, 0.0)
    cache.apply(4, Changed(absent, None), 0.0)
    cache.contradict((), [(same, file(1)), (changed, file(2, size=9))], 5)
    assert [known(cache, (name,)).suspect for name in (same, changed, gone)] == [False, True, True]
    assert known(cache, (absent,)) == Known(None, suspect=False)
    cache.contradict((), [(same, file(1)), (new, file(4))], 5)
    assert known(cache, (new,)) is None
    cache.contradict((b"nobody", b"knows"), [(new, file(4))], 5)


def test_a_file_with_several_names_lives_for_a_limited_time(cache):
    cache.keep(A, msgspec.structs.replace(file(1), links=2), 3, 0.0)
    assert known(cache, A, TTL - 1) == Known(msgspec.structs.replace(file(1), links=2), suspect=False)
    assert known(cache, A, TTL).suspect
    cache.doubt_linked(1.0)
    assert known(cache, A, 1.0).suspect


def test_what_the_feed_says_late_of_a_file_with_several_names_hides_no_change_of_ours(cache):
    linked = msgspec.structs.replace(file(1), links=2)
    cache.keep_listing((), [(b"a", linked), (b"b", linked)], 3, 0.0)
    cache.doubt_linked(1.0, 6)
    cache.apply(6, Changed(A, linked), 2.0)
    assert known(cache, A, 2.0).suspect
    cache.apply(7, Changed(A, linked), 2.0)
    assert not known(cache, A, 2.0).suspect
    cache.doubt_everything()
    cache.apply(1, Changed(A, linked), 2.0)
    assert not known(cache, A, 2.0).suspect


def test_a_second_name_makes_the_first_suspect(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.keep((b"b",), msgspec.structs.replace(file(1), links=2), 4, 0.0)
    assert known(cache, A).suspect


def test_a_second_name_makes_the_first_suspect_even_if_only_the_feed_knows_it(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.apply(4, Changed((b"b", b"x"), msgspec.structs.replace(file(1), links=2)), 0.0)
    assert known(cache, A).suspect
    assert known(cache, (b"b", b"x")) is None
    cache.apply(3, Changed(A, file(1, size=1)), 0.0)
    assert known(cache, A).metadata == file(1), "that is older than what is known"
    cache.keep(A, file(1), 3, 0.0)
    assert known(cache, A).suspect, "an answer from before"
    cache.keep(A, file(1), 4, 0.0)
    assert not known(cache, A).suspect


def test_a_change_updates_older_facts_only(cache):
    cache.keep(A, file(1, size=10), 5, 0.0)
    cache.apply(5, Changed(A, file(1, size=9)), 0.0)
    assert known(cache, A).metadata.size == 10
    cache.apply(6, Changed(A, file(1, size=11)), 0.0)
    assert known(cache, A).metadata.size == 11
    cache.keep(A, file(1, size=8), 5, 0.0)
    assert known(cache, A).metadata.size == 11


def test_a_complete_listing_knows_what_is_absent_and_hears_of_what_comes(cache):
    cache.keep_listing(A, [(b"x", file(2))], 4, 0.0)
    assert names(cache, A) == [b"x"]
    assert known(cache, AY) == Known(None, suspect=False)
    cache.apply(4, Changed(AY, file(3)), 0.0)
    assert names(cache, A) == [b"x"], "the listing is newer"
    cache.apply(5, Changed(AY, file(3)), 0.0)
    cache.apply(6, Changed(AX, None), 0.0)
    assert names(cache, A) == [b"y"]


def test_a_name_that_is_not_there_has_nothing_below(cache):
    cache.keep(A, None, 4, 0.0)
    assert known(cache, (b"a", b"x", b"y")) == Known(None, suspect=False)
    assert known(cache, (b"b",)) is None


def test_what_is_below_a_directory_goes_when_it_is_another_one(cache):
    cache.keep(A, directory(1), 3, 0.0)
    cache.keep_listing(A, [(b"x", file(2))], 3, 0.0)
    cache.apply(4, Changed(A, directory(9)), 0.0)
    assert names(cache, A) is None
    assert known(cache, AX) is None


@pytest.mark.parametrize("change", [Renamed((b"c",), A, directory(1)), Changed(A, None)])
@pytest.mark.parametrize("below", [[], [(b"x", file(2))]])
def test_what_was_below_goes_even_if_the_next_directory_there_is_known_already(cache, change, below):
    cache.keep_listing(A, below, 3, 0.0)
    cache.keep(A, directory(1), 5, 0.0)
    cache.apply(5, change, 0.0)
    assert known(cache, A) == Known(directory(1), suspect=False)
    assert names(cache, A) is None
    assert known(cache, AX) is None


def test_a_rename_moves_the_name_and_nothing_that_may_be_of_the_next_one(cache):
    cache.keep(A, directory(1), 3, 0.0)
    cache.keep_listing(A, [(b"x", file(2))], 3, 0.0)
    cache.keep_listing((), [(b"a", directory(1))], 3, 0.0)
    cache.keep(AY, file(4), 8, 0.0)  # looked up after the rename that is told of later
    cache.apply(7, Renamed(A, (b"b",), directory(1)), 0.0)
    assert known(cache, (b"b",)) == Known(directory(1), suspect=False)
    assert known(cache, A) == Known(None, suspect=False)
    assert known(cache, (b"b", b"x")) is None
    assert known(cache, AY) == Known(file(4), suspect=False)


def test_what_was_swept_and_what_is_from_before_is_suspect(cache):
    cache.keep_listing(A, [(b"x", file(2))], 3, 0.0)
    cache.apply(4, Swept(A), 0.0)
    assert known(cache, AX).suspect
    assert names(cache, A) is None
    cache.keep(AX, file(2), 4, 0.0)
    assert not known(cache, AX).suspect
    cache.doubt_everything()
    assert known(cache, AX) == Known(file(2), suspect=True)
    assert [name for name, _ in unverified(cache, A, 0.0, range(10)).names] == [b"x"]
    cache.keep(AX, file(2), 0, 0.0)
    assert unverified(cache, A, 0.0, range(10)).names == []


def test_what_we_changed_is_not_refreshed_by_what_the_feed_says_of_before(cache):
    cache.keep(A, file(1, size=1), 3, 0.0)
    cache.doubt(A, 5)
    cache.apply(5, Changed(A, file(1, size=2)), 0.0)
    assert known(cache, A).suspect
    cache.apply(6, Changed(A, file(1, size=3)), 0.0)
    assert known(cache, A) == Known(file(1, size=3), suspect=False)


def test_a_feed_that_is_followed_anew_says_nothing_newer_under_numbers_that_we_know(cache):
    cache.keep(A, file(1, size=2), 5, 0.0)
    cache.doubt_everything(same_numbers=True)
    cache.apply(5, Changed(A, file(1, size=1)), 0.0)
    assert known(cache, A) == Known(file(1, size=2), suspect=True)
    cache.doubt_everything()
    cache.apply(1, Changed(A, file(1, size=3)), 0.0)
    assert known(cache, A) == Known(file(1, size=3), suspect=False)


@pytest.mark.parametrize("below", [False, True])
def test_where_we_changed_something_there_is_a_directory(cache, below):
    cache.keep_listing((), [(b"a", directory(1))], 2, 0.0)
    if below:
        cache.keep(AX, file(2), 2, 0.0)
    cache.apply(3, Changed(A, None), 0.0)
    cache.doubt(AX, 3)
    assert known(cache, AX) is None or known(cache, AX).suspect


def test_details_go_with_what_they_hang_on(cache):
    cache.keep(A, file(1, ctime_ns=1), 3, 0.0)
    cache.keep_xattr(A, b"user.x", None, 3)
    cache.keep_xattr_names(A, (b"user.y",), 3)
    cache.keep_target(A, b"target", 3)
    assert cache.xattr(A, b"user.x", 0.0, trusted=True) == (None,)
    assert cache.xattr(A, b"user.z", 0.0, trusted=True) == (None,)
    assert cache.xattr(A, b"user.y", 0.0, trusted=True) is None
    assert cache.target(A, 0.0, trusted=True) == b"target"
    cache.apply(4, Changed(A, file(1, ctime_ns=1)), 0.0)
    assert cache.xattr(A, b"user.x", 0.0, trusted=True) is None
    assert cache.target(A, 0.0, trusted=True) is None
    cache.keep_xattr(A, b"user.x", b"late", 3)
    assert cache.xattr(A, b"user.x", 0.0, trusted=True) is None, "older than the attributes"


def test_what_was_not_used_goes_first_and_a_listing_without_it_is_not_complete():
    cache = MetadataCache(ttl=TTL, entries=10)
    cache.keep_listing(A, [(b"%02d" % n, file(n + 2)) for n in range(6)], 1, 0.0)
    assert names(cache, A) is not None
    for n in range(50):
        cache.keep((b"b%d" % n,), file(100 + n), 1, 0.0)
        assert len(cache) <= 10
    assert names(cache, A) is None
    assert known(cache, (b"a", b"07")) is None


def test_a_listing_that_does_not_fit_is_not_complete():
    cache = MetadataCache(ttl=TTL, entries=10)
    cache.keep_listing(A, [(b"%02d" % n, file(n + 2)) for n in range(20)], 1, 0.0)
    assert names(cache, A) is None
    assert known(cache, (b"a", b"00")) is None


def test_an_entry_takes_700_bytes_at_most():
    entries = 20_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache = MetadataCache(ttl=TTL)
        for start in range(0, entries, 100):
            where = (b"directory %d" % start,)
            cache.keep_listing(where, ((b"some file %d" % n, file(start + n)) for n in range(100)), 2**20 + start, 0.5)
        assert (tracemalloc.get_traced_memory()[0] - before) / len(cache) < 700
    finally:
        tracemalloc.stop()


def test_a_file_that_we_changed_by_its_handle_is_doubted_by_whatever_name(cache):
    cache.keep(A, file(1, size=1), 3, 0.0)
    packed = pack(file(1, size=1))
    cache.doubt_file(file_key(packed), packed, 3)
    assert not known(cache, A).suspect
    cache.doubt_file(file_key(packed), pack(file(1, size=2)), 3)
    assert known(cache, A).suspect


def test_a_file_that_turns_up_under_another_name_is_doubted_under_the_first(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.keep(AX, file(1), 3, 0.0)
    assert known(cache, A).suspect
    assert not known(cache, AX).suspect


def linked(size: int) -> FileMetadata:
    return msgspec.structs.replace(file(1, size=size), links=3)


def test_news_of_a_file_by_one_name_makes_what_its_other_names_say_suspect(cache):
    withdrawn = []
    cache.keep(A, linked(1), UNKNOWN, 0.0)
    cache.keep(AX, linked(1), UNKNOWN, 0.0)
    assert [known(cache, path).suspect for path in (A, AX)] == [False, False], "both say the same"
    cache.withdraw = lambda path, what: withdrawn.append((path, what))
    cache.keep((b"b",), linked(2), UNKNOWN, 0.0)
    assert [known(cache, path).suspect for path in (A, AX, (b"b",))] == [True, True, False]
    assert {path for path, what in withdrawn if what & Withdrawal.PAGES} == {A, AX}
    cache.keep(A, linked(2), UNKNOWN, 0.0)
    assert not known(cache, (b"b",)).suspect


def test_so_does_what_the_feed_tells_by_a_name_that_nobody_asked_for(cache):
    cache.keep_listing((), [(b"a", linked(1)), (b"b", linked(1))], 3, 0.0)
    cache.apply(4, Changed((b"c", b"x"), linked(2)), 0.0)
    assert [known(cache, path).suspect for path in (A, (b"b",))] == [True, True]
    cache.keep_names((), [(b"a", linked(1))], 3, 0.0)
    assert known(cache, A).suspect, "an answer from before"
    cache.keep_names((), [(b"a", linked(2))], 4, 0.0)
    assert not known(cache, A).suspect


def test_names_that_are_forgotten_are_looked_for_no_more(cache):
    for path in (A, AX, (b"b",)):
        cache.keep(path, linked(1), UNKNOWN, 0.0)
    cache.forget(A)
    cache.keep((b"c",), linked(2), UNKNOWN, 0.0)
    assert known(cache, (b"b",)).suspect
    assert cache.tree.unlist_file(file_key(pack(linked(2)))) == [cache.tree.find((b"c",))]


def test_a_file_that_the_feed_tells_of_by_another_name_is_doubted_under_the_one_that_is_known(cache):
    cache.keep(A, file(1), 3, 0.0)
    cache.apply(4, Changed(A, file(1, size=1)), 0.0)
    assert not known(cache, A).suspect
    cache.apply(4, Changed((b"b", b"x"), file(1, size=1)), 0.0)
    assert not known(cache, A).suspect, "it was seen there later"
    cache.apply(5, Changed((b"b", b"x"), file(1, size=1)), 0.0)
    assert known(cache, A).suspect
