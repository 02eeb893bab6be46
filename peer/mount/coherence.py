"""What a client may believe of its cache: the change feed in order, its gaps, and answers that come late. Sans-IO.

The one rule: a fact is kept only if no change of what it is about, numbered after the agent looked, is known; and an
answer is given from the cache unchecked only while every change up to a moment ago is known to have been applied. How
long ago that moment is, the agent's own clock tells: each batch says when it was sent, so what a relay holds back is
old when it comes.

    LOST --follow--> CURRENT --number missing--> GAP --fetched--> CURRENT
      ^                 |                         |
      +-----------------+---- new epoch, ring overrun, follow again ----+
"""

from __future__ import annotations

import enum
import math
from typing import Final, NamedTuple

from peer.mount.recent_changes import Path, RecentChanges, Touched
from schema.changes import MAX_BATCH, Change, ChangeBatch, Changed, Moment, Renamed
from schema.replies import Following

MISSED_HEARTBEATS: Final = 3
"""Heartbeats without a word after which the feed counts as down."""
GAP_PATIENCE: Final = 0.05
"""Seconds that what is missing may be late before it is asked for: an answer overtakes the feed now and then."""
_EARLY: Final = 64 * MAX_BATCH
"""Changes that may wait for a missing one before it."""


class State(enum.Enum):
    """Whether the changes so far are known without a hole."""

    LOST = "lost"
    CURRENT = "current"
    GAP = "gap"


class Missing(NamedTuple):
    """Ask the agent for the changes of `epoch` from number `first` on."""

    epoch: int
    first: int


class Numbered(NamedTuple):
    """A change to apply, in the order of the numbers."""

    number: int
    change: Change


class Coherence:
    """The state of one client towards one feed. `grace` is how many seconds a silent feed is still believed.

    Times are those of a monotonic clock, in seconds.
    """

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        self._state = State.LOST
        self._epoch = 0
        self._next = 1
        self._heartbeat = 0.0
        self._heard_at = 0.0
        self._clock_gaps: tuple[float, float] | None = None
        self._gap_since = 0.0
        self._known = 0
        self._early: dict[int, Change] = {}
        self._recent = RecentChanges()

    @property
    def state(self) -> State:
        """Whether there is a hole in what we know."""
        return self._state

    @property
    def moment(self) -> Moment:
        """The last change that was applied."""
        return Moment(self._epoch, self._next - 1)

    @property
    def heard_at(self) -> float:
        """When the feed's latest number was true: no later than it was sent."""
        return self._heard_at

    def missing(self, now: float) -> Missing | None:
        """What to ask the agent for by now, if anything."""
        if self._state is not State.GAP or now < self._gap_since + GAP_PATIENCE:
            return None
        return Missing(self._epoch, self._next)

    def follow(self, following: Following, asked_at: float) -> None:
        """The agent said, when asked at `asked_at`, where its feed is. What was cached before is suspect.

        What it said may be old by now: within an epoch nothing goes back.
        """
        next_number = following.next_number
        if following.epoch == self._epoch:
            next_number = max(next_number, self._next)
        else:
            self._clock_gaps = None  # it may be another clock
            self._known = 0
        self.answered(following.sent, asked_at)
        self._state = State.CURRENT
        self._epoch, self._next = following.epoch, next_number
        self._hear_of(next_number - 1, asked_at)
        self._heartbeat = following.heartbeat
        self._heard_at = asked_at
        self._early.clear()
        self._recent.clear(floor=next_number - 1)

    def lose(self) -> None:
        """The agent keeps no more what we miss, or its feed is another: `follow` it again."""
        self._state = State.LOST
        self._early.clear()

    def answered(self, sent: float, asked_at: float) -> None:
        """The agent's clock showed `sent` when it answered what was asked at `asked_at`.

        So a batch that it sends at `sent` + t was sent at `asked_at` + t or later. The better of the last two answers
        counts: one that took long says little, and one from long ago nothing of clocks that drift.
        """
        gap = asked_at - sent
        self._clock_gaps = (gap, gap if self._clock_gaps is None else self._clock_gaps[0])

    def fetched(self, batch: ChangeBatch, asked_at: float) -> list[Numbered]:
        """As `take`, for what the agent answered when it was asked at `asked_at`.

        An answer takes so many changes only: one that has any does not say that these were all.
        """
        self.answered(batch.sent, asked_at)
        before = self._heard_at
        ready = self.take(batch, asked_at)
        if batch.changes:
            self._heard_at = before
        return ready

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Numbered]:
        """A batch, in any order and any number of times, that arrived at `heard_at`: the changes to apply, in order."""
        if self._state is State.LOST or self._clock_gaps is None:
            return []
        heard_at = min(heard_at, batch.sent + max(self._clock_gaps))
        if batch.epoch != self._epoch:
            self.lose()
            return []
        latest = batch.first + len(batch.changes) - 1
        if latest >= self._known:  # an old one says nothing of how things are now
            self._heard_at = max(self._heard_at, heard_at)
        for number, change in enumerate(batch.changes, batch.first):
            if number >= self._next and (len(self._early) < _EARLY or number == self._next):
                self._early[number] = change
        ready: list[Numbered] = []
        while self._next in self._early:
            following = Numbered(self._next, self._early.pop(self._next))
            self._recent.add(following.number, _touched(following.change))
            ready.append(following)
            self._next += 1
        self._hear_of(latest, heard_at)
        return ready

    def heard_of(self, as_of: Moment | None, now: float) -> None:
        """An answer says how far the feed has come: whatever is delayed or dropped on the feed's own way shows here."""
        if as_of is None or self._state is State.LOST:
            return
        if as_of.epoch != self._epoch:
            self.lose()
        else:
            self._hear_of(as_of.number, now)

    @property
    def trusted_until(self) -> float:
        """How long what is cached may be answered without asking, if nothing more is heard."""
        if self._state is not State.CURRENT:
            return -math.inf
        return self._heard_at + MISSED_HEARTBEATS * self._heartbeat + self._grace

    def trusted(self, now: float) -> bool:
        """Whether what is cached may be answered without asking."""
        return now <= self.trusted_until

    def silent(self, now: float) -> bool:
        """Whether so many heartbeats are missing that the feed is to be followed anew."""
        return self._state is not State.LOST and now - self._heard_at > MISSED_HEARTBEATS * self._heartbeat

    def may_keep(self, path: Path, as_of: Moment) -> bool:
        """Whether what was looked up about the file `path` after `as_of` is not overtaken by a change that we know."""
        return self._comparable(as_of) and not self._recent.touched(path, as_of.number)

    def may_keep_listing(self, path: Path, as_of: Moment) -> bool:
        """The same for the names in the directory `path` and their attributes."""
        return self._comparable(as_of) and not self._recent.touched_within(path, as_of.number)

    def _comparable(self, as_of: Moment) -> bool:
        return self._state is not State.LOST and as_of.epoch == self._epoch

    def _hear_of(self, number: int, now: float) -> None:
        """Changes up to `number` exist."""
        self._known = max(self._known, number)
        if self._known < self._next:
            self._state = State.CURRENT
        elif self._state is not State.GAP:
            self._state = State.GAP
            self._gap_since = now


def _touched(change: Change) -> Touched:
    if isinstance(change, Renamed):
        return (change.source, True), (change.destination, True)
    if isinstance(change, Changed):
        return ((change.path, change.metadata is None),)
    return ((change.path, True),)
