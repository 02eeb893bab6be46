"""The numbers of a feed: consecutive, looked at in their order, nothing twice, kept within bounds."""

from __future__ import annotations

import itertools
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.agent.change_feed import BATCH_BYTES, REMEMBERED, ChangeFeed
from peer.agent.watched_tree import NOT_COVERED, Coverage
from schema.attributes import FileMetadata
from schema.changes import MAX_BATCH, ChangeBatch, Changed, Moment, Renamed, Swept, decode_batch, encode_batch

A, B, C = (b"a",), (b"b",), (b"c",)


def metadata(inode, mtime=0, *, directory=False, atime=0):
    mode = (stat.S_IFDIR if directory else stat.S_IFREG) | 0o644
    return FileMetadata(inode, mode, 1, 0, 0, 0, 0, 4096, 1, 0, atime, mtime, mtime)


class Feed:
    """A feed over a file system that is a dict of paths."""

    def __init__(self, **bounds):
        self.files = {}
        self.unreadable = set()
        self.unwatched = set()
        self.batches = []
        self.core = ChangeFeed(self.look, self.cover, self.batches.append, itertools.count(100).__next__, **bounds)

    def cover(self, path):
        return NOT_COVERED if path in self.unwatched else Coverage(name=True, directory=True, listing=True)

    def look(self, path):
        if path in self.unreadable:
            raise PermissionError
        return self.files.get(path)

    @property
    def changes(self):
        return [change for batch in self.batches for change in batch.changes]

    def fresh(self):
        """What was published since the last time."""
        changes = self.changes
        self.batches.clear()
        return changes


@pytest.fixture
def feed():
    return Feed()


def test_a_change_carries_what_is_there_now(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A, B)
    assert feed.batches == [ChangeBatch(100, 1, (Changed(A, metadata(1)), Changed(B, None)))]
    assert feed.core.moment == Moment(100, 2)


def test_what_was_published_is_not_published_twice(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A, A)
    feed.core.changed(A)
    feed.files[A] = metadata(1, atime=5)
    feed.core.changed(A)
    assert feed.fresh() == [Changed(A, metadata(1))]
    feed.files[A] = metadata(1, mtime=5)
    feed.core.changed(A)
    assert feed.fresh() == [Changed(A, metadata(1, mtime=5))]


def test_a_write_is_told_when_it_is_done_though_its_times_were_published_while_it_was_not(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A)
    feed.fresh()
    for _ in range(2):
        feed.core.changed(A, written={A})
        assert feed.fresh() == [Changed(A, metadata(1))]


def test_a_write_of_a_client_is_told_once_and_the_next_of_somebody_else_too(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A, own=True)
    assert feed.fresh() == [Changed(A, metadata(1))]
    feed.files[A] = metadata(1, atime=5)
    feed.core.changed(A, written={A})
    assert feed.fresh() == []
    feed.core.changed(A, written={A})
    assert len(feed.fresh()) == 1


def test_what_somebody_else_wrote_after_a_client_is_told(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A, own=True)
    feed.files[A] = metadata(1, mtime=5)
    feed.core.changed(A)
    feed.fresh()
    feed.core.changed(A, written={A})
    assert feed.fresh() == [Changed(A, metadata(1, mtime=5))]


def test_what_cannot_be_looked_at_is_not_called_gone(feed):
    feed.unreadable.add(A)
    feed.core.changed(A)
    feed.core.appeared(A)
    feed.core.renamed(B, A, feed.core.mark)
    assert {type(change) for change in feed.changes if Changed(B, None) != change} == {Swept}


def test_what_is_not_under_watch_is_not_said_to_be_known(feed):
    feed.unwatched.add(A)
    feed.files[A] = metadata(1)
    feed.core.changed(A)
    feed.core.appeared(A)
    assert feed.changes == [Swept(A), Swept(A)]


