"""Requester and responder over real sockets and a real broker: every call ends, whatever restarts."""

from __future__ import annotations

import queue
import secrets
import threading

import pytest

from peer.channel import responder_core
from peer.channel.packing import Padding
from peer.channel.requester import Patience, Requester
from peer.errors import OperationFailed
from peer.link import request_link
from schema.failure_codes import MALFORMED
from schema.replies import Done, Failure, FileData, Written
from schema.requests import (
    Cancel,
    CloseFile,
    DeleteFile,
    GetMetadata,
    LockFile,
    LockMode,
    LockStyle,
    ReadFile,
    WriteFile,
)
from tests.peer.channel.wired import ME, METADATA, OPEN, PATIENCE, STAT, Wired, asking, opened

DELETE = DeleteFile((b"a",))
SHORT = Patience(0.5, 0.5)


def ended(result: queue.Queue[object]) -> object:
    return result.get(timeout=PATIENCE)


def failed(code: str) -> object:
    return pytest.raises(OperationFailed, match=code)


def call_from_many(requester: Requester, threads: int, each: int) -> list[object]:
    """Every answer that each of `threads` got to `each` calls, or what it raised."""
    results = [asking(lambda: [requester.call(STAT, ME) for _ in range(each)]) for _ in range(threads)]
    return [ended(result) for result in results]


def test_a_request_is_answered(wired: Wired) -> None:
    assert wired.client().call(STAT, ME) == METADATA


