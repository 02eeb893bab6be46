"""What is kept of directories, what is dropped and when, and how much of it there is."""

from __future__ import annotations

import stat
import tracemalloc

import pytest

from peer.agent.metadata_cache import MetadataCache, Scan
from schema.attributes import FileMetadata
from schema.replies import DirectoryEntry

HOME, OTHER = (b"home",), (b"other",)
ONE, TWO = (1, 10), (1, 20)


def entry(name, *, links=1, kind=stat.S_IFREG, volume=1, inode=7):
    metadata = FileMetadata(inode, kind | 0o644, links, 0, 0, 0, 0, 4096, volume, 0, 0, 0, 0)
    return DirectoryEntry(name, inode, kind, metadata)


def scan(*names, taken_at=0.0):
    return Scan(names, [7] * len(names), [stat.S_IFREG] * len(names), (0, 0), settled=True, taken_at=taken_at)


def fill(cache, identity, path, *names, now=0.0):
    cache.keep(cache.known(identity, path, now), scan(*names), map(entry, names), now)


def attributes(cache, identity=ONE, path=HOME, now=0.0):
    return sorted(cache.known(identity, path, now).attributes)


@pytest.fixture
def cache():
    cache = MetadataCache()
    fill(cache, ONE, HOME, b"a", b"b")
    return cache


def tell(cache, kind, *arguments):
    getattr(cache, kind)(*arguments)
    cache.told()


def test_what_was_seen_is_known(cache):
    known = cache.known(ONE, HOME, 0.0)
    assert known.proven
    assert known.scan is not None
    assert (known.scan.names, sorted(known.attributes)) == ((b"a", b"b"), [b"a", b"b"])


def test_without_proof_there_are_names_alone(cache):
    known = cache.known(ONE, None, 0.0)
    assert known.scan is not None
    assert not known.proven
    assert known.attributes == {}
    cache.keep(known, scan(b"c"), [entry(b"c")], 0.0)
    assert attributes(cache) == [b"a", b"b"], "what was looked at without proof is not kept"


def test_what_is_told_of_a_name_takes_its_attributes_and_the_proof_of_all_names(cache):
    tell(cache, "changed", [(*HOME, b"a")])
    assert attributes(cache) == [b"b"]
    assert not cache.known(ONE, HOME, 0.0).proven
    tell(cache, "changed", [HOME])
    assert attributes(cache) == [b"b"], "a directory's own attributes are known in its parent's listing"


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("changed", ([HOME], {HOME})),
        ("swept", (HOME,)),
        ("swept", ((),)),
        ("swept", ((b"elsewhere",), HOME)),
        ("forget", ()),
        ("linked", ()),
    ],
)
def test_what_is_told_of_all_takes_all(cache, kind, arguments):
    fill(cache, TWO, (*HOME, b"a"), b"c")
    tell(cache, kind, *arguments)
    assert attributes(cache) == []
    assert attributes(cache, TWO, (*HOME, b"a")) == []


def test_what_is_told_of_others_takes_nothing(cache):
    for kind, arguments in [
        ("changed", ([OTHER, (*OTHER, b"a"), (*HOME, b"a", b"b")],)),
        ("swept", (OTHER, (b"homes",), (*OTHER, b"a"))),
    ]:
        tell(cache, kind, *arguments)
    assert attributes(cache) == [b"a", b"b"]
    assert cache.known(ONE, HOME, 0.0).proven


@pytest.mark.parametrize("kind", ["changed", "swept", "linked", "forget"])
def test_what_is_told_between_the_question_and_the_look_counts(cache, kind):
    known = cache.known(ONE, HOME, 0.0)
    tell(cache, kind, *{"changed": [[(*HOME, b"new")]], "swept": [HOME]}.get(kind, []))
    cache.keep(known, scan(b"a", b"new"), [entry(b"new")], 0.0)
    assert b"new" not in attributes(cache)


