"""A repeat gets the first answer; what nobody waits for is never begun."""

from __future__ import annotations

import pytest

from peer.channel.reply_cache import MAX_KEPT, ReplyCache, Verdict
from schema.attributes import FileMetadata
from schema.replies import AnyReply, Done, FileData, OpenedFile
from schema.requests import AnyRequest, Caller, DeleteFile, OpenFile, ReadFile, Request

ME = Caller(1, 1)
DELETE = DeleteFile((b"a",))
DONE = Done()
OPEN = OpenFile((b"a",), 0, 4)
OPENED = OpenedFile(9, FileMetadata(*[1] * 13), 3, memoryview(b"data"))


def asked(
    number: int,
    acknowledged: int | None = None,
    waiting: tuple[int, ...] = (),
    *,
    body: AnyRequest = DELETE,
    abandoned: tuple[int, ...] = (),
) -> Request:
    known = number if acknowledged is None else acknowledged
    return Request(number, known, ME, body, waiting, abandoned)


@pytest.fixture
def cache() -> ReplyCache[str]:
    return ReplyCache()


def done(cache: ReplyCache[str], number: int, reply: AnyReply = DONE, body: AnyRequest = DELETE) -> None:
    assert cache.begin(asked(number, waiting=tuple(range(1, number)), body=body), "way") is Verdict.BEGIN
    assert cache.finish(number, body, reply) == "way"


def test_a_repeat_of_what_runs_is_not_begun_and_answered_by_its_own_way(cache: ReplyCache[str]) -> None:
    assert cache.begin(asked(1), "first") is Verdict.BEGIN
    assert cache.begin(asked(1), "second") is Verdict.RUNNING
    assert cache.finish(1, DELETE, Done()) == "second"


def test_a_repeat_of_what_was_done_gets_the_first_answer(cache: ReplyCache[str]) -> None:
    done(cache, 1)
    assert cache.begin(asked(1), "way") == Done()


def test_a_read_is_simply_done_again(cache: ReplyCache[str]) -> None:
    read = ReadFile(1, 0, 4)
    cache.begin(asked(1, body=read), "way")
    cache.finish(1, read, FileData(memoryview(b"data")))
    assert len(cache) == 0
    assert cache.begin(asked(1, body=read), "way") is Verdict.BEGIN


@pytest.mark.parametrize(
    ("acknowledged", "waiting", "verdict"),
    [
        (4, (), Verdict.STALE),
        (4, (3,), Verdict.BEGIN),
        (4, (2, 3), Verdict.BEGIN),
        (4, (2,), Verdict.STALE),
        (2, (), Verdict.BEGIN),
    ],
)
def test_what_the_client_does_not_wait_for_is_never_begun(
    cache: ReplyCache[str], acknowledged: int, waiting: tuple[int, ...], verdict: Verdict
) -> None:
    cache.begin(asked(4, acknowledged, waiting), "way")
    assert cache.begin(asked(3, 3), "way") is verdict


def test_a_slow_request_does_not_keep_the_replies_of_all_that_came_after(cache: ReplyCache[str]) -> None:
    assert cache.begin(asked(1), "way") is Verdict.BEGIN
    for number in range(2, 3 * MAX_KEPT):
        assert cache.begin(asked(number, waiting=(1,)), "way") is Verdict.BEGIN
        cache.finish(number, DELETE, Done())
    assert len(cache) <= 2
    assert cache.finish(1, DELETE, Done()) == "way"


def test_an_older_word_that_was_overtaken_changes_nothing(cache: ReplyCache[str]) -> None:
    cache.begin(asked(5, 5, ()), "way")
    assert cache.begin(asked(4, 4, (1, 2, 3)), "way") is Verdict.STALE
    assert cache.begin(asked(3, 5, (4, 5)), "way") is Verdict.STALE


def test_of_two_words_about_the_same_ids_the_one_that_waits_for_less_is_newer(cache: ReplyCache[str]) -> None:
    cache.begin(asked(3, 3, (1, 2)), "way")
    cache.begin(asked(2, 3, (1,)), "way")
    assert cache.begin(asked(3, 3, (1, 2)), "way") is Verdict.STALE
    assert cache.begin(asked(1, 3, (2, 3)), "way") is Verdict.BEGIN


def test_a_kept_open_is_small(cache: ReplyCache[str]) -> None:
    done(cache, 1, OPENED, OPEN)
    again = cache.begin(asked(1, body=OPEN), "way")
    assert isinstance(again, OpenedFile)
    assert (again.handle, again.generation, bytes(again.data)) == (9, 3, b"")


def test_too_many_are_refused(cache: ReplyCache[str]) -> None:
    for number in range(1, MAX_KEPT + 1):
        assert cache.begin(asked(number, 0), "way") is Verdict.BEGIN
    assert cache.begin(asked(MAX_KEPT + 1, 0), "way") is Verdict.TOO_MANY
    cache.finish(1, DELETE, Done())
    assert cache.begin(asked(MAX_KEPT + 1, 0), "way") is Verdict.TOO_MANY, "its reply is still wanted"
    assert cache.begin(asked(MAX_KEPT + 1, 1), "way") is Verdict.BEGIN


def test_what_was_opened_for_nobody_is_an_orphan(cache: ReplyCache[str]) -> None:
    done(cache, 1, OPENED, OPEN)
    cache.begin(asked(2, abandoned=(1,)), "way")
    assert cache.take_orphans() == [9]
    assert cache.take_orphans() == []
    cache.begin(asked(3, abandoned=(1,)), "way")
    assert cache.take_orphans() == []


def test_so_is_what_is_opened_after_it_was_given_up(cache: ReplyCache[str]) -> None:
    cache.begin(asked(1, body=OPEN), "way")
    cache.begin(asked(2, abandoned=(1,)), "way")
    assert cache.take_orphans() == []
    cache.finish(1, OPEN, OPENED)
    assert cache.take_orphans() == [9]


def test_and_what_finishes_for_a_client_that_is_no_more(cache: ReplyCache[str]) -> None:
    assert cache.finish(1, OPEN, OPENED) is None
    assert cache.take_orphans() == [9]


def test_an_open_that_was_answered_is_no_orphan(cache: ReplyCache[str]) -> None:
    done(cache, 1, OPENED, OPEN)
    cache.begin(asked(2), "way")
    assert (cache.take_orphans(), len(cache)) == ([], 1)
