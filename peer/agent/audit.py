"""Who did what: one JSON object a line, in a file that rotates.

What is recorded, `audited` says. Reads and writes are counted and told in the line that closes their handle.

The one rule: the audit never holds up the service. Entries wait in a bounded queue; what does not fit in is dropped,
counted, and admitted to by a line ``{"operation": "dropped", "count": N}``. A disk that is full stops the audit, not
the agent.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from schema.paths import display

_log: Final = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 5.0
_BATCH: Final = 256


class AuditEntry(msgspec.Struct, frozen=True):
    """One line to be. `outcome` is ``ok`` or a failure code; `request` the client's number of it.

    `request` and `uid` are None for what the agent did by itself: it closes the files of a client that is gone.
    """

    time: float
    client: str
    request: int | None
    uid: int | None
    operation: str
    path: tuple[bytes, ...] | None
    second_path: tuple[bytes, ...] | None = None
    outcome: str = "ok"
    read: int | None = None
    written: int | None = None


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    time: str
    operation: str
    client: str = ""
    request: int | None = None
    uid: int | None = None
    path: str | None = None
    second_path: str | None = None
    outcome: str = ""
    read: int | None = None
    written: int | None = None
    bytes: int | None = None
    count: int | None = None


class AuditLog:
    """Writes entries to `path` (made with mode 0600), by a thread of its own.

    A file that has reached `max_bytes` becomes `path`.1 and so on up to `keep`. `close` writes what waits.
    """

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        keep: int = 5,
        queue_size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path: Final = path
        self._max_bytes: Final = max_bytes
        self._keep: Final = keep
        self._clock: Final = clock
        self._queue: Final[queue.Queue[AuditEntry | None]] = queue.Queue(queue_size)
        self._dropped_lock: Final = threading.Lock()
        self._dropped = 0
        self._descriptor = -1
        self._size = 0
        self._retry_at: float | None = None
        self._open()
        self._thread: Final = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def record(self, entry: AuditEntry) -> None:
        """Have `entry` written soon. Never waits."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._drop(1)

    def close(self) -> None:
        """Write what waits, for a few seconds at most, and end."""
        try:
            self._queue.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            _log.error("the audit is stuck: %d entries are lost", self._queue.qsize())
            return
        self._thread.join(_CLOSE_SECONDS)

    def _drop(self, count: int) -> None:
        with self._dropped_lock:
            self._dropped += count

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and batch[-1] is not None:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ended = batch[-1] is None
            self._write([entry for entry in batch if entry is not None])
            for _ in batch:
                self._queue.task_done()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _write(self, entries: list[AuditEntry]) -> None:
        if self._retry_at is not None and self._clock() < self._retry_at:
            self._drop(len(entries))
            return
        with self._dropped_lock:
            dropped, self._dropped = self._dropped, 0
        lines = [_encoded(entry) for entry in entries]
        if dropped:
            lines.append(msgspec.json.encode(_Line(_timestamp(time.time()), "dropped", count=dropped)) + b"\n")
        try:
            if self._descriptor < 0:
                self._open()
            for line in lines:
                self._write_line(line)
        except OSError as error:
            self._drop(dropped + len(entries))
            if self._retry_at is None:
                _log.error("the audit log %s cannot be written (%s): entries are lost until it can", self._path, error)
            self._retry_at = self._clock() + _RETRY_SECONDS
            return
        if self._retry_at is not None:
            _log.warning("the audit log %s is being written again", self._path)
            self._retry_at = None

    def _write_line(self, line: bytes) -> None:
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        written = os.write(self._descriptor, line)
        if written < len(line):
            os.ftruncate(self._descriptor, self._size)  # half a line would spoil the next one
            os.write(self._descriptor, line)
        self._size += len(line)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        for number in range(self._keep, 0, -1):
            source = self._path if number == 1 else f"{self._path}.{number - 1}"
            if os.path.exists(source):
                os.replace(source, f"{self._path}.{number}")
        if not self._keep:
            os.unlink(self._path)
        self._open()


def _encoded(entry: AuditEntry) -> bytes:
    moved = (entry.read or 0) + (entry.written or 0)
    line = _Line(
        time=_timestamp(entry.time),
        operation=entry.operation,
        client=entry.client,
        request=entry.request,
        uid=entry.uid,
        path=None if entry.path is None else display(entry.path),
        second_path=None if entry.second_path is None else display(entry.second_path),
        outcome=entry.outcome,
        read=entry.read,
        written=entry.written,
        bytes=None if entry.read is None else moved,
    )
    return msgspec.json.encode(line) + b"\n"


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds")
