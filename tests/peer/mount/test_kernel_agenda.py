"""What is due when."""

from __future__ import annotations

from peer.mount.kernel_agenda import Agenda
from peer.mount.withdrawals import Withdrawal

A, B = (b"a",), (b"b",)
NAME, PAGES = Withdrawal.NAME, Withdrawal.PAGES


def test_a_name_comes_up_once_when_its_time_is_over():
    agenda = Agenda(1.0, postponed=False)
    agenda.put(A, NAME, 10.0)
    agenda.put(B, NAME, 10.5)
    assert agenda.take_due(10.9, 9) == []
    assert agenda.take_due(11.0, 9) == [(A, NAME)]
    assert agenda.take_due(12.0, 9) == [(B, NAME)]
    assert len(agenda) == 0


def test_what_is_put_in_again_adds_up():
    agenda = Agenda(1.0, postponed=False)
    agenda.put(A, NAME, 10.0)
    agenda.put(A, PAGES, 10.5)
    assert agenda.take_due(11.0, 9) == [(A, NAME | PAGES)]


def test_a_postponed_name_waits_anew():
    agenda = Agenda(1.0, postponed=True)
    agenda.put(A, NAME, 10.0)
    agenda.put(B, NAME, 10.2)
    agenda.put(A, NAME, 10.5)
    assert agenda.take_due(11.2, 9) == [(B, NAME)]
    assert agenda.take_due(11.5, 9) == [(A, NAME)]


def test_no_more_than_the_limit_is_taken():
    agenda = Agenda(0.0, postponed=False)
    for number in range(5):
        agenda.put((b"%d" % number,), NAME, 0.0)
    assert len(agenda.take_due(1.0, 3)) == 3
    assert agenda.paths() == [(b"3",), (b"4",)]
