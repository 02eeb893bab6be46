"""The processes behind FUSE calls: whether one that waits for an answer may be let go.

The one rule: a signal that a program handles does not break its system calls, as on any disk; one that ends it does,
and so does any signal while it waits for a lock, as fcntl(2) and flock(2) say. A mount that ends lets all of them go.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Final, Protocol

from peer.mount.fuse_binding import CallContext
from schema.requests import AnyRequest, LockFile

_FATAL: Final = 1 << (signal.SIGKILL - 1)
LAST_WORDS: Final = 3.0
"""Seconds that answers still have once the mount is ending: it cannot end before, and supervisors do not wait long."""


class Waiter(Protocol):
    """What the binding knows of the call that the present thread answers; see `fuse_binding.Session`."""

    @property
    def serving(self) -> bool: ...
    @property
    def ending(self) -> bool: ...
    def interrupted(self) -> bool: ...
    def context(self) -> CallContext: ...


class GivenUp:
    """Whether whoever waits for a request has been told to stop waiting. `clock` gives monotonic seconds."""

    def __init__(self, waiter: Waiter, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiter = waiter
        self._clock = clock
        self._patient_until: float | None = None

    def __call__(self, request: AnyRequest) -> bool:
        if not self._waiter.serving or not self._waiter.interrupted():
            return False
        if isinstance(request, LockFile) or was_killed(self._waiter.context().thread):
            return True
        return self._waiter.ending and self._out_of_patience()

    def _out_of_patience(self) -> bool:
        now = self._clock()
        if self._patient_until is None:
            self._patient_until = now + LAST_WORDS
        return now >= self._patient_until


def was_killed(thread: int) -> bool:
    """Whether the thread is about to die: SIGKILL is pending, which is what the kernel makes of every fatal signal.

    Read from SigPnd and ShdPnd of /proc/TID/status (proc(5)). A thread that cannot be seen is taken to be alive, and
    its wait ends by the deadline.
    """
    try:
        with open(f"/proc/{thread}/status", "rb") as status:
            lines = status.read().splitlines()
    except FileNotFoundError:
        return thread > 0
    except OSError:
        return False
    pending = (int(line.split()[1], 16) for line in lines if line.startswith((b"SigPnd:", b"ShdPnd:")))
    return any(mask & _FATAL for mask in pending)
