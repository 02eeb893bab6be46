from __future__ import annotations

import errno
import os
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from peer.agent import lock_waiters
from peer.agent import locks as locks_module
from peer.agent.access_policy import AccessRules
from peer.agent.dispatcher import Dispatcher, Limits
from schema.envelope import Address
from schema.failure_codes import STALE_HANDLE
from schema.replies import AnyReply, Done, Failure
from schema.requests import Cancel, CloseFile, LockFile, LockMode, LockStyle, OpenFile
from tests.conformance.driver import Files, refused
from tests.peer.agent.conftest import LAPTOP, ME, PHONE, LocalProcess, components, open_descriptors

SHARED, EXCLUSIVE, UNLOCK = LockMode.SHARED, LockMode.EXCLUSIVE, LockMode.UNLOCK


class Client:
    """One client instance, whose answers may come later."""

    def __init__(self, dispatcher: Dispatcher, export: Path, address: Address = LAPTOP) -> None:
        self.dispatcher, self.export, self.address = dispatcher, export, address
        self.files = Files(dispatcher.view(address), components(export), ME)
        self.answers: queue.SimpleQueue[tuple[int, AnyReply]] = queue.SimpleQueue()

    def ask(self, number: int, request) -> None:
        self.dispatcher.perform(self.address, number, request, ME, lambda reply: self.answers.put((number, reply)))

    def lock(self, number: int, handle: int, owner: int, wait_ms: int = 20_000, style=LockStyle.FCNTL) -> None:
        self.ask(number, LockFile(handle, owner, style, EXCLUSIVE, 0, 0, wait_ms))

    def answer(self) -> tuple[int, str]:
        number, reply = self.answers.get(timeout=10)
        return number, reply.code if isinstance(reply, Failure) else "ok"

    def no_answer(self) -> bool:
        return self.answers.empty()


@pytest.fixture
def laptop(dispatcher, export):
    (export / "f").write_bytes(b"content")
    return Client(dispatcher, export)


@pytest.fixture
def phone(dispatcher, export, laptop):
    return Client(dispatcher, export, PHONE)


# --- against programs of the agent's machine


def test_a_local_program_is_kept_out_and_let_in(laptop, export, local_process: LocalProcess):
    handle = laptop.files.open(b"f")
    local_process.do(f"f = open({str(export / 'f')!r}, 'r+b')")
    laptop.files.lock(handle, 1, EXCLUSIVE, 2, 3)
    for kind in ("LOCK_EX", "LOCK_SH"):
        assert local_process.do(f"fcntl.lockf(f, fcntl.{kind} | fcntl.LOCK_NB, 1, 4)") == "EAGAIN"
    assert local_process.do("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 5)") == "ok"
    laptop.files.lock(handle, 1, UNLOCK)
    assert local_process.do("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 4)") == "ok"


def test_a_local_program_keeps_a_client_out(laptop, export, local_process):
    handle = laptop.files.open(b"f")
    local_process.do(f"f = open({str(export / 'f')!r}, 'r+b')")
    assert local_process.do("fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB, 3, 1)") == "ok"
    with refused("EAGAIN"):
        laptop.files.lock(handle, 1, EXCLUSIVE)
    laptop.files.lock(handle, 1, SHARED)
    found = laptop.files.blocker(handle, 1, EXCLUSIVE)
    assert (found.mode, found.start, found.length) == (SHARED, 1, 3)
    assert found.pid > 0


def test_flock_excludes_local_programs_too(laptop, export, local_process):
    handle = laptop.files.open(b"f", os.O_RDONLY)
    local_process.do(f"f = open({str(export / 'f')!r})")
    laptop.files.flock(handle, EXCLUSIVE)
    assert local_process.do("fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)") == "EAGAIN"
    laptop.files.close(handle)
    assert local_process.do("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)") == "ok"
    other = laptop.files.open(b"f")
    with refused("EAGAIN"):
        laptop.files.flock(other, SHARED)


# --- owners


