"""The signals that end a mount, and who hears them.

The one rule: the main thread alone. libfuse waits there, and ends because a signal interrupts its wait; the kernel
gives a signal to any thread that does not block it, and from another one libfuse would not hear of it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Final

ENDING: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})


@contextlib.contextmanager
def unheard_by_new_threads() -> Iterator[None]:
    """Threads that are started meanwhile never hear them; the present one does when this is over, or `heard_here`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def heard_here() -> Iterator[None]:
    """The present thread hears them meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
