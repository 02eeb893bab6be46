"""Contents of remote files as a mount keeps them: what is read goes to the block store, off the reader's way.

The one rule: a read waits for a read of the disk at most. Sealing and writing are one thread's, and what it cannot keep
up with is not kept.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Final, Protocol

from peer.certificates import OwnKeys
from peer.config import CacheTable
from peer.mount.block_assembly import BlockAssembly, WholeBlocks
from peer.mount.block_store.store import BlockStore
from schema.attributes import FileVersion

_log: Final = logging.getLogger(__name__)

QUEUED_BYTES: Final = 32 * 1024 * 1024
"""Bytes that may wait for being written."""
_PURPOSE: Final = b"remotefs-blocks"
_STOP_DEADLINE: Final = 3.0


class Contents(Protocol):
    """Contents of file versions, kept on this side. `volume` is st_dev of the agent."""

    def read(self, volume: int, version: FileVersion, offset: int, size: int) -> memoryview | None:
        """All of these bytes, fewer only at the end of the file; None when some are missing."""

    def keep(self, volume: int, version: FileVersion, offset: int, data: memoryview) -> None:
        """Keep what can be kept of these bytes, which are proven to be of this version."""

    def complete(self, volume: int, version: FileVersion) -> bool:
        """Whether all of the file is here."""

    def cached_bytes(self, volume: int, version: FileVersion) -> int:
        """How many bytes of the file are here."""


class StoredContents:
    """`Contents` on disk. Closed by `close`, and then so is `store`."""

    def __init__(self, store: BlockStore, *, queued_bytes: int = QUEUED_BYTES) -> None:
        self._store: Final = store
        self._queued_bytes: Final = queued_bytes
        self._assembly: Final = BlockAssembly()
        self._work: Final = threading.Condition()
        self._queue: Final[deque[WholeBlocks]] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._thread: Final = threading.Thread(target=self._run, name="block-writer", daemon=True)
        self._thread.start()

    def read(self, volume: int, version: FileVersion, offset: int, size: int) -> memoryview | None:
        """See `Contents`."""
        return self._store.read(version, volume, offset, size)

    def keep(self, volume: int, version: FileVersion, offset: int, data: memoryview) -> None:
        """See `Contents`; `data` is held until it is written."""
        with self._work:
            for blocks in self._assembly.add(volume, version, offset, data):
                if not self._closing and self._waiting_bytes + len(blocks.data) <= self._queued_bytes:
                    self._queue.append(blocks)
                    self._waiting_bytes += len(blocks.data)
                    self._work.notify_all()

    def complete(self, volume: int, version: FileVersion) -> bool:
        """See `Contents`."""
        return self._store.complete(version, volume)

    def cached_bytes(self, volume: int, version: FileVersion) -> int:
        """See `Contents`."""
        return self._store.cached_bytes(version, volume)

    def written(self, patience: float) -> bool:
        """Wait until nothing waits for being written, `patience` seconds at most; whether that is so."""
        with self._work:
            return self._work.wait_for(lambda: not self._waiting_bytes, patience)

    def close(self) -> None:
        """Write what waits, unless that takes long, and close the store."""
        with self._work:
            self._closing = True
            self._work.notify_all()
        self._thread.join(_STOP_DEADLINE)
        self._store.close()

    def _run(self) -> None:
        while True:
            with self._work:
                self._work.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                volume, version, first, data = self._queue.popleft()
            self._store.write(version, volume, first, data)
            with self._work:
                self._waiting_bytes -= len(data)
                self._work.notify_all()


def open_contents(cache: CacheTable, keys: OwnKeys, agent_key: bytes) -> StoredContents | None:
    """What is kept of the files of the agent with the identity key `agent_key`; None where nothing is to be kept.

    A directory that cannot be used is said in the log, once, by the store; the mount goes on without.
    """
    if not cache.max_size_gb:
        return None
    secret = keys.secret_for(_PURPOSE)
    max_bytes = int(cache.max_size_gb * 10**9)
    return StoredContents(BlockStore(cache.place / "blocks", secret, agent_key, max_bytes))