def test_one_number_of_two_clients_is_two_owners(laptop, phone):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    handle = phone.files.open(b"f")
    with refused("EAGAIN"):
        phone.files.lock(handle, 1, EXCLUSIVE)
    assert phone.files.blocker(handle, 1, SHARED).pid == 0, "a process of another machine has no number here"


def test_an_owner_loses_its_locks_with_its_last_handle(laptop, phone):
    first, second = laptop.files.open(b"f"), laptop.files.open(b"f")
    laptop.files.lock(first, 1, EXCLUSIVE, 0, 1)
    laptop.files.lock(second, 1, EXCLUSIVE, 1, 1)
    other = phone.files.open(b"f")
    laptop.files.close(first)
    for start in (0, 1):
        with refused("EAGAIN"):
            phone.files.lock(other, 1, EXCLUSIVE, start, 1)
    laptop.files.close(second)
    phone.files.lock(other, 1, EXCLUSIVE)


def test_a_client_that_is_gone_frees_its_locks(laptop, phone, dispatcher):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    laptop.files.flock(laptop.files.open(b"f"), EXCLUSIVE)
    dispatcher.client_gone(LAPTOP)
    handle = phone.files.open(b"f")
    phone.files.lock(handle, 1, EXCLUSIVE)
    phone.files.flock(handle, EXCLUSIVE)
    laptop.files._handles.clear()


def test_a_shared_lock_becomes_exclusive_by_another_handle_and_keeps_the_rest(laptop, phone):
    reading, writing = laptop.files.open(b"f", os.O_RDONLY), laptop.files.open(b"f", os.O_RDWR)
    other = phone.files.open(b"f")
    laptop.files.lock(reading, 1, SHARED, 0, 2)
    laptop.files.lock(reading, 1, SHARED, 10, 2)
    laptop.files.lock(writing, 1, EXCLUSIVE, 0, 2)
    with refused("EAGAIN"):
        phone.files.lock(other, 1, SHARED, 0, 1)
    with refused("EAGAIN"):
        phone.files.lock(other, 1, EXCLUSIVE, 10, 1)
    phone.files.lock(other, 1, SHARED, 10, 1)


def test_an_upgrade_that_fails_loses_nothing(laptop, phone):
    reading, writing = laptop.files.open(b"f", os.O_RDONLY), laptop.files.open(b"f", os.O_RDWR)
    other = phone.files.open(b"f")
    laptop.files.lock(reading, 1, SHARED)
    phone.files.lock(other, 1, SHARED)
    with refused("EAGAIN"):
        laptop.files.lock(writing, 1, EXCLUSIVE)
    phone.files.lock(other, 1, UNLOCK)
    with refused("EAGAIN"):
        phone.files.lock(other, 1, EXCLUSIVE)


def test_a_shared_lock_does_not_keep_a_program_from_running(laptop, export):
    program = export / "program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    laptop.files.lock(laptop.files.open(b"program", os.O_RDONLY), 1, SHARED)
    subprocess.run([program], check=True, timeout=10)


def test_where_a_file_cannot_be_opened_again_its_handle_holds_the_locks(laptop, phone, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "")

    handle = laptop.files.open(b"f")
    monkeypatch.setattr(locks_module, "reopen", refuse)
    laptop.files.lock(handle, 1, EXCLUSIVE)
    monkeypatch.undo()
    other = phone.files.open(b"f")
    with refused("EAGAIN"):
        phone.files.lock(other, 1, SHARED)
    laptop.files.lock(handle, 1, UNLOCK)
    phone.files.lock(other, 1, EXCLUSIVE)


def test_a_mode_that_the_handle_is_not_open_for(laptop):
    with refused("EBADF"):
        laptop.files.lock(laptop.files.open(b"f", os.O_RDONLY), 1, EXCLUSIVE)
    with refused("EBADF"):
        laptop.files.lock(laptop.files.open(b"f", os.O_WRONLY), 1, SHARED)


