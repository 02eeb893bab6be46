"""What one process of the hammer looks at, and how.

The one rule: a look says what it saw and when, and nothing else; one that failed otherwise than by finding no name is
no look.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from tests.stack.hammer.hand import Hand
from tests.stack.hammer.history import Kind, Look
from tests.stack.hammer.names import FREE, NAMES, ORDERED
from tests.stack.hammer.payload import Torn, parse

_PIECE = 1 << 20


class Looks:
    """The looks of one process at its tree."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._tree = hand.tree
        self._rng = hand.rng

    def any(self) -> None:
        """One look of any kind."""
        kinds = (self.read, self.stat, self.list, self.hold, self.map)
        self._rng.choices(kinds, (8, 8, 2, 2, 0))[0]()

    def read(self) -> None:
        """Open, read to the end, close."""
        name, start = self._rng.choice((*ORDERED, *FREE)), time.monotonic_ns()
        with self._opened("read", name, start) as file:
            if file is not None:
                self._contents("read", name, start, start, _whole(file))

    def hold(self) -> None:
        """Open, and read again and again for a while."""
        name, start = self._rng.choice((*ORDERED, *FREE)), time.monotonic_ns()
        with self._opened("held", name, start) as file:
            for _ in range(0 if file is None else 4):
                again = time.monotonic_ns()
                os.lseek(file, 0, os.SEEK_SET)
                self._contents("held", name, start, again, _whole(file))
                time.sleep(self._rng.random() * 0.05)

    def map(self) -> None:
        """Open, map, look at all of it. Only where nobody truncates: that would be a SIGBUS."""
        name, start = self._rng.choice(FREE), time.monotonic_ns()
        with self._opened("mapped", name, start) as file:
            if file is not None and (size := os.fstat(file).st_size):
                with mmap.mmap(file, size, prot=mmap.PROT_READ) as mapped:
                    self._contents("mapped", name, start, start, mapped[:])

    def stat(self) -> None:
        """Attributes by name."""
        name, start = self._rng.choice(NAMES), time.monotonic_ns()
        try:
            status = os.lstat(self._tree / name)
        except OSError as failure:
            self._failed("stat", name, start, failure)
            return
        fields: dict[str, Any] = {"kind": Kind.DIRECTORY}
        if stat.S_ISREG(status.st_mode):
            fields = {"kind": Kind.FILE, "size": status.st_size, "mode": stat.S_IMODE(status.st_mode)}
        self._saw("stat", name, start, **fields)

    def list(self) -> None:
        """All names, and what each is."""
        start = time.monotonic_ns()
        try:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(self._tree)}
        except OSError as failure:
            self._hand.trouble("list", "", start, failure)
            return
        end = time.monotonic_ns()
        for name in NAMES:
            kind = Kind.ABSENT if name not in found else Kind.DIRECTORY if found[name] else Kind.FILE
            self._hand.note(Look(self._hand.process, self._hand.root, name, "list", start, end, kind))

    @contextlib.contextmanager
    def _opened(self, operation: str, name: str, start: int) -> Iterator[int | None]:
        try:
            file = os.open(self._tree / name, os.O_RDONLY)
        except OSError as failure:
            self._failed("missing" if isinstance(failure, FileNotFoundError) else operation, name, start, failure)
            yield None
            return
        try:
            yield file
        except OSError as failure:
            self._hand.trouble(operation, name, start, failure)
        finally:
            os.close(file)

    def _contents(self, operation: str, name: str, start: int, again: int, data: bytes) -> None:
        try:
            self._saw(operation, name, start, kind=Kind.FILE, content=parse(data), again=again)
        except Torn as torn:
            self._saw(operation, name, start, kind=Kind.FILE, torn=str(torn), again=again)

    def _failed(self, operation: str, name: str, start: int, failure: OSError) -> None:
        if isinstance(failure, FileNotFoundError):
            self._saw(operation, name, start, kind=Kind.ABSENT)
        else:
            self._hand.trouble(operation, name, start, failure)

    def _saw(self, operation: str, name: str, start: int, **fields: Any) -> None:
        self._hand.note(
            Look(self._hand.process, self._hand.root, name, operation, start, time.monotonic_ns(), **fields)
        )


def _whole(file: int) -> bytes:
    """All that is in `file` from where it stands."""
    pieces = []
    while piece := os.read(file, _PIECE):
        pieces.append(piece)
    return b"".join(pieces)
