"""Whether a history explains what was seen.

The one rule: nothing is inferred from the order in which lines were written, only from the times in them. A change took
effect somewhere between its start and its end; what a look shows must be what one order of all changes had at a moment
that the look may be of:

* an open file: from its open on, so that what was closed before is seen (close-to-open). A file that was quiet before
  may be opened from what the change feed has told (`QUIET`): that may be late, and is counted apart;
* a name or its attributes: not older than `bound`; what was changed through the same mount, at once;
* and nobody, looking again at one name, sees what was before that which he has seen.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.stack.hammer.history import ABSENT, FOREVER, Change, Look, State
from tests.stack.hammer.payload import HOLE

SECOND: Final = 10**9
QUIET: Final = 2 * SECOND
"""Nanoseconds since its last change after which a file counts as quiet."""
OF_AN_OPEN_FILE: Final = frozenset({"read", "held", "mapped"})
"""Looks at what an open found; the others are at names and attributes, also an open that found no name."""


@dataclass(frozen=True)
class Candidate:
    """What a name may have been: `state`, or where that is None something between a change's two ends."""

    change: Change
    state: State | None
    over: int
    """When another change had certainly taken its place, whoever made it."""
    over_by: dict[str, int]
    """The same of changes through one root."""

    def shows(self, look: Look) -> bool:
        """Whether `look` can be of this."""
        if self.state is not None:
            return not look.torn and _is(self.state, look)
        before, after = self.change.before or ABSENT, self.change.after
        return _between(before, after, look)


def _is(state: State, look: Look) -> bool:
    return (
        look.kind is state.kind
        and look.content in (None, state.content)
        and look.size in (None, state.size)
        and (look.mode is None or state.mode in (None, look.mode))
    )


def _between(before: State, after: State, look: Look) -> bool:
    if look.kind not in (before.kind, after.kind):
        return False
    tags = {HOLE, *(tag for state in (before, after) for tag, _ in state.content)}
    return (
        {tag for tag, _ in look.content or ()} <= tags
        and (look.size or 0) <= max(before.size, after.size)
        and (look.mode is None or look.mode in (before.mode, after.mode) or None in (before.mode, after.mode))
    )


class NameHistory:
    """All changes of one name; before the first of them it was not there."""

    def __init__(self, changes: Iterable[Change], roots: Iterable[str]) -> None:
        self.changes = sorted(changes, key=lambda change: change.start)
        self._starts = [change.start for change in self.changes]
        soonest = self._soonest(None)
        by_root = {root: self._soonest(root) for root in roots}
        self._candidates: list[Candidate] = []
        first = Change(-1, "", "", "begin", -1, -1, ABSENT)
        for change in (first, *self.changes):
            after = bisect.bisect_right(self._starts, change.end)
            if change.gradual:
                self._candidates.append(Candidate(change, None, change.end, {change.root: change.end}))
            over_by = {root: each[after] for root, each in by_root.items()}
            self._candidates.append(Candidate(change, change.after, soonest[after], over_by))
        self._begun = [candidate.change.start for candidate in self._candidates]
        self._latest = list(itertools.accumulate((candidate.over for candidate in self._candidates), max))

    def _soonest(self, root: str | None) -> list[int]:
        """For each place in the order of starts: when the first of the changes from there on had ended."""
        counts = (change.sure and root in (None, change.root) for change in self.changes)
        ends = reversed([change.end if count else FOREVER for change, count in zip(self.changes, counts, strict=True)])
        return list(itertools.accumulate(ends, min, initial=FOREVER))[::-1]

    def candidates(self, before: int, not_over_before: int) -> Iterator[Candidate]:
        """What the name may have been at some moment from `not_over_before` to `before`, the latest first."""
        for place in range(bisect.bisect_left(self._begun, before) - 1, -1, -1):
            if self._latest[place] < not_over_before:
                return
            if self._candidates[place].over >= not_over_before:
                yield self._candidates[place]


@dataclass
class Report:
    """What came of a check. Lags in nanoseconds, of looks that showed what had been changed before they began."""

    looks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    lags: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    unexplained: list[tuple[Look, str]] = field(default_factory=list)


