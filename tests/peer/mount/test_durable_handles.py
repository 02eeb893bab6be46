"""Handles over an agent that forgets its own: the same file or ESTALE, and locks as they were or ESTALE."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from peer.errors import OperationFailed
from peer.filesystem import PerformedFileSystem
from peer.mount.durable_handles import DurableHandles
from schema.attributes import FileMetadata
from schema.failure_codes import STALE_HANDLE
from schema.replies import AnyReply, Copied, Done, FileData, Metadata, OpenedFile
from schema.requests import (
    AnyRequest,
    Caller,
    CloseFile,
    CopyRange,
    CreateFile,
    DeleteFile,
    GetMetadata,
    LockFile,
    LockMode,
    LockStyle,
    OpenFile,
    ReadFile,
    RenamePath,
)

ME = Caller(1000, 1000)
A, B, C = (b"a",), (b"b",), (b"d", b"c")


def metadata(inode: int) -> FileMetadata:
    return FileMetadata(inode, 0o100644, 1, 0, 0, 0, 0, 4096, 66, 0, 0, 0, 0)


class ForgetfulAgent(PerformedFileSystem):
    """Files by name, with an inode number and a generation; `restart` forgets every handle and lock."""

    def __init__(self) -> None:
        self.files = {A: (11, 1), B: (12, 1), C: (13, 1)}
        self.open: dict[int, tuple[bytes, ...]] = {}
        self.locks: list[tuple[tuple[bytes, ...], LockFile]] = []
        self.taken: set[tuple[bytes, ...]] = set()
        self.log: list[AnyRequest] = []
        self.before: Callable[[AnyRequest], object] = lambda _: None
        self.before_open: Callable[[], object] = lambda: None
        self.refused = threading.Semaphore(0)
        self._handles = itertools.count(100)

    def restart(self) -> None:
        self.open.clear()
        self.locks.clear()
        self.log.clear()

    def of(self, kind: type[Any]) -> list[Any]:
        return [request for request in self.log if isinstance(request, kind)]

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[Any]) -> Any:
        self.before(request)
        self.log.append(request)
        answer = self._answer(request)
        assert isinstance(answer, reply)
        return answer

    def _answer(self, request: AnyRequest) -> AnyReply:
        for number in (getattr(request, "handle", 0), getattr(request, "target", 0)):
            if number and number not in self.open:
                self.refused.release()
                raise OperationFailed(STALE_HANDLE)
        match request:
            case OpenFile(path=path) | CreateFile(path=path):
                self.before_open()
                if path not in self.files:
                    raise OperationFailed("ENOENT")
                handle = next(self._handles)
                self.open[handle] = path
                inode, generation = self.files[path]
                return OpenedFile(handle, metadata(inode), generation)
            case CloseFile(handle=handle):
                del self.open[handle]
                return Done()
            case ReadFile(handle=handle):
                return FileData(memoryview(b"/".join(self.open[handle])))
            case GetMetadata():
                return Metadata(metadata(1))
            case LockFile(handle=handle):
                if self.open[handle] in self.taken:
                    raise OperationFailed("EAGAIN")
                self.locks.append((self.open[handle], request))
                return Done()
            case CopyRange(length=length):
                return Copied(length, metadata(1))
            case RenamePath() | DeleteFile():
                return Done()
        raise AssertionError(request)


@pytest.fixture
def agent() -> ForgetfulAgent:
    return ForgetfulAgent()


@pytest.fixture
def files(agent: ForgetfulAgent) -> DurableHandles:
    return DurableHandles(agent)


def opened(files: DurableHandles, path: tuple[bytes, ...] = A, flags: int = os.O_RDWR) -> int:
    return files.open_file(OpenFile(path, flags), ME).handle


def read(files: DurableHandles, handle: int) -> bytes:
    return bytes(files.read_file(ReadFile(handle, 0, 10), ME).data)


def lock(handle: int, mode: LockMode = LockMode.EXCLUSIVE, start: int = 0, length: int = 0, owner: int = 7) -> LockFile:
    return LockFile(handle, owner, LockStyle.FCNTL, mode, start, length)


def ranges(agent: ForgetfulAgent) -> list[tuple[int, int]]:
    return [(taken.start, taken.length) for _, taken in agent.locks]


def stale(code: str = "ESTALE") -> Any:
    return pytest.raises(OperationFailed, match=code)


def test_a_forgotten_handle_is_opened_again_and_keeps_its_number(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.restart()
    assert read(files, handle) == b"a"
    assert read(files, handle) == b"a"
    assert len(agent.of(OpenFile)) == 1


@pytest.mark.parametrize("moment", [ReadFile, LockFile])
def test_an_agent_that_restarts_again_while_it_is_mended_is_mended_again(
    agent: ForgetfulAgent, files: DurableHandles, moment: type[AnyRequest]
) -> None:
    handle = opened(files)
    files.lock_file(lock(handle), ME)
    agent.restart()
    restarts = iter(range(3))

    def restart_first(request: AnyRequest) -> None:
        if isinstance(request, moment) and agent.open and next(restarts, None) is not None:
            agent.restart()

    agent.before = restart_first
    assert read(files, handle) == b"a"
    assert ranges(agent) == [(0, 0)]
    assert next(restarts, None) is None


def test_an_agent_that_calls_every_handle_stale_is_not_asked_for_ever(
    agent: ForgetfulAgent, files: DurableHandles
) -> None:
    handle = opened(files)
    agent.before = lambda request: agent.restart() if isinstance(request, ReadFile) else None
    with stale(STALE_HANDLE):
        read(files, handle)


def test_what_an_open_does_once_is_not_done_again(agent: ForgetfulAgent, files: DurableHandles) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_APPEND
    handle = files.create_file(CreateFile(A, flags, 0o600), ME).handle
    agent.restart()
    read(files, handle)
    assert agent.of(CreateFile) == []
    assert agent.of(OpenFile) == [OpenFile(A, os.O_WRONLY | os.O_APPEND)]


@pytest.mark.parametrize("other", [(99, 1), (11, 2)], ids=["another inode", "the same inode number again"])
def test_another_file_under_the_name_is_stale_and_not_left_open(
    agent: ForgetfulAgent, files: DurableHandles, other: tuple[int, int]
) -> None:
    handle = opened(files)
    agent.restart()
    agent.files[A] = other
    with stale():
        read(files, handle)
    assert agent.open == {}


def test_a_name_that_is_gone_is_stale(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.restart()
    del agent.files[A]
    with stale():
        read(files, handle)


def test_a_file_that_was_unlinked_here_is_not_looked_for(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    files.delete_file(DeleteFile(A), ME)
    agent.restart()
    with stale():
        read(files, handle)
    assert agent.log == [ReadFile(agent.log[0].handle, 0, 10)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rename", "path", "now"),
    [
        (RenamePath(A, (b"new",)), A, (b"new",)),
        (RenamePath((b"d",), (b"e",)), C, (b"e", b"c")),
        (RenamePath(A, B, 2), B, A),
        (RenamePath(A, B, 2), A, B),
    ],
    ids=["renamed", "its directory renamed", "exchanged", "exchanged the other way"],
)
def test_a_renamed_file_is_found_by_its_new_name(
    agent: ForgetfulAgent,
    files: DurableHandles,
    rename: RenamePath,
    path: tuple[bytes, ...],
    now: tuple[bytes, ...],
) -> None:
    handle = opened(files, path)
    files.rename_path(rename, ME)
    agent.files[now] = agent.files[path]
    agent.restart()
    assert read(files, handle) == b"/".join(now)


def test_a_file_that_was_renamed_over_is_stale(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files, B)
    files.rename_path(RenamePath(A, B), ME)
    agent.restart()
    with stale():
        read(files, handle)


def test_a_failed_rename_changes_no_name(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent._answer, kept = lambda _: (_ for _ in ()).throw(OperationFailed("EXDEV")), agent._answer  # type: ignore[method-assign]
    with stale("EXDEV"):
        files.rename_path(RenamePath(A, B), ME)
    agent._answer = kept  # type: ignore[method-assign]
    agent.restart()
    assert read(files, handle) == b"a"


def test_locks_are_taken_again_as_they_were(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    files.lock_file(lock(handle, start=0, length=100), ME)
    files.lock_file(lock(handle, LockMode.SHARED, start=20, length=10), ME)
    files.lock_file(lock(handle, LockMode.UNLOCK, start=50, length=10), ME)
    files.lock_file(lock(handle, start=200, owner=8), ME)
    agent.restart()
    read(files, handle)
    assert ranges(agent) == [(0, 20), (30, 20), (60, 40), (20, 10), (200, 0)]
    assert {taken.wait_ms for _, taken in agent.locks} == {0}


def test_no_lock_is_taken_again_that_was_given_back_by_another_handle(
    agent: ForgetfulAgent, files: DurableHandles
) -> None:
    first, second = opened(files), opened(files)
    files.lock_file(lock(first), ME)
    files.lock_file(lock(second, LockMode.UNLOCK), ME)
    agent.restart()
    read(files, first)
    assert agent.locks == []


def test_flocks_of_two_handles_are_apart(agent: ForgetfulAgent, files: DurableHandles) -> None:
    first, second = opened(files), opened(files)
    for handle, mode in ((first, LockMode.SHARED), (second, LockMode.SHARED), (second, LockMode.UNLOCK)):
        files.lock_file(LockFile(handle, 7, LockStyle.FLOCK, mode), ME)
    agent.restart()
    read(files, first)
    read(files, second)
    assert len(agent.locks) == 1


def test_a_lock_that_somebody_else_took_makes_the_handle_stale_for_good(
    agent: ForgetfulAgent, files: DurableHandles
) -> None:
    handle = opened(files)
    files.lock_file(lock(handle), ME)
    agent.restart()
    agent.taken.add(A)
    with stale():
        read(files, handle)
    assert agent.open == {}
    agent.taken.clear()
    with stale():
        read(files, handle)


def test_a_lock_that_was_refused_is_not_taken_again(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.taken.add(A)
    with stale("EAGAIN"):
        files.lock_file(lock(handle), ME)
    agent.restart()
    agent.taken.clear()
    read(files, handle)
    assert agent.locks == []


def test_a_copy_opens_only_the_handle_that_is_stale(agent: ForgetfulAgent, files: DurableHandles) -> None:
    source, target = opened(files, A), opened(files, B)
    agent.restart()
    read(files, source)
    assert files.copy_range(CopyRange(source, 0, target, 0, 5), ME).size == 5
    assert len(agent.open) == 2


def test_many_threads_open_it_again_once(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.restart()
    results: list[bytes] = []

    def until_all_were_refused() -> None:
        for _ in range(4):
            assert agent.refused.acquire(timeout=10)

    agent.before_open = until_all_were_refused
    threads = [threading.Thread(target=lambda: results.append(read(files, handle))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [b"a"] * 4
    assert len(agent.of(OpenFile)) == 1


def test_closing_what_the_agent_forgot_is_done_already(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.restart()
    assert files.close_file(CloseFile(handle), ME) == Done()
    assert files.close_file(CloseFile(handle), ME) == Done()
    with stale("STALE_HANDLE"):
        read(files, handle)


def test_an_agent_that_cannot_be_asked_is_not_a_stale_handle(agent: ForgetfulAgent, files: DurableHandles) -> None:
    handle = opened(files)
    agent.restart()

    def unreachable() -> None:
        raise OperationFailed("ETIMEDOUT")

    agent.before_open = unreachable
    with stale("ETIMEDOUT"):
        read(files, handle)
    agent.before_open = lambda: None
    assert read(files, handle) == b"a"
