"""Whether it is quick to ask: the quickest of the last questions says so."""

from __future__ import annotations

import pytest

from peer.filesystem import Decorator
from peer.mount.question_times import QUICK_SECONDS, REMEMBERED, QuestionTimes
from tests.conformance.driver import Files, refused
from tests.conformance.memory_filesystem import memory_filesystem

QUICK, SLOW = QUICK_SECONDS / 2, 2 * QUICK_SECONDS


class Way(Decorator):
    """To a file system, and as long as it is told."""

    def __init__(self):
        super().__init__(memory_filesystem())
        self.now = self.takes = 0.0

    def _perform(self, request, caller, reply):
        self.now += self.takes
        return super()._perform(request, caller, reply)


class Questions:
    def __init__(self):
        self._way = Way()
        self.times = QuestionTimes(self._way, lambda: self._way.now)
        self.files = Files(self.times)

    def ask(self, seconds, times=1):
        self._way.takes = seconds
        for _ in range(times):
            self.files.stat(b"")


@pytest.fixture
def questions():
    return Questions()


def test_before_the_first_answer_we_ask(questions):
    assert questions.times.are_quick


def test_a_way_that_is_always_slow_is_slow(questions):
    questions.ask(SLOW)
    assert not questions.times.are_quick


def test_one_quick_answer_is_a_quick_way(questions):
    questions.ask(SLOW, REMEMBERED)
    questions.ask(QUICK)
    questions.ask(SLOW, REMEMBERED - 1)
    assert questions.times.are_quick


def test_a_way_that_has_become_slow_is_noticed(questions):
    questions.ask(QUICK, REMEMBERED)
    questions.ask(SLOW, REMEMBERED)
    assert not questions.times.are_quick


def test_what_was_refused_may_not_have_been_asked(questions):
    questions.ask(SLOW)
    questions._way.takes = 0.0
    with refused("ENOENT"):
        questions.files.stat(b"absent")
    assert not questions.times.are_quick
