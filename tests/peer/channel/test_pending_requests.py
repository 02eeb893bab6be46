"""What waits, what is said of it to the agent, and when it goes out."""

from __future__ import annotations

import pytest

from peer.channel.pending_requests import LONGEST_RESEND, NEVER, PendingRequest, PendingRequests
from schema.limits import MAX_IN_FLIGHT
from schema.replies import Done, Failure
from schema.requests import AnyRequest, Caller, DeleteFile, OpenFile

ME = Caller(1, 1)
DELETE = DeleteFile((b"a",))
OPEN = OpenFile((b"a",), 0)
GIVEN_UP = Failure("ETIMEDOUT")


class Waiting:
    """Requests, and those that ended in order."""

    def __init__(self) -> None:
        self.requests = PendingRequests()
        self.ended: list[int] = []

    def add(self, body: AnyRequest = DELETE, deadline: float = 100.0) -> PendingRequest:
        return self.requests.add(
            body, ME, lane=0, deadline=deadline, on_answer=lambda pending: self.ended.append(pending.id)
        )

    def view(self, pending: PendingRequest) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        request = self.requests.sending(pending)
        assert request is not None
        return request.acknowledged, request.waiting, request.abandoned


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_ids_count_up_and_are_used_once(waiting: Waiting) -> None:
    first = waiting.add()
    waiting.requests.answered(first.id, Done())
    assert [waiting.add().id, waiting.add().id] == [2, 3]


def test_a_request_names_all_that_wait_beside_it(waiting: Waiting) -> None:
    one, two, three = waiting.add(), waiting.add(), waiting.add()
    assert waiting.view(two) == (3, (1, 3), ())
    waiting.requests.answered(one.id, Done())
    waiting.requests.give_up(three, GIVEN_UP)
    assert waiting.view(two) == (3, (), ())


def test_more_than_may_be_named_are_said_nothing_about(waiting: Waiting) -> None:
    all_of_them = [waiting.add() for _ in range(MAX_IN_FLIGHT + 5)]
    acknowledged, others, _ = waiting.view(all_of_them[-1])
    assert others == tuple(range(1, MAX_IN_FLIGHT + 1))
    assert acknowledged == MAX_IN_FLIGHT


def test_it_ends_once(waiting: Waiting) -> None:
    pending = waiting.add()
    assert waiting.requests.answered(pending.id, Done()) is pending
    assert waiting.requests.answered(pending.id, GIVEN_UP) is None
    assert not waiting.requests.give_up(pending, GIVEN_UP)
    assert waiting.requests.sending(pending) is None
    assert (waiting.ended, pending.answer, len(waiting.requests)) == ([1], Done(), 0)


def test_an_open_given_up_is_told_until_an_answer_proves_that_it_was_heard(waiting: Waiting) -> None:
    opening, before = waiting.add(OPEN), waiting.add()
    waiting.view(opening)
    waiting.view(before)
    waiting.requests.give_up(opening, GIVEN_UP)
    waiting.requests.answered(before.id, Done())  # sent before: it cannot have told
    told = waiting.add()
    assert waiting.view(told) == (3, (), (1,))
    assert waiting.view(waiting.add()) == (4, (3,), (1,))
    waiting.requests.answered(told.id, Done())
    assert waiting.view(waiting.add()) == (5, (4,), ())


def test_a_repeat_that_tells_more_than_the_first_copy_proves_nothing(waiting: Waiting) -> None:
    opening, asked = waiting.add(OPEN), waiting.add()
    waiting.view(opening)
    waiting.view(asked)
    waiting.requests.give_up(opening, GIVEN_UP)
    assert waiting.view(asked) == (2, (), (1,))
    waiting.requests.answered(asked.id, Done())  # may be the answer to the first copy
    assert waiting.view(waiting.add()) == (3, (), (1,))


def test_an_open_that_never_went_out_has_nothing_to_undo(waiting: Waiting) -> None:
    waiting.requests.give_up(waiting.add(OPEN), GIVEN_UP)
    assert waiting.view(waiting.add()) == (2, (), ())


def test_what_is_to_be_undone_is_bounded(waiting: Waiting) -> None:
    for _ in range(MAX_IN_FLIGHT + 3):
        opening = waiting.add(OPEN)
        waiting.requests.sending(opening)
        waiting.requests.give_up(opening, GIVEN_UP)
    _, _, abandoned = waiting.view(waiting.add())
    assert abandoned == tuple(range(4, MAX_IN_FLIGHT + 4))


def test_nobody_else_sends_what_is_being_sent(waiting: Waiting) -> None:
    pending = waiting.add()
    assert waiting.requests.due(5.0) == [pending]
    waiting.requests.sending(pending)
    assert pending.send_at == NEVER
    assert waiting.requests.due(5.0) == []


def test_repeats_come_with_pauses_that_double_up_to_a_bound(waiting: Waiting) -> None:
    pending = waiting.add(deadline=1e9)
    now, pauses = 0.0, []
    for counter in range(6):
        waiting.requests.sent(pending, (1, counter), now, 2.0)
        pauses.append(pending.send_at - now)
        assert waiting.requests.due(pending.send_at - 0.01) == []
        now = pending.send_at
        assert waiting.requests.due(now) == [pending]
    assert pauses == [2.0, 4.0, 8.0, 16.0, LONGEST_RESEND, LONGEST_RESEND]


def test_what_did_not_get_through_begins_anew_with_its_pauses(waiting: Waiting) -> None:
    pending = waiting.add()
    for counter in range(4):
        waiting.requests.sent(pending, (1, counter), 0.0, 2.0)
    waiting.requests.again(pending, 7.0)
    waiting.requests.sent(pending, (1, 9), 7.0, 2.0)
    assert pending.send_at == 9.0


def test_past_its_deadline_it_is_overdue_and_not_sent(waiting: Waiting) -> None:
    pending = waiting.add(deadline=3.0)
    assert (waiting.requests.due(2.9), waiting.requests.overdue(2.9)) == ([pending], [])
    assert (waiting.requests.due(3.0), waiting.requests.overdue(3.0)) == ([], [pending])


def test_it_is_found_by_its_last_envelope_only(waiting: Waiting) -> None:
    pending = waiting.add()
    waiting.requests.sent(pending, (5, 1), 0.0, 2.0)
    waiting.requests.sent(pending, (5, 2), 0.0, 2.0)
    assert waiting.requests.sent_as(5, 1) is None
    assert waiting.requests.sent_as(5, 2) is pending
    waiting.requests.unsent(pending)
    assert waiting.requests.sent_as(5, 2) is None


def test_an_answer_that_is_faster_than_the_record_of_sending_leaves_nothing_behind(waiting: Waiting) -> None:
    pending = waiting.add()
    waiting.requests.answered(pending.id, Done())
    waiting.requests.sent(pending, (5, 1), 0.0, 2.0)
    assert waiting.requests.sent_as(5, 1) is None
    assert waiting.requests._by_envelope == {}
