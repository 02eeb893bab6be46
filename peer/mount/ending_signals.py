"""The signals that end a mount, and who hears them.

The one rule: while libfuse runs, a thread of ours alone. libfuse would listen by itself, but begins after its mount is
there: a signal in between kills the program, and leaves a dead mount. It also looks whether it is to end and then goes
to sleep, and sleeps on if a signal comes in between.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ENDING: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
_WAKE: Final = signal.SIGUSR1
"""What interrupts the sleep of libfuse's main loop."""
_KICK: Final = signal.SIGTERM
"""What the listener is told by that there is nothing to listen for any more."""
_LOOK_EVERY: Final = 0.001
_AGAIN: Final = 1.0
"""Seconds after which a loop that did not end is woken again."""


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


class Ending:
    """Ends the loop that the main thread, which makes it, is going to be in: `leave` has that end once it is woken."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Final = leave
        self._serving: Final = threading.Event()
        self._over: Final = threading.Event()
        self._dismissed: Final = threading.Event()
        self._loop: Final = threading.get_ident(), threading.get_native_id()
        # A signal that is ignored, as nohup(1) has it, is kept all the same for who waits for it.
        self._heard: Final = {each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN} | {_KICK}
        self._thread: Final = threading.Thread(target=self._run, name="ending-signals", daemon=True)

    def serving(self) -> None:
        """The loop has begun: what was heard before takes effect now."""
        self._serving.set()

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Within, which is the main thread's loop, a signal ends the loop and does nothing else."""
        handler = signal.signal(_WAKE, lambda *_: None)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {_WAKE})
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._serving.set()
            signal.pthread_kill(self._thread.ident or 0, _KICK)
            self._dismissed.set()
            self._thread.join()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            signal.signal(_WAKE, handler)

    def _run(self) -> None:
        try:
            self._listen()
        finally:
            self._dismissed.wait()  # a thread that has ended may not be sent anything

    def _listen(self) -> None:
        signal.sigwait(self._heard)
        self._serving.wait()
        identity, number = self._loop
        # What interrupts the loop before it sleeps is lost on it.
        while not self._over.is_set() and not _sleeps(number):
            self._over.wait(_LOOK_EVERY)
        self._leave()
        while not self._over.is_set():
            signal.pthread_kill(identity, _WAKE)
            signal.sigtimedwait(ENDING, _AGAIN)  # who asks again is heard, and asks for nothing new


def _sleeps(thread: int) -> bool:
    """Whether a thread of ours waits for something (proc_pid_stat(5))."""
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "S"
