"""What happened while the hammer ran, as each process wrote it down: changes and looks, with their times.

The one rule: a time is CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share; `start` is taken before
the first system call that matters and `end` after the last one returned.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.stack.hammer.payload import RECORD, Content, length

FOREVER = 2**63
"""When a change has ended that nobody answered for: it may yet take effect."""


class Kind(enum.StrEnum):
    ABSENT = "absent"
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class State:
    """What a name stands for."""

    kind: Kind
    content: Content = ()
    mode: int | None = None
    """Permission bits; None where nobody looks at them."""

    @property
    def size(self) -> int:
        """Bytes."""
        return length(self.content) * RECORD


ABSENT = State(Kind.ABSENT)


@dataclass(frozen=True)
class Change:
    """One name was changed by one process.

    `root` is the tree it was done through. `gradual`: between `start` and `end` the file was on its way from `before`
    to `after`, otherwise it was the one and then the other.
    """

    process: int
    root: str
    name: str
    operation: str
    start: int
    end: int
    after: State
    before: State | None = None
    gradual: bool = False
    sure: bool = True
    """Whether it took effect at all."""
    to: str = ""
    """The name that the file had afterwards, where it was moved away."""


@dataclass(frozen=True)
class Look:
    """One name was looked at by one process. What was not looked at is None.

    Of an open file, `start` is when it was opened; `again` is when the read began that `content` is of.
    """

    process: int
    root: str
    name: str
    operation: str
    start: int
    end: int
    kind: Kind
    content: Content | None = None
    size: int | None = None
    mode: int | None = None
    torn: str = ""
    again: int | None = None


@dataclass(frozen=True)
class Trouble:
    """An operation failed in a way that says nothing of any name."""

    process: int
    root: str
    name: str
    operation: str
    start: int
    end: int
    error: str


Event = Change | Look | Trouble
_KINDS: dict[str, type[Event]] = {each.__name__: each for each in (Change, Look, Trouble)}


def written(event: Event) -> str:
    """One line of a log."""
    return json.dumps([type(event).__name__, asdict(event)])


def read_log(log: Path) -> Iterable[Event]:
    """The events of a log file, in its order."""
    for line in log.read_text().splitlines():
        name, fields = json.loads(line)
        yield _KINDS[name](**{key: _value(key, value) for key, value in fields.items()})


def _value(key: str, value: Any) -> Any:
    if key in ("before", "after") and value is not None:
        return state_of(value)
    if key == "content" and value is not None:
        return content_of(value)
    return Kind(value) if key == "kind" else value


def state_of(fields: dict[str, Any]) -> State:
    """A state from its fields as JSON has them."""
    return State(Kind(fields["kind"]), content_of(fields["content"]), fields["mode"])


def content_of(runs: list[list[int]]) -> Content:
    """A content as JSON has it."""
    return tuple((tag, count) for tag, count in runs)