def test_an_answer_that_showed_what_the_feed_never_saw_is_put_right(feed):
    """A file came, a client was told of it, and it went, before the feed looked."""
    feed.core.changed(A, B)
    feed.fresh()
    feed.core.answered([(A, metadata(1)), (B, None)])
    feed.core.changed(A, B)
    assert feed.fresh() == [Changed(A, None)]
    for told in (metadata(1), None):  # and which of them arrives last?
        feed.core.answered([(A, told)])
    feed.core.changed(A)
    assert feed.fresh() == [Changed(A, None)]
    feed.core.listed(())
    feed.core.changed(A)
    assert feed.fresh() == [Changed(A, None)]


# --- names


def test_a_rename_moves_what_is_known(feed):
    feed.files = {B: metadata(1, directory=True)}
    feed.core.renamed(A, B, feed.core.mark)
    assert feed.fresh() == [Renamed(A, B, metadata(1, directory=True))]
    feed.core.changed(A, B)
    assert feed.fresh() == [], "both names are known to be so"


def test_a_rename_that_another_followed_is_what_is_left_of_it(feed):
    feed.files = {C: metadata(1, directory=True)}
    feed.core.renamed(A, B, feed.core.mark)
    assert feed.fresh() == [Changed(A, None), Changed(B, None)]
    feed.core.renamed(B, C, feed.core.mark)
    assert feed.fresh() == [Swept(C), Changed(C, metadata(1, directory=True))]


def test_what_was_looked_up_under_a_former_name_is_looked_up_again(feed):
    """inotify told of a/x, then of a -> b; when a/x was looked at it was b/x already."""
    feed.files = {(b"b", b"x"): metadata(2), B: metadata(1, directory=True)}
    mark = feed.core.mark
    feed.core.changed((b"a", b"x"))
    feed.core.renamed(A, B, mark)
    assert feed.fresh() == [
        Changed((b"a", b"x"), None),
        Renamed(A, B, metadata(1, directory=True)),
        Changed((b"b", b"x"), metadata(2)),
    ]


def test_what_was_looked_up_before_the_mark_is_good(feed):
    feed.files = {(b"a", b"x"): metadata(2)}
    feed.core.changed((b"a", b"x"))
    mark = feed.core.mark
    feed.files = {(b"b", b"x"): metadata(2), B: metadata(1, directory=True)}
    feed.fresh()
    feed.core.renamed(A, B, mark)
    assert feed.fresh() == [Renamed(A, B, metadata(1, directory=True))]


def test_a_new_directory_ends_what_was_known_below_its_name(feed):
    feed.files = {A: metadata(1, directory=True)}
    feed.core.appeared(A)
    assert feed.fresh() == [Swept(A), Changed(A, metadata(1, directory=True))]


def test_what_takes_the_place_of_a_directory_ends_it_too(feed):
    feed.files = {A: metadata(1)}
    feed.core.changed(A, B, left={A, B})
    assert feed.fresh() == [Swept(A), Changed(A, metadata(1)), Changed(B, None)]


@pytest.mark.parametrize("own_first", [True, False])
def test_own_changes_of_names_are_told_once_whoever_is_faster(feed, own_first):
    directory = metadata(1, directory=True)
    mark = feed.core.mark
    feed.files = {A: directory}
    tellers = [lambda: feed.core.appeared(A, own=mark), lambda: feed.core.appeared(A)]
    for tell in tellers if own_first else reversed(tellers):
        tell()
    assert feed.fresh() == [Swept(A), Changed(A, directory)]
    mark = feed.core.mark
    feed.files = {B: directory}
    tellers = [lambda: feed.core.renamed(A, B, mark, own=True), lambda: feed.core.renamed(A, B, mark)]
    for tell in tellers if own_first else reversed(tellers):
        tell()
    assert feed.fresh() == [Renamed(A, B, directory)]


def test_the_echo_of_an_own_rename_does_not_move_what_came_since(feed):
    mark = feed.core.mark
    feed.files = {B: metadata(1)}
    feed.core.renamed(A, B, mark, own=True)
    feed.files[A] = metadata(2)
    feed.core.changed(A)
    feed.fresh()
    feed.core.renamed(A, B, mark)
    assert feed.fresh() == []


def test_only_one_echo_is_swallowed(feed):
    directory = metadata(1, directory=True)
    feed.files = {A: directory}
    feed.core.appeared(A, own=feed.core.mark)
    feed.core.appeared(A)
    feed.fresh()
    feed.core.appeared(A)
    assert feed.fresh() == [Swept(A), Changed(A, directory)], "it went away and came back"


