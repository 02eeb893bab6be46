"""From a decoded request to its answer: policy, identity, operation, audit.

The one rule: every request is answered exactly once, by value. Whatever goes wrong, down to a fault of ours, becomes a
`Failure`; nothing a client sends raises past here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import queue
import resource
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from peer.agent.access_policy import AccessPolicy, AccessRules
from peer.agent.acting_as import ActingAs, can_preserve_identity
from peer.agent.asker import Asker
from peer.agent.audit import AuditEntry, AuditLog
from peer.agent.audited import is_audited, paths_of
from peer.agent.coherent_answers import CoherentAnswers, Opened
from peer.agent.confined_root import ConfinedRoot, Walk
from peer.agent.directory_snapshots import DirectorySnapshots, Proof
from peer.agent.file_operations import FileOperations
from peer.agent.lock_waiters import LockWaiters
from peer.agent.locks import Locks
from peer.agent.metadata_cache import MetadataCache
from peer.agent.open_files import OpenFile, OpenFiles
from peer.agent.tally import Tally
from peer.errors import OperationFailed
from peer.filesystem import FileSystem, PerformedFileSystem, expect
from schema import requests
from schema.envelope import Address
from schema.failure_codes import MALFORMED, code_of
from schema.paths import PathError
from schema.replies import AnyReply, Done, Failure
from schema.requests import AnyRequest, Caller

_log: Final = logging.getLogger(__name__)

R = TypeVar("R")
Answer = Callable[[AnyReply], None]

_MESSAGE: Final = 1024
_VIEW_SECONDS: Final = 60.0

_BY_HANDLE_ALONE: Final = frozenset(
    {
        requests.ReadFile,
        requests.FlushFile,
        requests.CloseFile,
        requests.SeekData,
        requests.LockFile,
        requests.TestLock,
        requests.Cancel,
        requests.KeepAlive,
    }
)
"""Requests whose every right was settled when the file was opened: they are done as the agent itself."""

_CREATING: Final = frozenset({requests.CreateFile, requests.CreateDir, requests.CreateNode})
"""Requests that the umask has a say in."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use of the agent, all of them together or one client instance.

    Whatever is said here, open files take at most half of the descriptors that this process may have (RLIMIT_NOFILE),
    locks a quarter.
    """

    open_files_per_client: int = 4096
    open_files: int = 1_000_000
    lock_owners_per_client: int = 1024
    cached_directory_entries: int = 1_000_000


class Dispatcher:
    """One agent's dispatcher. `boot` is the random number (63 bits) that tells this run of the agent from others.

    Opens the exports of `rules`; raises `OSError`, naming the path, for one that is not a directory. Make it in the
    main thread while that has the agent's own identity, and `close` it in the end.
    """

    def __init__(
        self,
        rules: AccessRules,
        *,
        boot: int,
        audit: AuditLog | None = None,
        limits: Limits = Limits(),
        walk: Walk | None = None,
    ) -> None:
        self.policy: Final = AccessPolicy(rules)
        self._audit: Final = audit
        self._can_preserve: Final = can_preserve_identity()
        self._acting: Final = ActingAs()
        with contextlib.ExitStack() as opened:
            self.roots: Final = {
                export: opened.enter_context(ConfinedRoot(b"/" + b"/".join(export), walk))
                for export in self.policy.exports
            }
            self._close_roots: Final = opened.pop_all()
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._waiters: Final = LockWaiters()
        self.cache: Final = MetadataCache(limits.cached_directory_entries)
        self._directories: Final = DirectorySnapshots(self.cache)
        self._files: Final = OpenFiles(
            per_client=limits.open_files_per_client, total=min(limits.open_files, descriptors // 2)
        )
        self._operations: Final = FileOperations(
            boot,
            self._files,
            Locks(owners_per_client=limits.lock_owners_per_client, owners=descriptors // 4),
            self._waiters,
            self._directories,
        )
        self._by_request: Final[dict[type, Callable[[Any, Asker], AnyReply]]] = dict(self._operations.by_request)
        self.tally: Final = Tally()
        self._answers: CoherentAnswers | None = None
        self._presence: Final = threading.Lock()
        self._busy: Final[dict[Address, int]] = {}
        self._left: Final[set[Address]] = set()

    def follow_feeds(self, answers: CoherentAnswers, proof: Proof) -> None:
        """From now on tell what clients change, and answer as of a moment. To be called before the first request.

        `proof` says when `cache`, which is told what happens, was told all.
        """
        self._answers = answers
        self._directories.prove_by(proof)
        self._by_request.update(
            {requests.FollowChanges: answers.follow_changes, requests.FetchChanges: answers.fetch_changes}
        )

    def perform(self, client: Address, request_id: int, request: AnyRequest, caller: Caller, answer: Answer) -> None:
        """Do `request` in this thread and `answer` it, once; a lock that is waited for is answered later, elsewhere.

        `client` is a peer's running instance: open files and locks are its own.
        """
        with self._presence:
            self._busy[client] = self._busy.get(client, 0) + 1
            self._left.discard(client)
        try:
            self._perform(client, request_id, request, caller, answer)
        finally:
            with self._presence:
                self._busy[client] -= 1
                idle = not self._busy[client]
                if idle:
                    del self._busy[client]
                left = idle and client in self._left
            if left:
                self.client_gone(client)

    def client_gone(self, client: Address) -> None:
        """Give back all open files and locks of a client instance; requests of it that are under way included."""
        with self._presence:
            if client in self._busy:
                self._left.add(client)
            else:
                self._left.discard(client)
        for file in self._operations.client_gone(client):
            self._record_closed(file, None, None)

    @property
    def open_files(self) -> int:
        """Open files and directories of all clients."""
        return len(self._files)

    def view(self, client: Address) -> FileSystem:
        """The file system as `client` sees it, in this process: each operation is done in the calling thread."""
        return _View(self, client)

    def close(self) -> None:
        """End: nobody waits for a lock any longer, all files are closed. Take nothing new before."""
        self._waiters.close()
        for client in self._operations.clients():
            self.client_gone(client)
        with self._presence:
            if not self._busy:  # a descriptor must not be closed under a request that did not end in time
                self._close_roots.close()

    def _perform(self, client: Address, request_id: int, request: AnyRequest, caller: Caller, answer: Answer) -> None:
        preserved = self._can_preserve and self.policy.preserves_identity(client.peer)
        asker = Asker(client, caller, preserved, self.policy, self.roots)
        answers = self._answers
        opened = self._opened(request, asker) if answers is not None else None
        before = answers.before(request, asker, opened) if answers is not None else None

        def finish(reply: AnyReply) -> None:
            if answers is not None and before is not None:
                reply = answers.after(before, client.peer, request, reply, opened)
            self.tally.add(request, reply)
            self._record(asker, request_id, request, reply)
            try:
                answer(reply)
            except Exception:  # noqa: BLE001 - the request is done, and nobody above could do more
                _log.exception("an answer to %s did not get through", client.encode().decode())

        try:
            if isinstance(request, requests.CloseFile):
                file = self._operations.close_file(request, asker)
                self._record_closed(file, request_id, caller.uid)
                reply: AnyReply = Done()
            else:
                reply = self._operate(request, asker)
        except BlockingIOError as error:
            if isinstance(request, requests.LockFile) and request.wait_ms:
                self._wait(request, asker, request_id, finish)
            else:
                finish(_failure(error))
        except Exception as error:  # noqa: BLE001 - answered, and logged unless it is of a kind that clients cause
            finish(_failure(error))
        else:
            finish(reply)

    def _opened(self, request: AnyRequest, asker: Asker) -> Opened | None:
        """What the handle that `request` is about leads to."""
        handle = request.target if isinstance(request, requests.CopyRange) else getattr(request, "handle", 0)
        return self._operations.opened(handle, asker) if handle else None

    def _operate(self, request: AnyRequest, asker: Asker) -> AnyReply:
        kind = type(request)
        operation = self._by_request.get(kind)
        if operation is None:
            raise OperationFailed(MALFORMED, f"{kind.__name__} is not an operation on files")
        as_caller = asker.preserved and kind not in _BY_HANDLE_ALONE
        if not as_caller and kind not in _CREATING:
            return operation(request, asker)
        with contextlib.ExitStack() as acting:
            if kind in _CREATING:
                acting.enter_context(self._acting.umask_of(asker.caller))
            if as_caller:
                acting.enter_context(self._acting.identity_of(asker.caller))
            return operation(request, asker)

    def _wait(self, request: requests.LockFile, asker: Asker, request_id: int, finish: Answer) -> None:
        def done(outcome: Exception | None) -> None:
            finish(Done() if outcome is None else _failure(outcome))

        try:
            self._operations.wait_for_lock(request, asker, request_id, done)
        except Exception as error:  # noqa: BLE001 - as above
            finish(_failure(error))

    def _record(self, asker: Asker, request_id: int, request: AnyRequest, reply: AnyReply) -> None:
        outcome = reply.code if isinstance(reply, Failure) else "ok"
        if self._audit is None or not is_audited(request, outcome):
            return
        path, second_path = paths_of(request)
        handle = getattr(request, "handle", 0)
        if handle:
            opened = self._operations.opened(handle, asker)
            path = opened[0] if opened is not None else None
        self._audit.record(
            AuditEntry(
                time.time(),
                asker.client.encode().decode(),
                request_id,
                asker.caller.uid,
                type(request).__name__,
                path,
                second_path,
                outcome,
            )
        )

    def _record_closed(self, file: OpenFile, request_id: int | None, uid: int | None) -> None:
        if self._audit is not None:
            client = file.client.encode().decode()
            self._audit.record(
                AuditEntry(
                    time.time(), client, request_id, uid, "CloseFile", file.path, read=file.read, written=file.written
                )
            )


class _View(PerformedFileSystem):
    """A client's file system without a wire between: each request is performed in the calling thread."""

    def __init__(self, dispatcher: Dispatcher, client: Address) -> None:
        self._dispatcher: Final = dispatcher
        self._client: Final = client
        self._ids: Final = itertools.count(1)

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        answers: queue.SimpleQueue[AnyReply] = queue.SimpleQueue()
        self._dispatcher.perform(self._client, next(self._ids), request, caller, answers.put)
        waits = request.wait_ms / 1000 if isinstance(request, requests.LockFile) else 0.0
        try:
            answer = answers.get(timeout=_VIEW_SECONDS + waits)
        except queue.Empty:
            raise OperationFailed("ETIMEDOUT", f"no answer to {type(request).__name__}") from None
        if isinstance(answer, Failure):
            raise OperationFailed(answer.code, answer.message)
        return expect(answer, reply)


def _failure(error: Exception) -> Failure:
    if isinstance(error, OperationFailed):
        return Failure(error.code, error.message[:_MESSAGE])
    if isinstance(error, PathError):
        return Failure("ENAMETOOLONG" if error.too_long else "EINVAL", str(error)[:_MESSAGE])
    if isinstance(error, OSError) and error.errno is not None:
        return Failure(code_of(error.errno), (error.strerror or "")[:_MESSAGE])
    if isinstance(error, (ValueError, OverflowError)):  # numbers that no system call takes
        return Failure("EINVAL", str(error)[:_MESSAGE])
    _log.error("a fault of the agent's own", exc_info=error)
    return Failure("EIO", "a fault of the agent's own, see its log")
