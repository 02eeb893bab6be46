"""Session tokens: one holder, a limited life, bounded numbers."""

from __future__ import annotations

import random

import pytest

from broker.tokens import MemoryTokenStore
from schema.envelope import NO_TOKEN

LIFE = 100.0


@pytest.fixture
def store() -> MemoryTokenStore:
    return MemoryTokenStore(LIFE, random.Random(1).randbytes)


def test_a_token_is_good_for_its_holder_until_it_expires(store: MemoryTokenStore) -> None:
    holder, other = object(), object()
    token, expires_in = store.issue(holder, 0.0)
    assert expires_in == LIFE
    assert store.admits(token, holder, 0.0)
    assert store.admits(token, holder, LIFE - 0.001)
    assert not store.admits(token, holder, LIFE)
    assert not store.admits(token, other, 0.0)
    assert not store.admits(NO_TOKEN, holder, 0.0)


def test_a_young_token_is_given_again_and_an_old_one_replaced(store: MemoryTokenStore) -> None:
    holder = object()
    first, _ = store.issue(holder, 0.0)
    assert store.issue(holder, 49.0) == (first, 51.0)
    second, expires_in = store.issue(holder, 51.0)
    assert second != first
    assert expires_in == LIFE
    assert store.admits(first, holder, 99.0), "the previous one stays good until it expires"


def test_however_often_it_asks_a_holder_has_few(store: MemoryTokenStore) -> None:
    holder = object()
    for second in range(10_000):
        store.issue(holder, float(second))
        assert len(store) <= 3


def test_forgetting_a_holder_ends_all_its_tokens(store: MemoryTokenStore) -> None:
    holder, other = object(), object()
    tokens = [store.issue(holder, at).token for at in (0.0, 60.0)]
    kept = store.issue(other, 0.0).token
    store.forget(holder)
    assert not any(store.admits(token, holder, 60.0) for token in tokens)
    assert store.admits(kept, other, 60.0)
    store.forget(holder)


def test_sweeping_frees_what_expired(store: MemoryTokenStore) -> None:
    holders = [object() for _ in range(50)]
    for holder in holders:
        store.issue(holder, 0.0)
    store.sweep(LIFE - 1)
    assert len(store) == 50
    store.sweep(LIFE)
    assert len(store) == 0
    assert not store._by_holder


def test_a_source_that_repeats_itself_or_gives_zeros_makes_no_shared_token() -> None:
    values = iter([NO_TOKEN, b"a" * 16, b"a" * 16, b"b" * 16])
    store = MemoryTokenStore(LIFE, lambda _size: next(values))
    assert store.issue(object(), 0.0).token == b"a" * 16
    assert store.issue(object(), 0.0).token == b"b" * 16
