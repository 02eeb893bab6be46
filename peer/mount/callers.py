"""The processes behind FUSE calls: whether one that waits for an answer may be let go.

The one rule: a signal that a program handles does not break its system calls, as on any disk; one that ends it does,
and so does any signal while it waits for a lock, as fcntl(2) and flock(2) say.
"""

from __future__ import annotations

import signal
from typing import Protocol

from peer.mount.fuse_binding import CallContext
from schema.requests import AnyRequest, LockFile

_FATAL = 1 << (signal.SIGKILL - 1)


class Waiter(Protocol):
    """What the binding knows of the call that the present thread answers; see `fuse_binding.Session`."""

    @property
    def serving(self) -> bool: ...
    def interrupted(self) -> bool: ...
    def context(self) -> CallContext: ...


class GivenUp:
    """Whether the process that waits for a request has been told to stop waiting."""

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def __call__(self, request: AnyRequest) -> bool:
        if not self._waiter.serving or not self._waiter.interrupted():
            return False
        return isinstance(request, LockFile) or was_killed(self._waiter.context().thread)


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
