"""What a watcher has met with, in numbers. Pure.

The one rule: what was or may have been lost is counted by what it was, so that a reader of the metrics knows what to
raise: the queue (fs.inotify.max_queued_events) or the watches (fs.inotify.max_user_watches).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True)
class Counters:
    """What has happened since the start; `limits`: times that the watch limit left a directory without a watch."""

    overflows: int = 0
    limits: int = 0
    faults: int = 0
    epochs: int = 0


class Watched(NamedTuple):
    """How a watcher stands: the directories under watch, whether those are all that can be, and its counters."""

    directories: int
    settled: bool
    overflows: int
    limits: int
    faults: int
    epochs: int
