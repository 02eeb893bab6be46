from __future__ import annotations

import errno
import fcntl
from types import SimpleNamespace

import pytest

from peer.errors import OperationFailed
from peer.filesystem import PerformedFileSystem
from peer.mount.lock_translation import Locks
from schema.replies import Done, LockState
from schema.requests import Caller, LockMode, LockStyle

CALLER = Caller(1, 2)
HANDLE, FILE, OWNER = 7, (1, 2), 42


class Agent(PerformedFileSystem):
    """Answers lock requests from a list: an exception is raised, a reply given."""

    def __init__(self) -> None:
        self.asked = []
        self.answers = []

    def _perform(self, request, caller, reply):
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else Done()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def agent():
    return Agent()


@pytest.fixture
def signals():
    """How often a waiting thread may ask on before it is sent a signal."""
    return SimpleNamespace(after=1000)


@pytest.fixture
def seen():
    return []


@pytest.fixture
def locks(agent, signals, seen):
    def interrupted():
        signals.after -= 1
        return signals.after < 0

    locks = Locks(agent, interrupted, seen.append)
    locks.opened(HANDLE, FILE)
    return locks


def lock(kind, start=0, length=0):
    return SimpleNamespace(l_type=kind, l_whence=0, l_start=start, l_len=length, l_pid=0)


def busy():
    return OperationFailed("EAGAIN")


def test_a_range_is_locked_and_the_file_looked_at_anew(locks, agent, seen):
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_WRLCK, 5, 10), OWNER, CALLER)
    (request,) = agent.asked
    assert (request.owner, request.style, request.mode) == (OWNER, LockStyle.FCNTL, LockMode.EXCLUSIVE)
    assert (request.start, request.length, request.wait_ms) == (5, 10, 0)
    assert seen == [HANDLE]


def test_a_busy_range_is_refused_at_once(locks, agent, seen):
    agent.answers = [busy()]
    with pytest.raises(OperationFailed, match="EAGAIN"):
        locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_RDLCK), OWNER, CALLER)
    assert len(agent.asked) == 1
    assert not seen


def test_whoever_waits_asks_until_it_has_the_lock(locks, agent, seen):
    agent.answers = [busy(), busy(), Done()]
    locks.record_lock(HANDLE, fcntl.F_SETLKW, lock(fcntl.F_WRLCK), OWNER, CALLER)
    assert [request.wait_ms > 0 for request in agent.asked] == [True] * 3
    assert seen == [HANDLE]


@pytest.mark.parametrize("style", ["fcntl", "flock"])
def test_a_signal_ends_the_wait(locks, agent, signals, style):
    agent.answers = [busy()] * 10
    signals.after = 3
    with pytest.raises(InterruptedError) as ended:
        if style == "fcntl":
            locks.record_lock(HANDLE, fcntl.F_SETLKW, lock(fcntl.F_WRLCK), OWNER, CALLER)
        else:
            locks.whole_file(HANDLE, fcntl.LOCK_EX, OWNER, CALLER)
    assert ended.value.errno == errno.EINTR
    assert len(agent.asked) == 4


def test_another_failure_ends_the_wait(locks, agent):
    agent.answers = [OperationFailed("ENOLCK")]
    with pytest.raises(OperationFailed, match="ENOLCK"):
        locks.record_lock(HANDLE, fcntl.F_SETLKW, lock(fcntl.F_WRLCK), OWNER, CALLER)


def test_closing_asks_nothing_of_the_agent_where_nothing_was_locked(locks, agent):
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_UNLCK), OWNER, CALLER)
    assert not agent.asked


def test_closing_gives_back_what_the_process_locked_through_any_handle(locks, agent):
    locks.opened(8, FILE)
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_WRLCK, 5, 10), OWNER, CALLER)
    locks.record_lock(8, fcntl.F_SETLK, lock(fcntl.F_UNLCK), 43, CALLER)
    locks.record_lock(8, fcntl.F_SETLK, lock(fcntl.F_UNLCK), OWNER, CALLER)
    assert [(request.handle, request.mode) for request in agent.asked[1:]] == [(8, LockMode.UNLOCK)]
    locks.record_lock(8, fcntl.F_SETLK, lock(fcntl.F_UNLCK), OWNER, CALLER)
    assert len(agent.asked) == 2


def test_a_part_given_back_leaves_the_rest_to_give_back(locks, agent):
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_WRLCK), OWNER, CALLER)
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_UNLCK, 5, 1), OWNER, CALLER)
    locks.record_lock(HANDLE, fcntl.F_SETLK, lock(fcntl.F_UNLCK), OWNER, CALLER)
    assert len(agent.asked) == 3


def test_who_stands_in_the_way(locks, agent):
    agent.answers = [LockState(LockMode.SHARED, 3, 4, 99), LockState(LockMode.UNLOCK)]
    wanted = lock(fcntl.F_WRLCK, 1, 100)
    locks.record_lock(HANDLE, fcntl.F_GETLK, wanted, OWNER, CALLER)
    assert (wanted.l_type, wanted.l_start, wanted.l_len, wanted.l_pid) == (fcntl.F_RDLCK, 3, 4, 99)
    locks.record_lock(HANDLE, fcntl.F_GETLK, wanted, OWNER, CALLER)
    assert wanted.l_type == fcntl.F_UNLCK


def test_flock_modes(locks, agent):
    for operation in (fcntl.LOCK_SH, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN):
        locks.whole_file(HANDLE, operation, OWNER, CALLER)
    assert [(request.mode, request.wait_ms > 0) for request in agent.asked] == [
        (LockMode.SHARED, True),
        (LockMode.EXCLUSIVE, False),
        (LockMode.UNLOCK, False),
    ]
    assert {request.style for request in agent.asked} == {LockStyle.FLOCK}


def test_nonsense_is_refused(locks):
    with pytest.raises(OSError, match="no lock is of type"):
        locks.record_lock(HANDLE, fcntl.F_SETLK, lock(17), OWNER, CALLER)
    with pytest.raises(OSError, match="no flock operation"):
        locks.whole_file(HANDLE, 99, OWNER, CALLER)
