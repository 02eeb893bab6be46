"""The thread that does on our own mount what has been done on the remote machine, where somebody watches.

The one rule: the feed never waits for it. What it has no room for, and what nobody watches, is not echoed.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

from peer.mount.coherent_cache import CoherentCache
from peer.mount.kernel_cache import KernelCache
from peer.mount.knowledge import Applied
from peer.mount.watcher_echo.echoes import Call, Echo, echoes_of
from peer.mount.watcher_echo.pretence import Pretence
from peer.mount.watcher_echo.watched_inodes import watched_inodes
from schema.pace import Pace
from schema.paths import RelativePath

log = logging.getLogger(__name__)

DELAY: Final = 0.02
"""Seconds for the answer to a change of our own, of which the feed may tell first, to be there."""
OWN_SECONDS: Final = 0.5
"""Seconds after a change through this mount in which news of its path are taken for its echo."""
LOOK_EVERY: Final = 0.25
"""Seconds between two looks at who watches, while there is something to tell, if they are cheap."""
_LOOK_SHARE: Final = 50
"""How much longer the time between two looks is than a look takes."""
_WAITING: Final = 4096
_OWN: Final = 8192
_MADE: Final = 8192
_STOP_DEADLINE: Final = 2.0
_COMPLAINTS_EVERY: Final = 60.0


class _Told(NamedTuple):
    applied: Applied
    due: float


class WatcherEcho:
    """The echo of one mount of the agent's directory `root`. `clock` gives monotonic seconds."""

    def __init__(
        self,
        known: CoherentCache,
        root: RelativePath,
        mountpoint: bytes,
        *,
        clock: Callable[[], float] = time.monotonic,
        unkept: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_foreign: Callable[[RelativePath], bool] = lambda _: False,
        watched: Callable[[int], frozenset[int]] = watched_inodes,
    ) -> None:
        self._known: Final = known
        self._root: Final = root
        self._mountpoint: Final = mountpoint
        self._clock: Final = clock
        self._unkept: Final = unkept
        self._is_foreign: Final = is_foreign
        self._watched_on: Final = watched
        self._stage: tuple[KernelCache, Pretence] | None = None
        self._device = 0
        self._waiting: Final[deque[_Told]] = deque()
        self._own: Final[OrderedDict[RelativePath, float]] = OrderedDict()
        self._made: Final[OrderedDict[RelativePath, int]] = OrderedDict()
        """Inode numbers of what was made, or told of, lately."""
        self._lock: Final = threading.Lock()
        self._wake: Final = threading.Event()
        self._stopping: Final = threading.Event()
        self._watched: frozenset[int] = frozenset()
        self._next_look = float("-inf")
        self._complaints: Final = Pace(_COMPLAINTS_EVERY)
        self._thread: Final = threading.Thread(target=self._run, name="watcher-echo", daemon=True)

    def begin(self, kernel: KernelCache, pretence: Pretence) -> None:
        """The mount is up, and `pretence` is its file system: echo from now on."""
        self._stage = kernel, pretence
        self._thread.start()

    def stop(self) -> None:
        """Echo nothing more; what is being done on the mount is waited for shortly."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_DEADLINE)

    # --- from any thread, and none waits

    def own(self, path: RelativePath) -> None:
        """Something is done to `path` through this mount, or was just now: the kernel tells watchers of it itself."""
        with self._lock:
            self._own.pop(path, None)
            self._own[path] = self._clock()
            if len(self._own) > _OWN:
                self._own.popitem(last=False)

    def told(self, applied: Applied) -> None:
        """A change is in our cache now."""
        if self._stage is None:
            return
        now = self._clock()
        with self._lock:
            room = len(self._waiting) < _WAITING
            if room:
                self._waiting.append(_Told(applied, now + DELAY))
        if room:
            self._wake.set()
        elif self._complaints.allows("full", now):
            log.warning("so much changes on the remote machine that watchers here are not told of all of it")

    # --- on the echo's own thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            told = self._next()
            if told is None:
                continue
            try:
                if self._stage is not None and self._anybody_watches():
                    self._echo(told.applied, *self._stage)
            except Exception:
                log.exception("unexpected failure while waking watchers")

    def _next(self) -> _Told | None:
        with self._lock:
            told = self._waiting.popleft() if self._waiting else None
            if told is None:
                self._wake.clear()
        if told is None:
            if not self._stopping.is_set():  # which is said before the wake-up that was just cleared
                self._wake.wait()
            return None
        if self._stopping.wait(max(0.0, told.due - self._clock())):
            return None
        return told

    def _echo(self, applied: Applied, kernel: KernelCache, pretence: Pretence) -> None:
        parent = None
        paths = applied.paths
        if paths[0]:
            known = self._known.metadata(paths[0][:-1])
            parent = known.metadata if known is not None else None
        for echo in echoes_of(applied, parent):
            if self._stopping.is_set():
                return
            wanted = all(self._is_below(path) for path in echo.paths) and not self._is_own(echo)
            if self._is_known(echo) or not wanted or not self._is_watched(echo):
                continue
            self._perform(_open_here(echo, kernel), kernel, pretence)

    def _anybody_watches(self) -> bool:
        now = self._clock()
        if not self._device:
            try:
                self._device = os.stat(self._mountpoint).st_dev
            except OSError:
                return False
        if now >= self._next_look:
            self._watched = self._watched_on(self._device)
            done = self._clock()
            self._next_look = done + max(LOOK_EVERY, _LOOK_SHARE * (done - now))
        return bool(self._watched)

    def _is_below(self, path: RelativePath) -> bool:
        return len(path) > len(self._root) and path[: len(self._root)] == self._root

    def _is_own(self, echo: Echo) -> bool:
        since = self._clock() - OWN_SECONDS
        with self._lock:
            own = [path for path in echo.paths if self._own.get(path, float("-inf")) >= since]
        return any(not self._is_foreign(path) for path in own)

    def _is_known(self, echo: Echo) -> bool:
        """Whether watchers know already that it is there: the cache does not remember what nobody has looked at."""
        if echo.source is not None:
            self._made.pop(echo.source, None)
        known = self._made.pop(echo.path, None)
        if echo.now is None or echo.call is Call.REMOVE:
            return False
        self._made[echo.path] = echo.now.inode
        if len(self._made) > _MADE:
            self._made.popitem(last=False)
        return echo.call is Call.MAKE and known == echo.now.inode

    def _is_watched(self, echo: Echo) -> bool:
        """Whether somebody watches the file itself, or a directory that it is in."""
        if any(each is not None and each.inode in self._watched for each in (echo.before, echo.now)):
            return True
        for directory in dict.fromkeys(path[:-1] for path in echo.paths):
            try:
                if os.lstat(self._local(directory)).st_ino in self._watched:
                    return True
            except OSError:
                continue
        return False

    def _perform(self, echoes: list[Echo], kernel: KernelCache, pretence: Pretence) -> None:
        for echo in echoes:
            if echo.call is Call.TRUNCATE:
                kernel.revalidate(echo.path)  # who reads upon the event is to read what is there now
            elif echo.call is not Call.TOUCH:
                for path in echo.paths:
                    kernel.look_up_anew(path)  # or it would answer us by itself
            try:
                with self._unkept(), pretence.about(echo):
                    self._call(echo)
                log.debug("echoed: %s of %r", echo.call.name, echo.path)
            except OSError as error:
                # It is otherwise by now, or this user may not do it: nobody hears of it.
                log.debug("not echoed: %s of %r: %s", echo.call.name, echo.path, error)

    def _call(self, echo: Echo) -> None:
        local, now = self._local(echo.path), echo.now
        match echo.call:
            case Call.RENAME if echo.source is not None:
                os.rename(self._local(echo.source), local)
            case Call.REMOVE if echo.before is not None:
                (os.rmdir if stat.S_ISDIR(echo.before.mode) else os.unlink)(local)
            case Call.TRUNCATE if now is not None:
                os.truncate(local, now.size)
            case Call.TOUCH if now is not None:
                os.utime(local, ns=(now.atime_ns, now.mtime_ns), follow_symlinks=False)
            case Call.MAKE if now is not None:
                _make(local, now.mode, now.device)

    def _local(self, path: RelativePath) -> bytes:
        return b"/".join((self._mountpoint, *path[len(self._root) :]))


def _make(local: bytes, mode: int, device: int) -> None:
    if stat.S_ISDIR(mode):
        os.mkdir(local, stat.S_IMODE(mode))
    elif stat.S_ISLNK(mode):
        os.symlink(b".", local)
    else:
        os.mknod(local, mode, device)


def _open_here(echo: Echo, kernel: KernelCache) -> list[Echo]:
    """What is echoed of `echo`: libfuse takes a name that is open here away in a way of its own, so we do not."""
    if echo.call in {Call.TRUNCATE, Call.TOUCH, Call.MAKE}:
        return [echo]
    if not any(kernel.is_open(path) for path in echo.paths):
        return [echo]
    if echo.source is not None and not kernel.is_open(echo.source):
        written = Echo(Call.TRUNCATE, echo.path, echo.before, echo.now)
        return [Echo(Call.REMOVE, echo.source, echo.now, None), written]
    return []
