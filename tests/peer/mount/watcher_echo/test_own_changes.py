"""Which news are the answer to a change of our own."""

from __future__ import annotations

from peer.mount.watcher_echo.own_changes import SURE_SECONDS, UNSURE_SECONDS, OwnChanges

A, B = (b"a",), (b"b",)


def test_news_are_our_own_while_they_may_be():
    own = OwnChanges()
    own.add(A, 10.0)
    assert own.explain([B, A], 10.0 + SURE_SECONDS / 2, within=SURE_SECONDS)
    assert not own.explain([A], 10.0 + 2 * SURE_SECONDS, within=SURE_SECONDS)
    assert own.explain([A], 10.0 + 2 * SURE_SECONDS, within=UNSURE_SECONDS)
    assert not own.explain([A], 10.0 + 2 * UNSURE_SECONDS, within=UNSURE_SECONDS)
    assert not own.explain([B], 10.0, within=UNSURE_SECONDS)


def test_an_answer_after_the_news_explains_them():
    own = OwnChanges()
    own.add(A, 10.0)
    own.add(A, 12.0)
    assert own.explain([A], 11.99, within=SURE_SECONDS)
