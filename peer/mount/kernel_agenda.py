"""Names about which something is to be said to the kernel after a while. Pure.

The one rule: each name stands in it once, so that it holds no more than there are names, however often they change.
"""

from __future__ import annotations

from collections import OrderedDict

from peer.mount.withdrawals import Path, Withdrawal


class Agenda:
    """Names in the order in which they are due: `delay` seconds after they were put in.

    With `postponed`, a name that is put in again waits anew; otherwise the first time counts.
    """

    def __init__(self, delay: float, *, postponed: bool) -> None:
        self._delay = delay
        self._postponed = postponed
        self._waiting: OrderedDict[Path, tuple[float, Withdrawal]] = OrderedDict()

    def __len__(self) -> int:
        """Names that wait."""
        return len(self._waiting)

    def put(self, path: Path, what: Withdrawal, now: float) -> None:
        """Have `path` come up for `what`, and whatever it is in here for already."""
        due, before = self._waiting.get(path, (now + self._delay, Withdrawal.NOTHING))
        if self._postponed:
            due = now + self._delay
            self._waiting.pop(path, None)
        self._waiting[path] = due, before | what

    def paths(self) -> list[Path]:
        """The names that wait."""
        return list(self._waiting)

    def take_due(self, now: float, limit: int) -> list[tuple[Path, Withdrawal]]:
        """Take out what is due by `now`, `limit` names at most."""
        due: list[tuple[Path, Withdrawal]] = []
        while self._waiting and len(due) < limit:
            path, (at, what) = next(iter(self._waiting.items()))
            if at > now:
                break
            del self._waiting[path]
            due.append((path, what))
        return due