class Checker:
    """`exact` are roots where every look is of the moment: the remote machine's own file system."""

    def __init__(self, changes: Iterable[Change], *, exact: Iterable[str], bound: int, quiet: int = QUIET) -> None:
        by_name: dict[str, list[Change]] = defaultdict(list)
        roots = set()
        for change in changes:
            by_name[change.name].append(change)
            roots.add(change.root)
        self._exact = frozenset(exact)
        self._bound = bound
        self._quiet = quiet
        self._roots = roots
        self._names = {name: NameHistory(each, roots) for name, each in by_name.items()}
        self._floors: dict[tuple[int, str], int] = defaultdict(lambda: -1)

    def check(self, looks: Iterable[Look]) -> Report:
        """All looks, each process's in the order of their ends."""
        report = Report()
        for look in sorted(looks, key=lambda look: look.end):
            kind = f"{look.operation} on {'the export' if look.root in self._exact else 'a mount'}"
            report.looks[kind] += 1
            lag, wrong = self._one(look)
            if wrong:
                report.unexplained.append((look, wrong))
            elif lag:
                report.lags[kind].append(lag)
        return report

    def _one(self, look: Look) -> tuple[int, str]:
        history = self.history(look.name)
        fitting = [
            (lag, candidate)
            for candidate in self._candidates(look)
            if (lag := self._lag(candidate, look)) is not None and candidate.shows(look)
        ]
        if not fitting:
            return 0, "" if self._mixed(history, look) else self._why(history, look)
        floor = self._floors[look.process, look.name]
        forward = [(lag, candidate) for lag, candidate in fitting if candidate.change.end >= floor]
        if not forward:
            return 0, "this process has seen later than that"
        # What became of a file under another name says nothing of what has this one by then.
        own = (candidate.change for _, candidate in forward)
        seen = min(change.start if change.name == look.name else -1 for change in own)
        self._floors[look.process, look.name] = max(floor, seen)
        return min(lag for lag, _ in forward), ""

    @staticmethod
    def _mixed(history: NameHistory, look: Look) -> bool:
        """Whether `look`, which is more than one read(2), may be of several moments of a file under way."""
        under_way = [
            change
            for change in history.changes
            if change.gradual and change.start < look.end and change.end >= look.start
        ]
        states = [state for change in under_way for state in (change.before or ABSENT, change.after)]
        tags = {HOLE, *(tag for state in states for tag, _ in state.content)}
        return len(under_way) > 1 and look.content is not None and {tag for tag, _ in look.content} <= tags

    def _candidates(self, look: Look) -> Iterator[Candidate]:
        """What is to be seen under the name; and by who holds the file open, what became of it under others."""
        names = {look.name: -FOREVER}
        while names:
            name, since = names.popitem()
            history = self.history(name)
            for candidate in history.candidates(look.end, look.start - self._bound):
                if candidate.change.start >= since:
                    yield candidate
            if look.operation in OF_AN_OPEN_FILE:
                moves = (each for each in history.changes if each.to and max(since, look.start) <= each.end)
                for each in moves:
                    if since < each.start < look.end:  # one name may have been given to it more than once
                        names[each.to] = min(each.start, names.get(each.to, FOREVER))

    def _lag(self, candidate: Candidate, look: Look) -> int | None:
        """How long `candidate` was over when the look began; None where the look may not be of it."""
        lag = max(0, look.start - candidate.over)
        if lag == 0:
            return 0
        if look.root in self._exact or look.start > candidate.over_by.get(look.root, FOREVER):
            return None
        if look.operation in OF_AN_OPEN_FILE and look.start - candidate.change.start < self._quiet:
            return None
        return lag if lag <= self._bound else None

    def _why(self, history: NameHistory, look: Look) -> str:
        """What speaks against the candidate that comes nearest."""
        if look.torn:
            return f"it is what nobody wrote: {look.torn}"
        shown = [each for each in history.candidates(look.end, -FOREVER) if each.shows(look)]
        if not shown:
            return "it never was like that before"
        nearest = max(shown, key=lambda candidate: candidate.over)
        lag = (look.start - nearest.over) / SECOND
        if look.start > nearest.over_by.get(look.root, FOREVER):
            return f"it is {lag:.4f} s old, and was changed through the same root since"
        return f"it is {lag:.4f} s old"

    def history(self, name: str) -> NameHistory:
        """The changes of `name`."""
        if name not in self._names:
            self._names[name] = NameHistory((), self._roots)
        return self._names[name]


def neighbourhood(history: NameHistory, look: Look, around: int = 5) -> list[Change]:
    """The changes of a name about the time of a look."""
    near = bisect.bisect_left([change.start for change in history.changes], look.start)
    return history.changes[max(0, near - around) : near + around]
