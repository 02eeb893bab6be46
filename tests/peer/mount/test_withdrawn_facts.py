"""Which word the cache takes back, and which it gives."""

from __future__ import annotations

import pytest

from peer.mount.metadata_cache import MetadataCache
from peer.mount.metadata_node import UNKNOWN
from peer.mount.withdrawals import EVERYTHING, Withdrawal
from schema.changes import Changed, Swept
from tests.peer.mount.samples import FILE, metadata

A, B = (b"a",), (b"b",)
TTL, NOW = 5.0, 100.0


@pytest.fixture
def cache() -> MetadataCache:
    return MetadataCache(ttl=TTL)


@pytest.fixture
def withdrawn(cache):
    heard = []
    cache.withdraw = lambda path, what: heard.append((path, what))
    return heard


def test_the_same_facts_in_an_answer_withdraw_nothing(cache, withdrawn):
    cache.keep(A, FILE, 1, NOW)
    cache.keep(A, metadata(atime_ns=99), 2, NOW)
    assert withdrawn == []


@pytest.mark.parametrize("known_as_of", [1, 5])
def test_what_the_feed_tells_was_perhaps_a_write_that_had_set_its_times_before(cache, withdrawn, known_as_of):
    cache.keep(A, FILE, known_as_of, NOW)
    cache.apply(3, Changed(A, FILE), NOW)
    assert withdrawn == [(A, Withdrawal.PAGES)]


def test_what_an_answer_or_the_feed_replaces_is_withdrawn(cache, withdrawn):
    cache.keep(A, FILE, 1, NOW)
    cache.keep(A, metadata(size=9, ctime_ns=99), 2, NOW)
    cache.apply(3, Changed(A, None), NOW)
    assert [path for path, _ in withdrawn] == [A, A]
    assert withdrawn[1][1] == EVERYTHING


def test_what_is_doubted_swept_or_forgotten_is_withdrawn_with_what_is_below(cache, withdrawn):
    below = (*A, b"below")
    for number, step in enumerate(
        (lambda: cache.doubt(below), lambda: cache.apply(50, Swept(A), NOW), lambda: cache.forget(A)), 1
    ):
        cache.keep(below, FILE, number, NOW)
        step()
        assert below in [path for path, _ in withdrawn]
        withdrawn.clear()


def test_what_is_evicted_is_withdrawn():
    cache = MetadataCache(ttl=TTL, entries=2)
    heard = []
    cache.withdraw = lambda path, _: heard.append(path)
    for number in range(5):
        cache.keep((b"%d" % number,), metadata(inode=number + 1), 1, NOW)
    assert len(heard) == 3


def test_the_feed_vouches_for_what_is_sure_and_as_it_was_said(cache):
    cache.keep(A, FILE, 1, NOW)
    assert cache.vouches(A, FILE, NOW)
    assert not cache.vouches(A, metadata(size=9), NOW)
    assert not cache.vouches(A, None, NOW)
    assert not cache.vouches(B, FILE, NOW)
    cache.doubt(A)
    assert not cache.vouches(A, FILE, NOW)


def test_the_feed_does_not_vouch_for_files_with_several_names_or_out_of_its_sight(cache):
    linked = metadata(links=2)
    cache.keep(A, linked, 1, NOW)
    cache.keep(B, FILE, UNKNOWN, NOW)
    assert not cache.vouches(A, linked, NOW)
    assert not cache.vouches(B, FILE, NOW)


def test_a_name_that_a_listing_does_not_have_is_remembered_when_somebody_is_told_so(cache, withdrawn):
    cache.keep_listing((), [], 1, NOW)
    assert cache.vouches(A, None, NOW)
    cache.apply(2, Changed(A, FILE), NOW)
    assert withdrawn == [(A, Withdrawal.MEANING)]