def test_ranges_that_no_file_has(laptop):
    handle = laptop.files.open(b"f")
    laptop.files.lock(handle, 1, EXCLUSIVE, 2**63 - 1, 1)
    with refused("EINVAL", "EOVERFLOW"):
        laptop.files.lock(handle, 2, EXCLUSIVE, 2**63 - 1, 2)
    with refused("EINVAL", "EOVERFLOW"):
        laptop.files.lock(handle, 1, EXCLUSIVE, 2**63 - 1, 2**63 - 1)
    laptop.files.lock(handle, 1, UNLOCK)


# --- bounds


def test_owners_and_ranges_are_bounded_and_given_back(start, export, monkeypatch):
    (export / "f").touch()
    dispatcher = start(AccessRules((components(export),)), limits=Limits(lock_owners_per_client=2))
    monkeypatch.setattr(dispatcher._operations._locks, "_ranges_per_client", 3)
    before = open_descriptors()
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    handle = files.open(b"f")
    files.lock(handle, 1, EXCLUSIVE, 0, 1)
    files.lock(handle, 2, EXCLUSIVE, 2, 1)
    with refused("ENOLCK"):
        files.lock(handle, 3, EXCLUSIVE, 4, 1)
    files.lock(handle, 2, EXCLUSIVE, 4, 1)
    with refused("ENOLCK"):
        files.lock(handle, 2, EXCLUSIVE, 6, 1)
    files.lock(handle, 2, EXCLUSIVE, 3, 1)
    files.lock(handle, 2, UNLOCK)
    files.lock(handle, 3, EXCLUSIVE, 4, 1)
    files.close(handle)
    assert len(dispatcher._operations._locks) == 0
    assert dispatcher._operations._locks._holdings == {}
    assert open_descriptors() == before


# --- waiting


def test_a_waiter_gets_the_lock_when_another_client_frees_it(laptop, phone):
    handle, other = laptop.files.open(b"f"), phone.files.open(b"f")
    laptop.files.lock(handle, 1, EXCLUSIVE)
    phone.lock(5, other, 1)
    assert phone.no_answer()
    laptop.files.lock(handle, 1, UNLOCK)
    assert phone.answer() == (5, "ok")
    with refused("EAGAIN"):
        laptop.files.lock(handle, 1, SHARED)


@pytest.mark.parametrize("style", LockStyle)
def test_a_waiter_gets_the_lock_when_the_holder_closes_or_is_gone(laptop, phone, dispatcher, style):
    tablet = Client(dispatcher, laptop.export, Address("tablet", 1))
    handle, other, third = (client.files.open(b"f") for client in (laptop, phone, tablet))
    laptop.lock(1, handle, 1, 0, style)
    phone.lock(2, other, 1, style=style)
    laptop.files.close(handle)
    assert phone.answer() == (2, "ok")
    tablet.lock(3, third, 1, style=style)
    dispatcher.client_gone(PHONE)
    assert tablet.answer() == (3, "ok")
    phone.files._handles.clear()


def test_a_waiter_gets_the_lock_when_a_local_program_frees_it(laptop, export, local_process):
    local_process.do(f"f = open({str(export / 'f')!r}, 'r+b')")
    local_process.do("fcntl.lockf(f, fcntl.LOCK_EX)")
    laptop.lock(1, laptop.files.open(b"f"), 1)
    assert laptop.no_answer()
    local_process.do("fcntl.lockf(f, fcntl.LOCK_UN)")
    assert laptop.answer() == (1, "ok")


def test_a_waiter_is_woken_and_need_not_look_for_itself(laptop, phone, monkeypatch):
    monkeypatch.setattr(lock_waiters, "_FIRST_RETRY", 3600.0)
    handle, other = laptop.files.open(b"f"), phone.files.open(b"f")
    for number, free in enumerate(
        (lambda: laptop.files.lock(handle, 1, UNLOCK), lambda: laptop.files.lock(handle, 1, SHARED))
    ):
        laptop.files.lock(handle, 1, EXCLUSIVE)
        phone.ask(number, LockFile(other, 1, LockStyle.FCNTL, SHARED, 0, 0, 30_000))
        free()
        assert phone.answer() == (number, "ok")
        phone.files.lock(other, 1, UNLOCK)


