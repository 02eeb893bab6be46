"""Notices that the agent cannot be reached, by the first operation that says so.

The one rule: once an operation has failed for want of an answer, nothing is believed unchecked until the agent has
answered again. A feed that goes silent says the same some seconds later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from schema.requests import AnyRequest, Caller

R = TypeVar("R")

_UNANSWERED: Final = frozenset({"ETIMEDOUT", "EHOSTUNREACH"})


class Reached(Decorator):
    """A `FileSystem` that calls `lost` when the one inside cannot be reached, or does not let us.

    `shut()` tells a refusal of ourselves from one of the operation.
    """

    def __init__(self, inner: FileSystem, lost: Callable[[], None], shut: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._lost: Final = lost
        self._shut: Final = shut

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        try:
            return super()._perform(request, caller, reply)
        except OperationFailed as failure:
            if failure.code in _UNANSWERED or self._shut():
                self._lost()
            raise
