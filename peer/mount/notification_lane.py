"""A thread that does small jobs in order, for whoever must not do them himself.

The one rule: it holds a bounded number of jobs and no caller waits without a deadline, so a job that
the kernel holds up holds up no callback for longer than that.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Job = Callable[[], None]


class NotificationLane:
    """One thread and its queue."""

    def __init__(self, name: str, capacity: int) -> None:
        self._queue: queue.Queue[Job | None] = queue.Queue(capacity)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Do no job any more; wait up to `seconds` for the one in hand."""
        self._stopping = True
        with contextlib.suppress(queue.Full):  # Then the thread has jobs to wake up for, and looks before each.
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def post(self, job: Job, seconds: float = 0.0) -> bool:
        """Have `job` done later; wait up to `seconds` for a place in the queue. Whether there was one, and a thread."""
        if self._stopping:
            return False
        try:
            self._queue.put(job, block=seconds > 0, timeout=seconds or None)
        except queue.Full:
            return False
        return True

    def wait_for(self, job: Job, seconds: float) -> bool:
        """Have `job` done and wait up to `seconds` for its end. Whether it came."""
        done = threading.Event()

        def marked() -> None:
            try:
                job()
            finally:
                done.set()

        return self.post(marked) and done.wait(seconds)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None and not self._stopping:
            try:
                job()
            except Exception:
                log.exception("a notification of the kernel failed")
