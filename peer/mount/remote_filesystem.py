"""The file system at the other end: each operation is one request to the agent.

The one rule: nothing is decided here. A request goes out as it is, and the answer comes back as it is, once it is
known that it could be true.
"""

from __future__ import annotations

from typing import Final, TypeVar

from peer.channel.requester import Requester
from peer.filesystem import PerformedFileSystem, expect
from peer.mount.answer_checks import check_answer
from schema.requests import AnyRequest, Caller

R = TypeVar("R")


class RemoteFileSystem(PerformedFileSystem):
    """A `FileSystem` whose paths are those of the agent that `requester` asks."""

    def __init__(self, requester: Requester) -> None:
        self._requester: Final = requester

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        answer = self._requester.call(request, caller)
        check_answer(request, answer)
        return expect(answer, reply)
