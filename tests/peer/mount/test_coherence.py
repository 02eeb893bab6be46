"""Order, gaps, epochs and trust, as tables of what comes and what follows."""

from __future__ import annotations

import pytest

from peer.mount.coherence import GAP_PATIENCE, Coherence, Missing, State
from schema.changes import Change, ChangeBatch, Changed, Moment, Renamed, Swept
from schema.replies import Following
from tests.peer.mount.samples import FILE

A, B = (b"a",), (b"b",)


def change(path: tuple[bytes, ...] = A) -> Change:
    return Changed(path, FILE)


def batch(first: int, *changes: Change, epoch: int = 7, sent: float = 1e6) -> ChangeBatch:
    return ChangeBatch(epoch, first, changes, sent)


def following(epoch: int, next_number: int, *, sent: float) -> Following:
    return Following(b"t" * 16, b"k" * 32, epoch, next_number, 2.0, sent)


@pytest.fixture
def coherence() -> Coherence:
    coherence = Coherence(grace=1.0)
    coherence.follow(following(7, 5, sent=40.0), 100.0)
    return coherence


def numbers(applied: list) -> list[int]:
    return [each.number for each in applied]


def test_before_it_follows_nothing_is_taken_kept_or_trusted():
    coherence = Coherence(grace=1.0)
    assert coherence.take(batch(1, change()), 1.0) == []
    assert not coherence.trusted(1.0)
    assert not coherence.may_keep(A, Moment(7, 1))


def test_changes_come_out_in_order_and_once(coherence):
    assert numbers(coherence.take(batch(6, change(), change()), 100.0)) == []
    assert coherence.state is State.GAP
    assert not coherence.trusted(100.0)
    assert numbers(coherence.take(batch(5, change(), change()), 100.0)) == [5, 6, 7]
    assert coherence.state is State.CURRENT
    assert coherence.take(batch(5, change(), change(), change()), 100.0) == []
    assert coherence.moment == Moment(7, 7)


@pytest.mark.parametrize("notice", ["heartbeat", "answer", "later batch"])
def test_what_is_missing_is_noticed_and_asked_for_after_a_moment(coherence, notice):
    match notice:
        case "heartbeat":
            coherence.take(batch(6), 100.0)
        case "answer":
            coherence.heard_of(Moment(7, 5), 100.0)
        case _:
            coherence.take(batch(6, change()), 100.0)
    assert coherence.missing(100.0) is None
    assert coherence.missing(100.0 + GAP_PATIENCE) == Missing(7, 5)
    coherence.take(batch(5, change(), change()), 100.1)
    assert coherence.missing(200.0) is None


def test_another_epoch_ends_everything(coherence):
    assert coherence.take(batch(5, change(), epoch=8), 100.0) == []
    assert coherence.state is State.LOST
    coherence.follow(following(8, 1, sent=41.0), 101.0)
    assert coherence.trusted(101.0)
    coherence.heard_of(Moment(9, 1), 101.0)
    assert coherence.state is State.LOST


def test_silence_is_trusted_for_three_heartbeats_and_the_grace(coherence):
    assert coherence.trusted(107.0)
    assert not coherence.silent(106.0)
    assert not coherence.trusted(107.1)
    assert coherence.silent(106.1)
    coherence.take(batch(5), 108.0)
    assert coherence.trusted(108.0)


def test_what_is_old_says_nothing_of_now(coherence):
    coherence.take(batch(5, change()), 101.0)
    coherence.take(batch(5), 150.0)
    assert coherence.heard_at == 101.0


def test_fetched_changes_may_not_be_all_that_there_are(coherence):
    coherence.heard_of(Moment(7, 5), 100.0)
    assert numbers(coherence.fetched(batch(5, change(), sent=44.0), 104.0)) == [5]
    assert coherence.state is State.CURRENT
    assert coherence.heard_at == 100.0
    coherence.fetched(batch(6, sent=45.0), 105.0)
    assert coherence.heard_at == 105.0


def test_what_was_held_back_is_as_old_as_its_sender_says(coherence):
    coherence.take(batch(5, sent=41.0), 150.0)
    assert coherence.heard_at == 101.0
    assert not coherence.trusted(150.0)


def test_how_the_agents_clock_stands_is_learnt_from_the_quicker_of_its_last_two_answers(coherence):
    coherence.answered(sent=50.0, asked_at=107.0)  # it took its time
    coherence.take(batch(5, sent=60.0), 150.0)
    assert coherence.heard_at == 120.0
    coherence.answered(sent=70.0, asked_at=127.0)
    coherence.take(batch(5, sent=65.0), 150.0)
    assert coherence.heard_at == 122.0


def test_another_epoch_may_have_another_clock(coherence):
    coherence.follow(following(8, 1, sent=5000.0), 101.0)
    coherence.take(batch(1, epoch=8, sent=5001.0), 150.0)
    assert coherence.heard_at == 102.0


@pytest.mark.parametrize(
    ("happened", "path", "listing", "kept"),
    [
        (change(A), A, False, False),
        (change(B), A, False, True),
        (change(A), (b"a", b"x"), False, True),
        (change((b"a", b"x")), A, False, True),
        (change((b"a", b"x")), A, True, False),
        (Changed(A, None), (b"a", b"x", b"y"), False, False),
        (Renamed(B, A, FILE), (b"a", b"x"), False, False),
        (Renamed(B, A, FILE), (b"b", b"x"), True, False),
        (Renamed(B, A, FILE), (b"c",), False, True),
        (Swept(()), (b"c", b"d"), False, False),
    ],
)
def test_a_late_answer_is_kept_unless_it_was_overtaken(coherence, happened, path, listing, kept):
    may_keep = coherence.may_keep_listing if listing else coherence.may_keep
    assert may_keep(path, Moment(7, 4))
    coherence.take(batch(5, happened), 100.0)
    assert may_keep(path, Moment(7, 4)) is kept
    assert may_keep(path, Moment(7, 5))
    assert not may_keep(path, Moment(7, 3)), "from before it was followed"
    assert not may_keep(path, Moment(8, 5)), "of another epoch"


def test_what_waits_for_a_hole_is_bounded(coherence):
    for start in range(6, 6 + 100 * 1024, 1024):
        coherence.take(batch(start, *[change()] * 1024), 100.0)
    assert len(coherence._early) <= 64 * 1024 + 1
    assert coherence.take(batch(5, change()), 100.0)


def test_a_late_word_of_where_the_feed_is_takes_nothing_back(coherence):
    coherence.take(batch(5, change(), change()), 100.0)
    coherence.follow(following(7, 5, sent=39.0), 99.0)
    assert coherence.moment == Moment(7, 6)
    assert coherence.take(batch(5, change()), 100.0) == []
    coherence.follow(following(8, 1, sent=41.0), 101.0)
    assert coherence.moment == Moment(8, 0)


def test_a_late_word_of_where_the_feed_is_hides_no_change_that_we_have_heard_of(coherence):
    coherence.heard_of(Moment(7, 6), 100.0)
    coherence.follow(following(7, 5, sent=39.0), 99.0)
    assert coherence.state is State.GAP
    assert coherence.missing(100.0) == Missing(7, 5)
