"""What the names stand for whose changes are made one after another, kept where all processes of the hammer find it.

The one rule: who changes such a name holds its page from before the first system call until after the last, so the
order of its changes is known and each may build on what the one before it left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.stack.hammer.history import ABSENT, State, state_of


@dataclass
class Page:
    """The state of one name. `doubtful` once a change of it failed: then only what needs no `state` may be done."""

    state: State = ABSENT
    doubtful: bool = False


class Ledger:
    """The pages, one small file a name in a directory that is no mount."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[Page | None]:
        """The page of `name`, written back in the end; None where another process holds it."""
        with (self._directory / name).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            file.seek(0)
            text = file.read()
            fields = json.loads(text) if text else None
            page = Page(state_of(fields["state"]), fields["doubtful"]) if fields else Page()
            try:
                yield page
            finally:
                file.truncate(0)
                file.write(json.dumps(dataclasses.asdict(page)))
                file.flush()
