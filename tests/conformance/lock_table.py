"""Locks on the bytes of one file as pure data: POSIX record locks by owner, flock(2) by open file.

The one rule: two owners never hold overlapping locks of which one is exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from schema.requests import LockMode

END_OF_FILE: Final = 2**63
"""The exclusive end of a lock that reaches as far as a file can grow."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """Bytes `start` to `end` (exclusive) held by `owner`, shared or exclusively."""

    owner: int
    mode: LockMode
    start: int
    end: int


class LockTable:
    """The locks of one kind on one file; flock(2) is the case where every range is the whole file."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[HeldLock] = []

    def blocker(self, wanted: HeldLock) -> HeldLock | None:
        """The first lock of another owner that stands in the way of `wanted`."""
        for held in self._held:
            apart = held.end <= wanted.start or wanted.end <= held.start
            both_shared = held.mode is wanted.mode is LockMode.SHARED
            if held.owner != wanted.owner and not apart and not both_shared and wanted.mode is not LockMode.UNLOCK:
                return held
        return None

    def apply(self, wanted: HeldLock) -> bool:
        """Take `wanted`, replacing what its owner holds there and joining its neighbours; UNLOCK gives back.

        False when another owner stands in the way, and then nothing has changed.
        """
        if self.blocker(wanted) is not None:
            return False
        kept = []
        for held in self._held:
            if held.owner == wanted.owner and held.start <= wanted.end and wanted.start <= held.end:
                if held.mode is wanted.mode:
                    wanted = replace(wanted, start=min(held.start, wanted.start), end=max(held.end, wanted.end))
                    continue
                pieces = ((held.start, min(held.end, wanted.start)), (max(held.start, wanted.end), held.end))
                kept += [replace(held, start=start, end=end) for start, end in pieces if start < end]
            else:
                kept.append(held)
        if wanted.mode is not LockMode.UNLOCK:
            kept.append(wanted)
        self._held = sorted(kept, key=lambda lock: (lock.owner, lock.start))
        return True

    def holds(self, owner: int) -> bool:
        """Whether `owner` has any lock."""
        return any(held.owner == owner for held in self._held)

    def drop(self, owner: int) -> None:
        """Give back all that `owner` holds."""
        self._held = [held for held in self._held if held.owner != owner]


class LockUse:
    """By which handles owners locked a file: with the last of them, or the last lock, an owner is forgotten."""

    __slots__ = ("_handles", "_table")

    def __init__(self, table: LockTable) -> None:
        self._table = table
        self._handles: dict[int, set[int]] = {}

    def used(self, owner: int, handle: int) -> None:
        """`owner` has just changed its locks by `handle`."""
        if self._table.holds(owner):
            self._handles.setdefault(owner, set()).add(handle)
        else:
            self._handles.pop(owner, None)

    def closed(self, handle: int) -> set[int]:
        """The handle is closed: the owners that had no other one, which have lost their locks."""
        for handles in self._handles.values():
            handles.discard(handle)
        gone = {owner for owner, handles in self._handles.items() if not handles}
        for owner in gone:
            del self._handles[owner]
            self._table.drop(owner)
        return gone
