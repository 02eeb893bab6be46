"""What one client instance has asked and been answered, sans-IO: a repeat gets the first answer and is not done twice.

The one rule: a changing operation is begun at most once, and an id that the client said it does not wait for is never
begun at all.
"""

from __future__ import annotations

import enum
from typing import Final, Generic, TypeVar

import msgspec

from schema.limits import MAX_IN_FLIGHT
from schema.replies import AnyReply, OpenedFile
from schema.requests import (
    CheckAccess,
    FetchChanges,
    FollowChanges,
    GetMetadata,
    GetXattr,
    KeepAlive,
    ListDir,
    ListXattrs,
    ReadFile,
    ReadSymlink,
    Request,
    RequestBody,
    SeekData,
    StatVolume,
    TestLock,
    VerifyMetadata,
)

MAX_KEPT: Final = 4 * MAX_IN_FLIGHT
"""Requests of one client that are running or whose replies are kept. A client that keeps to `MAX_IN_FLIGHT` stays
below: each of its requests frees the replies to those before it that were answered."""

_REPEATABLE: Final = (
    CheckAccess,
    FetchChanges,
    FollowChanges,
    GetMetadata,
    GetXattr,
    KeepAlive,
    ListDir,
    ListXattrs,
    ReadFile,
    ReadSymlink,
    SeekData,
    StatVolume,
    TestLock,
    VerifyMetadata,
)
"""Operations that change nothing: a repeat may simply be done again. Their replies, the large ones, are not kept."""

W = TypeVar("W")


class Verdict(enum.Enum):
    """What to do with a request that was not answered from the cache."""

    BEGIN = "begin"
    RUNNING = "running"
    """It is being done: the answer will come."""
    STALE = "stale"
    """The client no longer waits for it."""
    TOO_MANY = "too many"


class ReplyCache(Generic[W]):
    """The ids of one client instance. Not thread-safe: whoever shares it holds a lock.

    A `W` is whatever its owner needs to get an answer back to the client.
    """

    def __init__(self) -> None:
        self._acknowledged = 0
        self._waiting: frozenset[int] = frozenset()
        self._running: dict[int, W] = {}
        self._replies: dict[int, AnyReply] = {}
        self._abandoned: set[int] = set()
        self._orphans: list[int] = []

    def __len__(self) -> int:
        """Requests that are running or whose replies are kept."""
        return len(self._running) + len(self._replies)

    def begin(self, request: Request, way_back: W) -> Verdict | AnyReply:
        """A request arrived: the reply it had, or what to do with it.

        One that runs will be answered by the way of its newest copy: that of the first may be gone.
        """
        number = request.id
        self._undo(request.abandoned)
        self._learn(request.acknowledged, frozenset((number, *request.waiting)))
        if self._dead(number):
            return Verdict.STALE
        if number in self._running:
            self._running[number] = way_back
            return Verdict.RUNNING
        reply = self._replies.get(number)
        if reply is not None:
            return reply
        if len(self) >= MAX_KEPT:
            return Verdict.TOO_MANY
        self._running[number] = way_back
        return Verdict.BEGIN

    def finish(self, number: int, request: RequestBody, reply: AnyReply) -> W | None:
        """The request was done and this is its answer; the way by which it goes, None when it was never begun here."""
        way_back = self._running.pop(number, None)
        if way_back is None:
            self._orphan(reply)
            return None
        if number in self._abandoned:
            self._abandoned.discard(number)
            self._orphan(reply)
        elif not self._dead(number) and not isinstance(request, _REPEATABLE):
            # The first bytes of a file would make a kept reply large, and may be asked for again by a read.
            self._replies[number] = msgspec.structs.replace(reply, data=memoryview(b"")) if _with_data(reply) else reply
        return way_back

    def take_orphans(self) -> list[int]:
        """Handles that were opened for requests which were given up since: to be closed, each once."""
        orphans, self._orphans = self._orphans, []
        return orphans

    def _undo(self, abandoned: tuple[int, ...]) -> None:
        for number in abandoned:
            if number in self._running:
                self._abandoned.add(number)
            elif number in self._replies:
                self._orphan(self._replies.pop(number))

    def _orphan(self, reply: AnyReply) -> None:
        if isinstance(reply, OpenedFile):
            self._orphans.append(reply.handle)

    def _learn(self, acknowledged: int, waiting: frozenset[int]) -> None:
        """Take over what the client waits for, unless that is older than what is known: messages overtake each other.

        The client's own ids only grow and what it waits for among them only shrinks: by that the newer is told.
        """
        if (acknowledged, -len(waiting)) > (self._acknowledged, -len(self._waiting)):
            self._acknowledged, self._waiting = acknowledged, waiting
            for known in [known for known in self._replies if self._dead(known)]:
                del self._replies[known]

    def _dead(self, number: int) -> bool:
        return number <= self._acknowledged and number not in self._waiting


def _with_data(reply: AnyReply) -> bool:
    return isinstance(reply, OpenedFile) and len(reply.data) > 0
