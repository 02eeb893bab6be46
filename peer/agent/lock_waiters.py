"""Those who wait for a lock, without a thread each.

The one rule: every waiter hears exactly once, at the latest when its time is over. One thread tries again for all of
them, seldom, and at once when the agent itself frees a lock of the same file; other programs free theirs unheard.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from schema.envelope import Address

_log: Final = logging.getLogger(__name__)

_FIRST_RETRY: Final = 0.002
_LAST_RETRY: Final = 0.1
_PER_CLIENT: Final = 256
_REMEMBERED_CANCELS: Final = 1024

Key = tuple[Address, int]
"""Client instance and number of its request."""


class _Waiter:
    __slots__ = ("attempt", "done", "group", "pause", "retry_at", "until")

    def __init__(
        self,
        group: Hashable,
        attempt: Callable[[], None],
        done: Callable[[Exception | None], None],
        *,
        retry_at: float,
        until: float,
    ) -> None:
        self.group: Final = group
        self.attempt: Final = attempt
        self.done: Final = done
        self.until: Final = until
        self.retry_at = retry_at
        self.pause = _FIRST_RETRY


class LockWaiters:
    """The waiting room. It starts its thread when made; `close` ends it and answers all who still wait with EINTR."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Final = clock
        self._changed: Final = threading.Condition()
        self._waiters: Final[OrderedDict[Key, _Waiter]] = OrderedDict()
        self._counts: Final[dict[Address, int]] = {}
        self._cancelled_early: Final[OrderedDict[Key, None]] = OrderedDict()
        self._closed = False
        self._thread: Final = threading.Thread(target=self._run, name="lock-waiters", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiters)

    def wait(
        self,
        key: Key,
        group: Hashable,
        attempt: Callable[[], None],
        done: Callable[[Exception | None], None],
        *,
        seconds: float,
    ) -> None:
        """Call `attempt` until it raises no `BlockingIOError`, for `seconds` at most; then `done`, once.

        `done` gets None for success, or the error: EAGAIN when the time is over, EINTR when cancelled, what `attempt`
        raised otherwise. It is called by the waiting room's thread, or by whoever cancels. `group` is what `freed`
        names. Raises `OSError` ENOLCK for more waiters than a client may have, EINTR when it was cancelled before.
        """
        now = self._clock()
        with self._changed:
            if key in self._cancelled_early or self._closed:
                self._cancelled_early.pop(key, None)
                raise _interrupted()
            if self._counts.get(key[0], 0) >= _PER_CLIENT:
                raise OSError(errno.ENOLCK, f"a client may wait for {_PER_CLIENT} locks at a time")
            self._counts[key[0]] = self._counts.get(key[0], 0) + 1
            self._waiters[key] = _Waiter(group, attempt, done, retry_at=now + _FIRST_RETRY, until=now + seconds)
            self._changed.notify()

    def cancel(self, key: Key) -> None:
        """Let the waiter `key` hear EINTR now. One that is not here yet hears it when it comes."""
        with self._changed:
            waiter = self._remove(key)
            if waiter is None:
                self._cancelled_early[key] = None
                while len(self._cancelled_early) > _REMEMBERED_CANCELS:
                    self._cancelled_early.popitem(last=False)
        if waiter is not None:
            _tell(waiter, _interrupted())

    def client_gone(self, client: Address) -> None:
        """Let all waiters of `client` hear EINTR."""
        with self._changed:
            keys = [key for key in self._waiters if key[0] == client]
        for key in keys:
            self.cancel(key)

    def freed(self, group: Hashable) -> None:
        """Something of `group` was given back: whoever waits for it tries again now."""
        with self._changed:
            for waiter in self._waiters.values():
                if waiter.group == group:
                    waiter.retry_at, waiter.pause = 0.0, _FIRST_RETRY
                    self._changed.notify()

    def close(self) -> None:
        """End the thread; all who wait hear EINTR."""
        with self._changed:
            self._closed = True
            keys = list(self._waiters)
            self._changed.notify()
        self._thread.join()
        for key in keys:
            self.cancel(key)

    def _remove(self, key: Key) -> _Waiter | None:
        waiter = self._waiters.pop(key, None)
        if waiter is not None:
            self._counts[key[0]] -= 1
            if not self._counts[key[0]]:
                del self._counts[key[0]]
        return waiter

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._clock()
                soonest = min((waiter.retry_at for waiter in self._waiters.values()), default=None)
                if soonest is None or soonest > now:
                    self._changed.wait(None if soonest is None else soonest - now)
                    continue
                due = [(key, waiter) for key, waiter in self._waiters.items() if waiter.retry_at <= now]
            for key, waiter in due:
                self._try(key, waiter)

    def _try(self, key: Key, waiter: _Waiter) -> None:
        outcome: Exception | None = None
        with self._changed:
            if self._waiters.get(key) is not waiter:
                return
            try:
                waiter.attempt()
            except BlockingIOError as error:
                now = self._clock()
                if now < waiter.until:
                    waiter.pause = min(2 * waiter.pause, _LAST_RETRY)
                    waiter.retry_at = min(now + waiter.pause, waiter.until)
                    return
                outcome = error
            except Exception as error:  # noqa: BLE001 - whatever it is, the waiter must hear of it
                outcome = error
            self._remove(key)
        _tell(waiter, outcome)


def _tell(waiter: _Waiter, outcome: Exception | None) -> None:
    try:
        waiter.done(outcome)
    except Exception:  # noqa: BLE001 - the other waiters must not suffer
        _log.exception("an answer about a lock did not get through")


def _interrupted() -> OSError:
    return InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
