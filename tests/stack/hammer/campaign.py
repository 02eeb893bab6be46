"""The hammer over a real broker, a real agent and two real mounts: processes on each tree, and what comes of it.

The one rule: an operation that fails is said; whether that is allowed is for who reads the outcome.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.stack.hammer.checker import SECOND, Checker, Report, neighbourhood
from tests.stack.hammer.history import Change, Event, Look, Trouble, read_log
from tests.stack.hammer.worker import Orders
from tests.stack.processes import PATIENCE, until
from tests.stack.world import DESKTOP, LAPTOP, Stack

EXPORT = "export"
HANDS = ((LAPTOP, 0.6), (LAPTOP, 0.0), (DESKTOP, 0.6), (DESKTOP, 0.0), (EXPORT, 0.5))
"""The processes: the tree that each works on, and how much of what it does changes something."""
_SHOWN = 3
"""Of the looks that nothing explains in one way, how many are shown with their neighbourhood."""
_LEAD = SECOND // 2
"""Nanoseconds for the processes to start."""


@dataclass
class Outcome:
    """What came of one run."""

    report: Report
    changes: Counter[str]
    troubles: list[Trouble]
    differences: list[str]
    """What a mount shows otherwise than the export when all is over."""
    checker: Checker = field(repr=False)

    def lines(self) -> Iterable[str]:
        """For people to read."""
        yield f"{sum(self.changes.values())} changes: " + ", ".join(
            f"{n} {what}" for what, n in sorted(self.changes.items())
        )
        for kind, count in sorted(self.report.looks.items()):
            yield f"{count:7} x {kind}{_distribution(self.report.lags.get(kind, []))}"
        for what, count in Counter(f"{each.operation}: {each.error}" for each in self.troubles).most_common(20):
            yield f"failed {count} x {what}"
        yield from self.differences
        yield f"{len(self.report.unexplained)} unexplained"
        alike: dict[tuple[str, str], list[tuple[Look, str]]] = defaultdict(list)
        for look, why in self.report.unexplained:
            alike[look.operation, re.sub(r"[^a-z ]+", "", why)].append((look, why))
        for (operation, _), each in alike.items():
            yield f"=== {len(each)} x {operation}: {each[0][1]}"
            for look, why in each[:_SHOWN]:
                yield from self._explained(look, why)

    def _explained(self, look: Look, why: str) -> Iterable[str]:
        yield f"--- {why}: {_look(look)}"
        for change in neighbourhood(self.checker.history(look.name), look):
            yield f"    {_change(change, look.start)}"


def _distribution(lags: list[int]) -> str:
    if not lags:
        return ""
    lags = sorted(lags)
    p50, p99 = lags[len(lags) // 2], lags[len(lags) * 99 // 100]
    return f", {len(lags)} late by p50 {p50 / 1e6:.1f} ms, p99 {p99 / 1e6:.1f} ms, most {lags[-1] / 1e6:.1f} ms"


def _look(look: Look) -> str:
    fields = [
        f"process {look.process} {look.operation} {look.root}/{look.name} at {look.start}",
        f"for {(look.end - look.start) / 1e6:.2f} ms",
    ]
    if look.again is not None and look.again > look.start:
        fields.append(f"read {(look.again - look.start) / 1e6:.2f} ms after its open")
    fields += [
        f"{key} {value}" for key in ("kind", "content", "size", "mode") if (value := getattr(look, key)) is not None
    ]
    return ", ".join(map(str, fields))


def _change(change: Change, origin: int) -> str:
    start, end = ((moment - origin) / 1e6 for moment in (change.start, change.end))
    after = change.after
    return (
        f"{start:+10.2f} to {end:+10.2f} ms: process {change.process} {change.operation} on {change.root}: "
        f"{after.kind} {after.content} size {after.size} mode {after.mode}{'' if change.sure else ' (not sure)'}"
    )


def hammer(
    stack: Stack, seed: int, seconds: float, *, bound: float, disturb: Callable[[Stack, int], None] | None = None
) -> Outcome:
    """Run the hammer on a stack that was started. `bound`: seconds that attributes may be late.

    `disturb(stack, end)` may do things to the stack meanwhile, until the moment `end` (CLOCK_MONOTONIC, ns).
    """
    mounts = {client: stack.mount(client).path for client in (LAPTOP, DESKTOP)}
    trees = {EXPORT: stack.export, **mounts}
    ledger = stack.home / "ledger"
    ledger.mkdir()
    begin = time.monotonic_ns() + _LEAD
    end = begin + int(seconds * SECOND)
    logs, workers = [], []
    for number, (root, changing) in enumerate(HANDS, 1):
        log = stack.home / f"hammer-{number}.jsonl"
        orders = Orders(
            number, root, str(trees[root]), str(log), str(ledger), seed, begin, end, changing, disturb is not None
        )
        logs.append(log)
        workers.append(subprocess.Popen(orders.command, stdin=subprocess.DEVNULL))
    try:
        if disturb is not None:
            disturb(stack, end)
        for worker in workers:
            assert (status := worker.wait(seconds + PATIENCE)) == 0, f"a process of the hammer ended with {status}"
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(PATIENCE)
    return judge(
        [event for log in logs for event in read_log(log)],
        bound=bound,
        # What is prepared by a request that nobody answered may have been made; so its name may be left.
        differences=_settle(stack.export, mounts, allowed=".spare-" if disturb is not None else None),
    )


def judge(events: list[Event], *, bound: float, differences: list[str]) -> Outcome:
    """Check what was written down."""
    changes = [event for event in events if isinstance(event, Change)]
    checker = Checker(changes, exact=(EXPORT,), bound=int(bound * SECOND))
    report = checker.check(event for event in events if isinstance(event, Look))
    troubles = [event for event in events if isinstance(event, Trouble)]
    return Outcome(report, Counter(change.operation for change in changes), troubles, differences, checker)


def _settle(export: Path, mounts: dict[str, Path], allowed: str | None) -> list[str]:
    """Wait for the mounts to show what the export has; what they still show otherwise after a while.

    Also hidden names that are left behind, but for those that are `allowed` to begin so.
    """
    differences: list[str] = []

    def equal() -> bool:
        truth = _whole(export)
        shown = {root: _whole(tree) for root, tree in mounts.items()}
        differences[:] = [
            f"in the end {root}/{name} is {seen.get(name)} and not {truth.get(name)}"
            for root, seen in shown.items()
            for name in sorted({*truth, *seen})
            if seen.get(name) != truth.get(name)
        ]
        return not differences

    try:
        until("the mounts show what the export has", equal, 5.0)
    except AssertionError:
        return differences
    hidden = (name for name in os.listdir(export) if name.startswith("."))
    return [f"in the end {name} is left behind" for name in hidden if allowed is None or not name.startswith(allowed)]


def _whole(tree: Path) -> dict[str, tuple[object, ...]]:
    """All names with attributes and contents."""
    found: dict[str, tuple[object, ...]] = {}
    for name in os.listdir(tree):
        status = os.lstat(tree / name)
        try:
            content = (tree / name).read_bytes() if stat.S_ISREG(status.st_mode) else b""
        except OSError as failure:
            found[name] = (repr(failure),)
            continue
        found[name] = (
            status.st_mode,
            status.st_nlink,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            hash(content),
        )
    return found
