"""What one client instance has asked and been answered, sans-IO: a repeat gets the first answer and is not done twice.

The one rule: between the first sight of an id and its acknowledgement, the operation is begun at most once. An id that
the client has acknowledged, or given up, is never begun again.
"""

from __future__ import annotations

import enum
from typing import Final

from schema.replies import AnyReply
from schema.requests import (
    CheckAccess,
    GetMetadata,
    GetXattr,
    KeepAlive,
    ListDir,
    ListXattrs,
    ReadFile,
    ReadSymlink,
    RequestBody,
    SeekData,
    StatVolume,
    TestLock,
)

MAX_KEPT: Final = 4096
"""Requests of one client that are running or whose replies are kept."""

_REPEATABLE: Final = (
    CheckAccess,
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
)
"""Operations that change nothing: a repeat may simply be done again, and their replies, the large ones, are not kept."""


class Verdict(enum.Enum):
    """What to do with a request that was not answered from the cache."""

    BEGIN = "begin"
    RUNNING = "running"
    """It is being done: the answer will come."""
    STALE = "stale"
    """The client no longer waits for it."""
    TOO_MANY = "too many"


class ReplyCache:
    """The ids of one client instance. Not thread-safe: whoever shares it holds a lock."""

    def __init__(self) -> None:
        self._acknowledged = 0
        self._running: set[int] = set()
        self._replies: dict[int, AnyReply] = {}

    def begin(self, request_id: int, acknowledged: int) -> Verdict | AnyReply:
        """A request arrived: the reply it had, or what to do with it."""
        if acknowledged > self._acknowledged:
            self._acknowledged = acknowledged
            for known in [known for known in self._replies if known <= acknowledged]:
                del self._replies[known]
        if request_id <= self._acknowledged:
            return Verdict.STALE
        if request_id in self._running:
            return Verdict.RUNNING
        reply = self._replies.get(request_id)
        if reply is not None:
            return reply
        if len(self._running) + len(self._replies) >= MAX_KEPT:
            return Verdict.TOO_MANY
        self._running.add(request_id)
        return Verdict.BEGIN

    def finish(self, request_id: int, request: RequestBody, reply: AnyReply) -> None:
        """The request was done and this is its answer."""
        self._running.discard(request_id)
        if request_id > self._acknowledged and not isinstance(request, _REPEATABLE):
            self._replies[request_id] = reply
