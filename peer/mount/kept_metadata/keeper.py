"""Keeps what a mount knows from one mount to the next, and has it verified whenever the feed begins anew.

The one rule: it is nobody's reason to wait. One thread reads, writes and walks, a little at a time; what goes wrong
with the file is said once, and the mount goes on without.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path as LocalPath
from typing import Final

from peer.certificates import OwnKeys
from peer.errors import KeptDataRefused, OperationFailed
from peer.filesystem import FileSystem
from peer.mount.bulk_verification import BulkVerification
from peer.mount.coherent_cache import CoherentCache
from peer.mount.kept_metadata.records import MAX_PIECE, NAMES, KeptDirectory, decoded, encoded
from peer.mount.kept_metadata.sealed_file import SealedFile
from peer.session.primitives import KEY_SIZE
from schema.requests import Caller

_log: Final = logging.getLogger(__name__)

Path = tuple[bytes, ...]

MAGIC: Final = b"RFSmeta1"
"""Its last byte is the version of the format."""
SAVE_EVERY: Final = 60.0
"""Seconds between two savings while something is learnt; longer where one takes over a hundredth of that."""
SAVE_DEADLINE: Final = 5.0
"""Seconds of the last saving, when the mount ends: what is not written by then is not kept."""
AGAIN_AFTER: Final = 1.0
"""Seconds until what was not under watch is asked about again: an agent that has just begun is still at it."""
_LONGEST_AGAIN: Final = 64.0
"""Seconds; after a pause as long, it is left to who wants to know."""
PIPELINED: Final = 4
"""Questions that are on their way at a time."""
_DRAFTS: Final = 3600.0
_BREATH: Final = 0.002
_NAME_SIZE: Final = 20
_PURPOSE: Final = b"remotefs-kept"
_UNREACHED: Final = frozenset({"ETIMEDOUT", "EHOSTUNREACH", "EINTR"})


class MetadataKeeper:
    """Keeps what `known` says of `root` and below in `file`, None to keep nothing. `agent` is asked for `caller`."""

    def __init__(
        self,
        file: SealedFile | None,
        known: CoherentCache,
        agent: FileSystem,
        root: Path,
        caller: Caller,
        *,
        verification: BulkVerification,
    ) -> None:
        self._file: Final = file
        self._known: Final = known
        self._agent: Final = agent
        self._root: Final = root
        self._caller: Final = caller
        self._verification: Final = verification
        self._walking: Final = threading.Lock()
        self._wake: Final = threading.Event()
        self._followed = False
        self._stopping: Final = threading.Event()
        self._said = False
        self._saved = self._questions = 0
        self._thread: Final = threading.Thread(target=self._run, name="metadata-keeper", daemon=True)

    def start(self) -> None:
        """Read what was kept, and go on from there."""
        self._thread.start()

    def followed(self) -> None:
        """The feed is followed from here on: what is known from before is suspect."""
        self._followed = True
        self._wake.set()

    def stop(self) -> None:
        """Save, and end."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2 * SAVE_DEADLINE)

    # --- on the keeper's thread

    def _run(self) -> None:
        self._guarded(self._load)
        save_at = time.monotonic() + SAVE_EVERY
        verify_at, pause = math.inf, AGAIN_AFTER
        while not self._stopping.is_set():
            self._wake.wait(max(min(save_at, verify_at) - time.monotonic(), 0.0))
            self._wake.clear()
            if self._followed:
                self._followed = False
                verify_at, pause = 0.0, AGAIN_AFTER
            if time.monotonic() >= verify_at:
                self._guarded(self._verify)
                again = self._verification.uncovered and pause < _LONGEST_AGAIN
                verify_at, pause = (time.monotonic() + pause if again else math.inf), 2 * pause
            began = time.monotonic()
            if began >= save_at and not self._stopping.is_set():
                self._guarded(self._save)
                now = time.monotonic()
                save_at = now + max(SAVE_EVERY, 100 * (now - began))
        self._guarded(self._save)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, KeptDataRefused) as error:
            if not self._said:
                path = self._file.path if self._file is not None else ""
                _log.info("what was known of names is not kept in %s: %s", path, error)
            self._said = True
        except Exception:  # noqa: BLE001 - logged with its traceback; the mount is as good without
            _log.exception("unexpected failure while keeping what is known of names")

    def _load(self) -> None:
        if self._file is None:
            return
        try:
            self._file.drop_drafts(time.time() - _DRAFTS)
            for _ in self._file.read():
                pass  # all of it is as it was written, or none of it counts
            for piece in self._file.read():
                for record in decoded(piece):
                    self._known.restore(record)
        except FileNotFoundError:
            return

    def _save(self) -> None:
        learnt = self._known.learnt
        if self._file is not None and learnt != self._saved:
            self._file.write(encoded(self._records()))
            self._saved = learnt

    def _records(self) -> Iterator[KeptDirectory]:
        """All that is known, a little at a time; when the mount ends, as much as there is time for."""
        ends: float | None = None
        taken = 0
        waiting: deque[tuple[Path, int]] = deque([(self._root, 0)])
        while waiting:
            path, start = waiting.popleft()
            part = self._known.part(path, range(start, start + NAMES))
            waiting.extend(((*path, name), 0) for name in part.below)
            if part.more:
                waiting.appendleft((path, start + NAMES))
            if part.record.names or part.record.whole:
                yield part.record
            taken += len(part.record.names)
            if not self._stopping.is_set():
                if taken >= NAMES:
                    taken = 0
                    self._stopping.wait(_BREATH)
            elif ends is None:
                ends = time.monotonic() + SAVE_DEADLINE
            elif time.monotonic() > ends:
                return

    def _verify(self) -> None:
        self._verification.begin(self._root)
        self._questions = 0
        workers = [
            threading.Thread(target=self._guarded, args=(self._ask,), name="metadata-verifier", daemon=True)
            for _ in range(PIPELINED)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive() and not self._stopping.is_set():
                worker.join(0.1)
        ended = not (self._stopping.is_set() or self._followed or self._verification.walking)
        if ended and self._questions and not self._verification.uncovered:
            _log.info("what was known of names is verified, by %d questions", self._questions)

    # --- on the verifiers' threads

    def _ask(self) -> None:
        """Ask question after question until the walk ends, is begun anew, or leads nowhere."""
        while not self._stopping.is_set() and not self._followed:
            with self._walking:
                if not self._verification.walking:
                    return
                question = self._verification.next()
                self._questions += question is not None
            if question is None:
                continue
            try:
                answer = self._agent.verify_metadata(question.request, self._caller)
            except OperationFailed as failure:
                if failure.code in _UNREACHED:
                    return
                _log.debug("%d names could not be verified: %s", len(question.request.names), failure)
                continue
            self._verification.answered(question, answer)


def kept_in(directory: LocalPath, keys: OwnKeys, agent_key: bytes, path: Path) -> SealedFile:
    """The file in `directory` in which is kept what is known of `path` of the agent with the identity key `agent_key`.

    Its name and its key are keyed hashes of both, so neither tells what is in it, and none opens in another's place.
    """
    secret = keys.secret_for(_PURPOSE)
    realm = agent_key + b"/" + b"/".join(path)
    name = hashlib.blake2b(realm, key=secret, person=b"file name", digest_size=_NAME_SIZE).hexdigest()
    key = hashlib.blake2b(realm, key=secret, person=b"file key", digest_size=KEY_SIZE).digest()
    return SealedFile(directory / name, key, MAGIC, MAX_PIECE)
