"""What the mount remembers of its open files, so that they can be opened again at an agent that forgot them.

The one rule: a remembered lock is one that the agent granted and that was not given back since.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Final

import msgspec

from schema.replies import OpenedFile
from schema.requests import Caller, CreateFile, LockFile, LockMode, LockStyle, OpenFile

ONCE_ONLY: Final = os.O_CREAT | os.O_EXCL | os.O_TRUNC
"""Flags that had their effect when the file was opened first."""
_TO_THE_END: Final = 2**63 - 1


@dataclass(slots=True)
class OpenHandle:
    """One open file. `path` is None once the name is gone: then nothing can open it again.

    `mutex` is held while it is being opened again, so that one thread does it for all that wait.
    """

    path: tuple[bytes, ...] | None
    flags: int
    caller: Caller
    agent_handle: int
    identity: tuple[int, int, int]
    locks: list[LockFile] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)


def identity_of(opened: OpenedFile) -> tuple[int, int, int]:
    """What must be equal for two opens to have found the same file: volume, inode number, generation."""
    return opened.metadata.volume, opened.metadata.inode, opened.generation


class OpenHandles:
    """Handles of one mount by their own numbers, which stay the same however often the agent's change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 1
        self._handles: dict[int, OpenHandle] = {}

    def add(self, request: OpenFile | CreateFile, caller: Caller, opened: OpenedFile) -> int:
        """A file was opened; gives the handle's number."""
        handle = OpenHandle(request.path, request.flags & ~ONCE_ONLY, caller, opened.handle, identity_of(opened))
        with self._lock:
            number = self._next
            self._next += 1
            self._handles[number] = handle
        return number

    def get(self, number: int) -> OpenHandle | None:
        """The handle of that number."""
        return self._handles.get(number)

    def remove(self, number: int) -> OpenHandle | None:
        """The handle is closed."""
        with self._lock:
            return self._handles.pop(number, None)

    def renamed(self, source: tuple[bytes, ...], destination: tuple[bytes, ...], *, exchanged: bool) -> None:
        """Names moved: what was open at or below `source` is now below `destination`, and back if exchanged."""
        with self._lock:
            for handle in self._handles.values():
                if handle.path is None:
                    continue
                if handle.path[: len(source)] == source:
                    handle.path = destination + handle.path[len(source) :]
                elif handle.path[: len(destination)] == destination:
                    handle.path = source + handle.path[len(destination) :] if exchanged else None

    def locked(self, handle: OpenHandle, request: LockFile) -> None:
        """`request` was granted on `handle`.

        An fcntl(2) lock is its owner's whichever handle it came by, so it replaces what the owner had by others too.
        """
        with self._lock:
            for other in self._handles.values():
                same_file = request.style is LockStyle.FCNTL and other.identity == handle.identity
                if other is handle or same_file:
                    other.locks = without(other.locks, request)
            if request.mode is not LockMode.UNLOCK:
                handle.locks = [*handle.locks, request]

    def deleted(self, path: tuple[bytes, ...]) -> None:
        """The name is gone."""
        with self._lock:
            for handle in self._handles.values():
                if handle.path == path:
                    handle.path = None


def without(locks: list[LockFile], request: LockFile) -> list[LockFile]:
    """`locks` but for what `request` covers: those of its owner and style are cut to what lies outside its range."""
    start, end = _range(request)
    kept = []
    for lock in locks:
        first, last = _range(lock)
        if (lock.owner, lock.style) != (request.owner, request.style) or last <= start or end <= first:
            kept.append(lock)
            continue
        if first < start:
            kept.append(msgspec.structs.replace(lock, start=first, length=start - first))
        if end < last:
            kept.append(msgspec.structs.replace(lock, start=end, length=0 if last == _TO_THE_END else last - end))
    return kept


def _range(lock: LockFile) -> tuple[int, int]:
    return lock.start, lock.start + lock.length if lock.length else _TO_THE_END
