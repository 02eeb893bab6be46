"""Histories that explain what was seen, and the same with one thing changed that must not pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.stack.hammer.checker import QUIET, SECOND, Checker
from tests.stack.hammer.history import ABSENT, FOREVER, Change, Kind, Look, State, read_log, written

ONE, TWO, THREE = (State(Kind.FILE, ((tag, 5 * tag),), 0o644) for tag in (1, 2, 3))
BOUND = SECOND


def change(start, end, after, root="export", *, before=ABSENT, gradual=False, sure=True):
    return Change(1, root, "n", "replace", start, end, after, before, gradual, sure)


def look(start, end, state, operation="read", *, process=9, root="mount"):
    fields = {"content": state.content} if operation in ("read", "held") else {}
    if operation == "stat" and state.kind is Kind.FILE:
        fields = {"size": state.size, "mode": state.mode}
    return Look(process, root, "n", operation, start, end, state.kind, **fields)


def unexplained(changes, *looks):
    return [why for _, why in Checker(changes, exact=("export",), bound=BOUND).check(looks).unexplained]


HISTORY = (change(100, 110, ONE), change(200, 210, TWO))


@pytest.mark.parametrize(
    ("start", "end", "state"),
    [
        (10, 20, ABSENT),
        (10, 105, ONE),
        (105, 106, ABSENT),
        (120, 130, ONE),
        (205, 206, ONE),
        (205, 206, TWO),
        (300, 301, TWO),
    ],
)
def test_an_open_sees_what_was_closed_before_it_or_is_closed_meanwhile(start, end, state):
    assert not unexplained(HISTORY, look(start, end, state))


@pytest.mark.parametrize(
    ("start", "end", "state", "why"),
    [
        (10, 20, ONE, "never was like that before"),
        (120, 130, ABSENT, "old"),
        (211, 212, ONE, "old"),
        (120, 130, TWO, "never was like that before"),
        (300, 301, replace(TWO, content=((2, 9),)), "never was like that"),
        (300, 301, replace(TWO, content=((2, 5), (1, 5))), "never was like that"),
    ],
    ids=["the future", "not there any more", "what was before", "not yet written", "cut", "mixed"],
)
def test_an_open_sees_nothing_else(start, end, state, why):
    (said,) = unexplained(HISTORY, look(start, end, state))
    assert why in said


def test_of_changes_at_once_any_may_be_the_last():
    changes = (change(100, 200, ONE), change(150, 160, TWO), change(190, 300, THREE))
    assert not unexplained(
        changes, look(250, 260, ONE), look(250, 260, TWO, process=8), look(250, 260, THREE, process=7)
    )
    assert unexplained(changes, look(301, 302, TWO))


def test_nobody_goes_back():
    changes = (change(100, 110, ONE), change(200, 400, TWO))
    assert not unexplained(changes, look(300, 310, ONE), look(320, 330, TWO))
    assert unexplained(changes, look(300, 310, TWO), look(320, 330, ONE))
    at_once = (change(100, 250, ONE), change(200, 400, TWO))
    assert not unexplained(at_once, look(300, 310, TWO), look(320, 330, ONE))
    late = (*HISTORY, change(220, 230, ONE))
    assert not unexplained(late, look(205, 206, TWO), look(225, 226, ONE))
    (said,) = unexplained(HISTORY, look(211, 212, TWO), look(213, 214, ONE, "stat"))
    assert "has seen later" in said
    assert not unexplained(HISTORY, look(211, 212, TWO), look(213, 214, ONE, "stat", process=8))


def test_attributes_may_be_late_but_not_too_late_and_not_of_ones_own():
    changes = (change(100, 110, ONE), change(200, 210, TWO, "laptop"))
    assert not unexplained(changes, look(210 + BOUND, 211 + BOUND, ONE, "stat", root="desktop"))
    assert unexplained(changes, look(211 + BOUND, 212 + BOUND, ONE, "stat", root="desktop"))
    assert unexplained(changes, look(211, 212, ONE, "stat", root="laptop"))
    assert unexplained(changes, look(211, 212, ONE, "stat", root="export"))
    lags = Checker(changes, exact=("export",), bound=BOUND).check([look(250, 251, ONE, "stat", root="desktop")]).lags
    assert lags == {"stat on a mount": [40]}


@pytest.mark.parametrize(
    "wrong", [replace(TWO, mode=0o600), replace(TWO, content=((2, 11),)), State(Kind.DIRECTORY), ABSENT]
)
def test_attributes_are_those_that_there_were(wrong):
    assert not unexplained(HISTORY, look(300, 301, TWO, "stat"))
    assert unexplained(HISTORY, look(300 + BOUND, 301 + BOUND, wrong, "stat"))


def test_a_quiet_file_may_be_opened_from_what_is_known():
    changes = (change(100, 110, ONE), change(100 + QUIET, 110 + QUIET, TWO))
    assert not unexplained(changes, look(150 + QUIET, 151 + QUIET, ONE))
    assert unexplained(changes, look(150 + QUIET, 151 + QUIET, ONE, root="export"))
    assert unexplained(changes, look(150 + QUIET + BOUND, 151 + QUIET + BOUND, ONE))
    busy = (change(100, 110, ONE), change(QUIET - 100, QUIET - 90, TWO))
    assert unexplained(busy, look(QUIET, QUIET + 1, ONE))


def test_on_the_way_from_one_content_to_the_next_there_is_something_of_both():
    changes = (change(100, 110, ONE), change(200, 300, TWO, before=ONE, gradual=True))
    mixed = replace(TWO, content=((2, 2), (1, 3)))
    assert not unexplained(changes, look(250, 260, mixed), look(270, 280, replace(TWO, content=())))
    assert not unexplained(changes, Look(9, "mount", "n", "read", 250, 260, Kind.FILE, torn="half a record"))
    assert unexplained(changes, look(310, 320, mixed))
    assert unexplained(changes, look(250, 260, THREE))
    assert unexplained(changes, Look(9, "mount", "n", "read", 310, 320, Kind.FILE, torn="half a record"))


def test_a_look_of_several_reads_may_be_of_several_moments():
    changes = (
        change(100, 110, ONE),
        change(200, 210, TWO, before=ONE, gradual=True),
        change(300, 310, THREE, before=TWO, gradual=True),
    )
    mixed = replace(THREE, content=((1, 2), (3, 3)))
    assert not unexplained(changes, look(150, 400, mixed))
    assert unexplained(changes, look(250, 400, mixed))
    assert unexplained(changes, look(320, 400, mixed))


def test_a_change_that_failed_may_come_yet_but_undoes_nothing():
    changes = (*HISTORY, change(250, FOREVER, THREE, sure=False))
    assert not unexplained(changes, look(300, 301, TWO), look(400, 401, THREE))
    assert unexplained(changes, look(400, 401, ONE))
    doubtful = (*HISTORY, change(250, 260, ABSENT, sure=False))
    assert not unexplained(doubtful, look(300, 301, TWO))
    assert not unexplained(doubtful, look(300, 301, ABSENT, "missing"))


def test_a_held_file_is_of_any_moment_since_its_open():
    held = Look(9, "mount", "n", "held", 150, 400, Kind.FILE, ONE.content, again=390)
    assert not unexplained(HISTORY, held)
    assert unexplained(HISTORY, replace(held, start=211))


def test_a_held_file_is_followed_to_its_new_name():
    moved = replace(change(160, 170, ABSENT), to="m")
    there = [replace(each, name="m") for each in (change(160, 170, ONE), change(250, 260, TWO))]
    history = (change(100, 110, ONE), moved, *there)
    held = Look(9, "mount", "n", "held", 150, 400, Kind.FILE, TWO.content, again=390)
    assert not unexplained(history, held)
    assert unexplained(history, replace(held, start=180))
    assert unexplained(history, replace(held, end=240))


def test_a_held_file_is_followed_though_its_names_are_used_again():
    moves = [replace(change(160 + at, 170 + at, ABSENT), to="m") for at in (0, 100)]
    there = [
        replace(each, name="m") for each in (change(160, 170, ONE), change(200, 210, TWO), change(260, 270, THREE))
    ]
    history = (change(100, 110, ONE), change(220, 230, THREE), *moves, *there)
    held = Look(9, "mount", "n", "held", 150, 400, Kind.FILE, TWO.content, again=390)
    assert not unexplained(history, held)


def test_what_became_of_a_file_under_another_name_is_not_later_than_what_took_its_own():
    moved = replace(change(160, 170, ABSENT), to="m")
    there = [replace(each, name="m") for each in (change(160, 170, ONE), change(300, 310, TWO))]
    history = (change(100, 110, ONE), moved, *there, change(200, 210, THREE))
    held = Look(9, "mount", "n", "held", 150, 400, Kind.FILE, TWO.content, again=390)
    assert not unexplained(history, held, look(410, 411, THREE, "stat"))


def test_a_log_is_read_as_it_was_written(tmp_path):
    events = [*HISTORY, look(1, 2, ONE), look(1, 2, ABSENT, "stat")]
    log = tmp_path / "log"
    log.write_text("".join(f"{written(event)}\n" for event in events))
    assert list(read_log(log)) == events