def test_a_waiter_hears_eagain_when_its_time_is_over(laptop, phone):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    phone.lock(1, phone.files.open(b"f"), 1, wait_ms=30)
    assert phone.answer() == (1, "EAGAIN")
    assert phone.no_answer()


def test_a_waiter_that_is_cancelled_hears_eintr_and_never_gets_the_lock(laptop, phone):
    handle, other = laptop.files.open(b"f"), phone.files.open(b"f")
    laptop.files.lock(handle, 1, EXCLUSIVE)
    phone.lock(1, other, 1)
    laptop.ask(7, Cancel(1))
    assert laptop.answer() == (7, "ok")
    assert phone.no_answer(), "a client cancels its own requests only"
    phone.ask(2, Cancel(1))
    assert {phone.answer(), phone.answer()} == {(1, "EINTR"), (2, "ok")}
    laptop.files.lock(handle, 1, UNLOCK)
    laptop.files.lock(handle, 2, EXCLUSIVE)


def test_a_cancel_that_comes_before_its_request_is_not_lost(laptop, phone):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    phone.ask(2, Cancel(1))
    phone.lock(1, phone.files.open(b"f"), 1)
    assert {phone.answer(), phone.answer()} == {(1, "EINTR"), (2, "ok")}


def test_closing_the_handle_ends_the_wait(laptop, phone):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    other = phone.files.open(b"f")
    phone.lock(1, other, 1)
    phone.files.close(other)
    assert phone.answer() == (1, STALE_HANDLE)


def test_the_end_of_the_agent_ends_every_wait(start, export):
    (export / "f").touch()
    dispatcher = Dispatcher(AccessRules((components(export),)), boot=1)
    laptop, phone = Client(dispatcher, export), Client(dispatcher, export, PHONE)
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    phone.lock(1, phone.files.open(b"f"), 1)
    threads = threading.active_count()
    dispatcher.close()
    assert phone.answer() == (1, "EINTR")
    assert threading.active_count() == threads - 1


def test_waiters_of_one_client_are_bounded(laptop, phone):
    laptop.files.lock(laptop.files.open(b"f"), 1, EXCLUSIVE)
    other = phone.files.open(b"f")
    for number in range(257):
        phone.lock(number, other, 1)
    assert phone.answer() == (256, "ENOLCK")
    phone.dispatcher.client_gone(PHONE)
    assert {phone.answer()[1] for _ in range(256)} == {"EINTR"}
    phone.files._handles.clear()


def test_each_of_many_waiters_gets_the_lock_in_turn(laptop, dispatcher, export):
    holder = laptop.files.open(b"f")
    laptop.files.lock(holder, 1, EXCLUSIVE)
    clients = [Client(dispatcher, export, Address("phone", number)) for number in range(1, 9)]
    turns: queue.SimpleQueue[tuple[Client, int, AnyReply]] = queue.SimpleQueue()
    for client in clients:
        handle = client.files.open(b"f")
        request = LockFile(handle, 1, LockStyle.FCNTL, EXCLUSIVE, 0, 0, 20_000)
        dispatcher.perform(
            client.address, 1, request, ME, lambda reply, turn=(client, handle): turns.put((*turn, reply))
        )
    laptop.files.lock(holder, 1, UNLOCK)
    for _ in clients:
        client, handle, reply = turns.get(timeout=10)
        assert reply == Done()
        assert turns.empty(), "two hold the lock at once"
        client.files.lock(handle, 1, UNLOCK)


def test_a_request_that_opens_nothing_waits_for_nothing(laptop):
    laptop.ask(1, OpenFile((*components(laptop.export), b"f"), os.O_RDWR))
    _, opened = laptop.answers.get(timeout=5)
    laptop.ask(2, CloseFile(opened.handle))
    laptop.lock(3, opened.handle, 1)
    assert laptop.answer() == (2, "ok")
    assert laptop.answer() == (3, STALE_HANDLE)