def test_a_failure_is_raised_with_the_agents_code(wired: Wired) -> None:
    result = asking(lambda: wired.client().call(DELETE, ME))
    wired.handler.next().answer(Failure("ENOTEMPTY", "there is something in it"))
    error = ended(result)
    assert isinstance(error, OperationFailed)
    assert (error.code, error.message) == ("ENOTEMPTY", "there is something in it")


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 1024 * 1024])
def test_bulk_arrives_as_it_was_sent(wired: Wired, size: int) -> None:
    client = wired.client()
    content = bytes(range(256)) * (size // 256 + 1)
    result = asking(lambda: client.call(WriteFile(1, 0, memoryview(content)[:size]), ME))
    asked = wired.handler.next()
    assert isinstance(asked.request, WriteFile)
    assert bytes(asked.request.data) == content[:size]
    asked.answer(Written(size, METADATA.metadata))
    assert ended(result) == Written(size, METADATA.metadata)
    result = asking(lambda: client.call(ReadFile(1, 0, size), ME))
    wired.handler.next().answer(FileData(memoryview(content)[:size]))
    answer = ended(result)
    assert isinstance(answer, FileData)
    assert bytes(answer.data) == content[:size]


def test_padded_bodies_pass_between_ends_that_pad_differently(wired: Wired) -> None:
    wired.stop_agent()
    wired.start_agent(padding=Padding.POWERS)
    assert wired.client().call(STAT, ME) == METADATA


def test_no_wakeup_is_lost_between_callers_and_the_links_thread(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    """With timers this slow an edge that nobody took over would be a call that is not answered in time."""
    wired.stop_agent()
    wired.stop_broker()
    monkeypatch.setattr(request_link, "LONGEST_WAIT", 3600.0)
    monkeypatch.setattr(request_link, "UPKEEP", 3600.0)
    wired.start_broker(heartbeat_seconds=3600.0, token_seconds=86_400.0)
    wired.start_agent()
    client = wired.client(resend_after=3600.0)
    assert call_from_many(client, threads=6, each=250) == [[METADATA] * 250] * 6


def test_a_broker_that_restarts_is_found_again(wired: Wired) -> None:
    client = wired.client()
    assert client.call(STAT, ME) == METADATA
    wired.stop_broker()
    result = asking(lambda: client.call(STAT, ME))
    wired.start_broker()
    assert ended(result) == METADATA


def test_an_agent_that_restarts_is_found_again(wired: Wired) -> None:
    client = wired.client()
    assert client.call(STAT, ME) == METADATA
    result = asking(lambda: client.call(DELETE, ME))
    wired.handler.next()
    wired.stop_agent()
    wired.start_agent()
    wired.handler.next().answer(Done())
    assert ended(result) == Done()


def test_calls_from_many_threads_pass_over_a_broker_that_restarts(wired: Wired) -> None:
    client = wired.client()
    client.call(STAT, ME)
    result = asking(lambda: call_from_many(client, threads=4, each=200))
    wired.stop_broker()
    wired.start_broker()
    assert ended(result) == [[METADATA] * 200] * 4


def test_what_nobody_answers_fails_in_time(wired: Wired) -> None:
    client = wired.client(patience=SHORT)
    with failed("ETIMEDOUT"):
        client.call(DELETE, ME)


def test_without_an_agent_the_reason_is_said(wired: Wired) -> None:
    wired.stop_agent()
    client = wired.client(patience=SHORT)
    with failed("the destination is not connected"):
        client.call(STAT, ME)


def test_without_a_broker_the_reason_is_said(wired: Wired) -> None:
    wired.stop_broker()
    client = wired.client(patience=SHORT)
    with failed("nobody answers there"):
        client.call(STAT, ME)


def test_a_caller_that_was_killed_gets_away_and_its_lock_is_cancelled(wired: Wired) -> None:
    killed = threading.Event()
    client = wired.client(abandoned=lambda body: isinstance(body, LockFile) and killed.is_set())
    lock = LockFile(1, 9, LockStyle.FCNTL, LockMode.EXCLUSIVE, wait_ms=10_000)
    result = asking(lambda: client.call(lock, ME))
    waiting = wired.handler.next()
    killed.set()
    error = ended(result)
    assert isinstance(error, OperationFailed)
    assert error.code == "EINTR"
    cancel = wired.handler.next()
    assert cancel.request == Cancel(waiting.number)
    cancel.answer(Done())


@pytest.mark.parametrize("late", [False, True], ids=["opened before it was given up", "opened after"])
def test_a_file_that_was_opened_for_nobody_is_closed(wired: Wired, late: bool) -> None:
    killed = threading.Event()
    client = wired.client(abandoned=lambda body: body == OPEN and killed.is_set())
    client.call(STAT, ME)
    result = asking(lambda: client.call(OPEN, ME))
    asked = wired.handler.next()
    killed.set()
    assert isinstance(ended(result), OperationFailed)
    if late:
        client.call(STAT, ME)
    asked.answer(opened(77))
    client.call(STAT, ME)
    closing = wired.handler.next()
    assert (closing.number, closing.request) == (0, CloseFile(77))


def test_a_file_is_closed_at_last_though_its_closer_was_killed(wired: Wired) -> None:
    client = wired.client(abandoned=lambda body: isinstance(body, CloseFile))
    wired.stop_agent()
    with failed("EINTR"):
        client.call(CloseFile(5), ME)
    wired.start_agent()
    assert wired.handler.next().request == CloseFile(5)


def test_a_handler_that_breaks_is_an_error_and_no_silence(
    wired: Wired, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wired.handler, "perform", lambda *_: 1 / 0)
    with failed("EIO"):
        wired.client().call(DELETE, ME)
    assert "ZeroDivisionError" in caplog.text


def test_a_client_that_the_agent_does_not_trust_is_told(wired: Wired) -> None:
    del wired.trust.trusted["laptop"]
    with failed("EACCES.*not among those that it trusts"):
        wired.client().call(STAT, ME)
    assert wired.client("phone").call(STAT, ME) == METADATA


def test_a_client_that_pins_another_key_of_the_agent_is_told(wired: Wired) -> None:
    other = wired.keys["stranger"].certificate.identity_key
    with failed("EACCES.*expected SHA256"):
        wired.client(agent_key=other).call(STAT, ME)


def test_a_pair_that_the_broker_does_not_know_is_refused(wired: Wired) -> None:
    with failed("EACCES: no pair"):
        wired.client("stranger").call(STAT, ME)


def test_a_peer_that_the_broker_does_not_know_is_told(wired: Wired) -> None:
    wired.revoke("stranger")
    wired.stop_broker()
    wired.start_broker()
    client = wired.client("stranger", patience=Patience(6.5, 6.5))
    with failed("does not know this peer's transport key"):
        client.call(STAT, ME)


def test_a_right_that_is_withdrawn_ends_what_is_live(wired: Wired) -> None:
    client = wired.client()
    client.call(STAT, ME)
    del wired.trust.trusted["laptop"]
    assert wired.handler.gone.get(timeout=PATIENCE).peer == "laptop"
    with failed("EACCES"):
        client.call(STAT, ME)


def test_a_client_that_is_silent_for_its_lease_is_gone(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder_core, "LEASE", 0.5)
    client = wired.client()
    client.call(STAT, ME)
    assert wired.handler.gone.get(timeout=PATIENCE).peer == "laptop"
    assert client.call(STAT, ME) == METADATA


def test_draining_answers_what_was_taken_and_takes_nothing_more(wired: Wired) -> None:
    assert wired.responder is not None
    client = wired.client()
    result = asking(lambda: client.call(DELETE, ME))
    asked = wired.handler.next()
    drained = asking(lambda: wired.responder.drain(PATIENCE))  # type: ignore[union-attr]
    asked.answer(Done())
    assert ended(drained) is True
    assert ended(result) == Done()


def test_draining_does_not_wait_for_a_wait_for_a_lock(wired: Wired) -> None:
    assert wired.responder is not None
    lock = LockFile(1, 9, LockStyle.FCNTL, LockMode.EXCLUSIVE, wait_ms=10_000)
    client = wired.client()
    client.call(STAT, ME)
    asking(lambda: client.call(lock, ME))
    wired.handler.next()
    assert wired.responder.drain(PATIENCE)


def test_draining_says_when_it_was_not_in_time(wired: Wired) -> None:
    assert wired.responder is not None
    client = wired.client()
    asking(lambda: client.call(DELETE, ME))
    wired.handler.next()
    assert not wired.responder.drain(0.05)


def test_one_agent_answers_many_clients_each_its_own(wired: Wired) -> None:
    clients = [wired.client("laptop"), wired.client("laptop"), wired.client("phone")]
    results = [asking(lambda client=client: client.call(DELETE, ME)) for client in clients]
    asked = [wired.handler.next() for _ in clients]
    assert len({each.client for each in asked}) == 3
    for each in asked:
        each.answer(Failure("EBUSY", f"{each.client.peer}/{each.client.instance}"))
    assert len({str(ended(result)) for result in results}) == 3


def test_an_answer_of_the_wrong_shape_is_malformed_to_its_caller(wired: Wired) -> None:
    client = wired.client()
    result = asking(lambda: client.call(DELETE, ME))
    wired.handler.next().answer(Failure("X" * 40))  # longer than a code may be
    error = ended(result)
    assert isinstance(error, OperationFailed)
    assert error.code == MALFORMED


def test_what_no_agent_would_take_is_not_sent(wired: Wired) -> None:
    with failed("EMSGSIZE"):
        wired.client().call(WriteFile(1, 0, memoryview(bytes(2 * 1024 * 1024))), ME)


def test_what_is_said_too_large_by_the_broker_is_not_said_again(wired: Wired) -> None:
    wired.stop_agent()
    wired.stop_broker()
    wired.start_broker(max_message_bytes=64 * 1024)
    wired.start_agent()
    client = wired.client()
    assert client.call(GetMetadata((b"a",)), ME) == METADATA
    with failed("EMSGSIZE"):
        client.call(WriteFile(1, 0, memoryview(secrets.token_bytes(64 * 1024 + 100))), ME)