# --- epochs, the ring, bounds


def test_an_epoch_ends_all_that_was_said(feed):
    feed.files[A] = metadata(1)
    feed.core.changed(A)
    assert feed.core.begin_epoch() == Moment(101, 0)
    assert feed.batches[-1] == ChangeBatch(101, 1)
    assert feed.core.since(100, 1) is None
    feed.core.changed(A)
    assert feed.batches[-1] == ChangeBatch(101, 1, (Changed(A, metadata(1)),))


def test_a_heartbeat_says_the_next_number(feed):
    feed.core.heartbeat()
    feed.core.swept(A)
    feed.core.heartbeat()
    assert [batch.first for batch in feed.batches] == [1, 1, 2]


def test_the_ring_replays_what_it_holds():
    feed = Feed(ring=3)
    for number in range(5):
        feed.core.swept((b"%d" % number,))
    assert feed.core.since(100, 2) is None
    assert feed.core.since(100, 3) == ChangeBatch(100, 3, tuple(Swept((b"%d" % n,)) for n in (2, 3, 4)))
    assert feed.core.since(100, 5) == ChangeBatch(100, 5, (Swept((b"4",)),))
    assert feed.core.since(100, 6) == ChangeBatch(100, 6)
    assert feed.core.since(100, 7) is None
    assert feed.core.since(99, 3) is None


def test_the_ring_is_bounded_by_bytes_too():
    feed = Feed(ring_bytes=10_000)
    for _ in range(100):
        feed.core.swept((b"x" * 200,))
    assert feed.core.since(100, 50) is None
    assert feed.core.since(100, 90) is not None


def test_batches_are_bounded_by_number_and_bytes(feed):
    feed.core.changed(*((b"%d" % number,) for number in range(3000)))
    deep = (b"x" * 255,) * 240
    feed.core.changed(*((*deep, b"%d" % number) for number in range(20)))
    following = 1
    for batch in feed.batches:
        assert batch.first == following
        following += len(batch.changes)
        assert len(batch.changes) <= MAX_BATCH
        assert len(encode_batch(batch)) < 2 * BATCH_BYTES
        assert decode_batch(encode_batch(batch)) == batch
    assert following == 3021
    replayed = feed.core.since(100, 3001)
    assert 0 < len(replayed.changes) < 20


def test_memory_of_what_was_published_is_bounded(feed):
    for start in range(0, 2 * REMEMBERED, 4096):
        feed.core.changed(*((b"%d" % number,) for number in range(start, start + 4096)))
    assert len(feed.core._published) == REMEMBERED
    feed.core.swept(A)
    assert len(feed.core._published) == 0


NAMES = st.sampled_from([(b"a",), (b"b",), (b"a", b"x"), (b"b", b"x")])


@given(st.lists(st.tuples(st.sampled_from("cmdrsh"), NAMES, NAMES, st.integers(1, 3)), max_size=40))
def test_numbers_have_no_hole_and_the_ring_holds_what_was_published(steps):
    feed = Feed()
    for kind, path, other, inode in steps:
        if kind == "c":
            feed.files[path] = metadata(inode)
            feed.core.changed(path)
        elif kind == "m":
            feed.files[path] = metadata(inode, directory=True)
            feed.core.appeared(path)
        elif kind == "d":
            feed.files.pop(path, None)
            feed.core.changed(path, left={path})
        elif kind == "r":
            mark = feed.core.mark
            moved = {known: feed.files.pop(known) for known in list(feed.files) if known[: len(path)] == path}
            feed.files |= {other + known[len(path) :]: found for known, found in moved.items()}
            feed.core.renamed(path, other, mark)
        elif kind == "s":
            feed.core.swept(path)
        else:
            feed.core.heartbeat()
    following = 1
    for batch in feed.batches:
        assert batch.first == following
        following += len(batch.changes)
    assert feed.core.moment.number == following - 1
    assert feed.core.since(100, 1).changes == tuple(feed.changes)