def test_nothing_is_kept_until_the_feeds_have_looked(cache):
    cache.changed([(*HOME, b"a")])
    known = cache.known(ONE, HOME, 0.0)
    cache.told()
    cache.keep(known, None, [entry(b"a")], 0.0)
    assert attributes(cache) == [b"b"]
    known = cache.known(ONE, HOME, 0.0)
    cache.changed([OTHER])
    cache.keep(known, None, [entry(b"a")], 0.0)
    cache.told()
    assert attributes(cache) == [b"b"]
    cache.keep(cache.known(ONE, HOME, 0.0), None, [entry(b"a")], 0.0)
    assert attributes(cache) == [b"a", b"b"]


def test_another_directory_of_that_name_and_another_name_of_that_directory_are_others(cache):
    assert attributes(cache, TWO, HOME) == []
    assert attributes(cache, ONE, HOME) == [], "it was called that, until something else was"
    fill(cache, ONE, HOME, b"a")
    assert attributes(cache, ONE, OTHER) == []
    assert attributes(cache, ONE, HOME) == []


def test_files_with_several_names_and_what_is_mounted_are_not_kept(cache):
    entries = [
        entry(b"linked", links=2),
        entry(b"mounted", kind=stat.S_IFDIR, volume=2),
        entry(b"directory", links=5, kind=stat.S_IFDIR),
        DirectoryEntry(b"unsearchable", 7, stat.S_IFREG),
    ]
    cache.keep(cache.known(ONE, HOME, 0.0), None, entries, 0.0)
    assert attributes(cache) == [b"a", b"b", b"directory"]


def test_attributes_are_believed_for_a_time_from_the_first_look_on(cache):
    cache.keep(cache.known(ONE, HOME, 4.0), None, [entry(b"c")], 4.0)
    assert attributes(cache, now=4.9) == [b"a", b"b", b"c"]
    assert attributes(cache, now=5.0) == []
    assert cache.known(ONE, HOME, 5.0).proven, "no name changes without being told of"
    cache.keep(cache.known(ONE, HOME, 9.0), None, [entry(b"c")], 9.0)
    assert attributes(cache, now=13.9) == [b"c"]


def test_names_are_bounded_and_the_least_recently_used_go_first():
    cache = MetadataCache(max_entries=100)
    for number in range(5):
        fill(cache, (1, number), (b"%d" % number,), *(b"%02d" % name for name in range(30)))
        cache.known((1, 0), (b"0",), 0.0)
    assert cache.counts().names == 90
    assert [bool(attributes(cache, (1, number), (b"%d" % number,))) for number in range(5)] == [
        *(True, False, False, True, True)
    ]
    fill(cache, ONE, HOME, *(b"%03d" % name for name in range(101)))
    assert cache.counts().names == 90, "what is too large does not drive all others out"
    assert attributes(cache) == []


def test_memory_is_bounded_and_counted_about_as_it_is():
    cache = MetadataCache(max_bytes=2_000_000)
    tracemalloc.start()
    try:
        for number in range(20):
            names = [b"a name of twenty %03d" % name for name in range(1000)]
            cache.keep(
                cache.known((1, number), (b"%d" % number,), 0.0),
                scan(*names),
                (
                    DirectoryEntry(
                        name,
                        10**6 + index,
                        0o100000,
                        FileMetadata(
                            *(
                                10**6 + index,
                                0o100000 + index,
                                1,
                                1000 + index,
                                1000 + index,
                                10**6 + index,
                                1000 + index,
                            ),
                            *(4096, 1, 0, 10**18 + index, 10**18 + index, 10**18 + index),
                        ),
                    )
                    for index, name in enumerate(names)
                ),
                0.0,
            )
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    counted = cache.counts().bytes
    assert counted <= 2_000_000
    assert 0.6 < used / counted < 1.4


def test_nothing_is_left_of_what_is_dropped(cache):
    fill(cache, TWO, (*HOME, b"a"), b"c")
    tell(cache, "swept", HOME)
    assert (cache.counts().names, cache.counts().bytes) == (0, 0)
    assert not cache._at_or_below
    assert not cache._by_path
