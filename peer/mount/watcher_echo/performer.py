"""The thread that does on our own mount what has been done on the remote machine, where somebody watches.

The one rule: the feed never waits for it. What it has no room for, and what nobody watches, is not echoed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from peer.mount.coherent_cache import CoherentCache
from peer.mount.kernel_belief import KernelBelief
from peer.mount.kernel_cache import KernelCache
from peer.mount.knowledge import Applied
from peer.mount.mountpoint import FILESYSTEM_TYPE, mount_at
from peer.mount.watcher_echo.audience import Audience
from peer.mount.watcher_echo.calls import directory, perform
from peer.mount.watcher_echo.echoes import Call, Echo, contents_of, echoes_of, is_known, is_passing
from peer.mount.watcher_echo.own_changes import KNOWN_SECONDS, SURE_SECONDS, UNSURE_SECONDS, OwnChanges
from peer.mount.watcher_echo.pretence import Pretence
from peer.mount.watcher_echo.told_names import ToldNames
from schema.attributes import FileMetadata
from schema.changes import Changed, Renamed, Swept
from schema.pace import Pace
from schema.paths import RelativePath

log = logging.getLogger(__name__)

DELAY: Final = 0.02
"""Seconds for the answer to a change of our own, of which the feed may tell first, to be there."""
_WAITING: Final = 4096
_MOST_NAMES: Final = 1024
"""Names of a new directory that are told of."""
_STOP_DEADLINE: Final = 2.0
_COMPLAINTS_EVERY: Final = 60.0


class _Told(NamedTuple):
    applied: Applied
    at: float


class Stage(NamedTuple):
    """Where echoes are performed: the directory `mountpoint`, and what answers there. See `WatcherEcho.begin`."""

    mountpoint: bytes
    device: int
    kernel: KernelCache
    pretence: Pretence
    audience: Audience


def stage_of(kernel: KernelCache, pretence: Pretence, root: RelativePath, clock: Callable[[], float]) -> Stage | None:
    """Where the agent's `root` is mounted just now; None when it is not any more."""
    mountpoint = kernel.local(root)
    entry = mount_at(os.fsdecode(mountpoint))
    if entry is None or entry.kind != FILESYSTEM_TYPE:
        return None
    major, minor = entry.device.split(":")
    device = os.makedev(int(major), int(minor))
    return Stage(mountpoint, device, kernel, pretence, Audience(device, clock))


class WatcherEcho:
    """The echo of one mount of the agent's directory `root`. `clock` gives monotonic seconds."""

    def __init__(
        self, known: CoherentCache, belief: KernelBelief, root: RelativePath, clock: Callable[[], float]
    ) -> None:
        self._known: Final = known
        self._belief: Final = belief
        self._root: Final = root
        self._clock: Final = clock
        self._stage: Stage | None = None
        self._waiting: Final[deque[_Told]] = deque()
        self._standing: Final[dict[RelativePath, FileMetadata]] = {}
        """Directories that are gone, of which watchers have not been told yet."""
        self._own: Final = OwnChanges()
        self._names: Final = ToldNames()
        self._lock: Final = threading.Lock()
        self._wake: Final = threading.Event()
        self._stopping: Final = threading.Event()
        self._complaints: Final = Pace(_COMPLAINTS_EVERY)
        self._thread: Final = threading.Thread(target=self._run, name="watcher-echo", daemon=True)

    def begin(self, stage: Stage | None) -> None:
        """The mount is up: echo from now on; without a stage nothing."""
        self._stage = stage
        if stage is not None:
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
        if self._stage is not None:
            with self._lock:
                self._own.add(path, self._clock())

    def told(self, applied: Applied) -> None:
        """A change is in our cache now."""
        if self._stage is None:
            return
        now = self._clock()
        with self._lock:
            room = len(self._waiting) < _WAITING
            if room:
                self._waiting.append(_Told(applied, now))
                self._standing.update(_gone_directories(applied))
        if room:
            self._wake.set()
        elif self._complaints.allows("full", now):
            log.warning("so much changes on the remote machine that watchers here are not told of all of it")

    # --- on the echo's own thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            told = self._next()
            if told is None or self._stage is None:
                continue
            try:
                if self._stage.audience.present:
                    self._echo(told, self._stage)
            except Exception:
                log.exception("unexpected failure while waking watchers")
            with self._lock:
                for path, _ in _gone_directories(told.applied):
                    self._standing.pop(path, None)

    def _next(self) -> _Told | None:
        with self._lock:
            told = self._waiting.popleft() if self._waiting else None
            if told is None:
                self._wake.clear()
        if told is None:
            if not self._stopping.is_set():  # which is said before the wake-up that was just cleared
                self._wake.wait()
            return None
        if self._stopping.wait(max(0.0, told.at + DELAY - self._clock())):
            return None
        return told

    def _echo(self, told: _Told, stage: Stage) -> None:
        applied = told.applied
        if not all(self._is_below(path) for path in applied.paths):
            return
        with self._lock:
            if self._own.explain(applied.paths, told.at, within=_seconds_of_doubt(applied)):
                return
        if isinstance(applied.change, Swept):
            if stage.audience.is_new(applied.change.path):
                self._tell_contents(applied.change.path, stage)
            return
        parent = self._known.metadata(applied.paths[0][:-1])
        for echo in echoes_of(applied, parent.metadata if parent is not None else None):
            self._try(echo, stage)

    def _tell_contents(self, new: RelativePath, stage: Stage) -> None:
        """Tell of all that is in the directory `new`, and below it, of which the feed does not tell one by one."""
        waiting, left = deque([new]), _MOST_NAMES
        while waiting and left > 0 and not self._stopping.is_set():
            path = waiting.popleft()
            try:
                with directory(stage.mountpoint, stage.device, self._local(path)) as opened:
                    os.listdir(f"/proc/self/fd/{opened}")  # by which the names come to be known
            except OSError as error:
                log.debug("not told of what is in %r: %s", path, error)
                continue
            entries = (self._known.listing(path) or [])[:left]
            left -= len(entries)
            for echo in contents_of(path, entries):
                self._try(echo, stage)
                if echo.now is not None and stat.S_ISDIR(echo.now.mode):
                    waiting.append(echo.path)

    def _try(self, echo: Echo, stage: Stage) -> None:
        news = self._names.news(echo)
        if news is None or self._stopping.is_set():
            return
        for each in _open_here(news, stage.kernel):
            try:
                self._perform(each, stage)
            except OSError as error:
                # It is otherwise by now, or this user may not do it: nobody hears of it.
                log.debug("not echoed: %s of %r: %s", each.call.name, each.path, error)
                self._names.forget(each.path)
                if each.source is not None and not is_passing(each.source):
                    self._try(_left(each.source, each), stage)

    def _perform(self, echo: Echo, stage: Stage) -> None:
        with self._lock:
            standing = dict(self._standing)
        source = echo.path if echo.source is None else echo.source
        with contextlib.ExitStack() as stack:
            stack.enter_context(stage.pretence.about(echo, standing))
            if echo.call not in {Call.WRITE, Call.TOUCH}:
                stack.enter_context(self._belief.suspended())
            above = next((gone for gone in _above(echo.path) if gone in standing), None)
            if above is not None:
                stage.kernel.look_up_anew(above)  # somebody may have heard that it is gone
            parents = [
                stack.enter_context(directory(stage.mountpoint, stage.device, self._local(path[:-1])))
                for path in (echo.path, source)
            ]
            if not self._is_watched(echo, parents, stage.audience):
                return
            if echo.call is Call.WRITE:
                stage.kernel.revalidate(echo.path)  # who reads upon the event is to read what is there now
            elif echo.call is not Call.TOUCH:
                for path in echo.paths:
                    stage.kernel.look_up_anew(path)  # or it would answer us by itself
            try:
                perform(echo, *parents, written=not stage.kernel.is_open(echo.path))
            finally:
                if not stage.pretence.done:
                    for path in echo.paths:
                        stage.kernel.look_up_anew(path)  # what we were answered is not so
        if echo.call in {Call.MAKE, Call.RENAME} and echo.now is not None and stat.S_ISDIR(echo.now.mode):
            stage.audience.appeared(echo.path)

    def _is_watched(self, echo: Echo, parents: list[int], audience: Audience) -> bool:
        """Whether somebody watches the file itself, or a directory that it is in."""
        if any(each is not None and audience.watches(each.inode) for each in (echo.before, echo.now)):
            return True
        return any(audience.is_new(path[:-1]) for path in echo.paths) or any(
            audience.watches(os.fstat(parent).st_ino) for parent in parents
        )

    def _is_below(self, path: RelativePath) -> bool:
        return len(path) > len(self._root) and path[: len(self._root)] == self._root

    def _local(self, path: RelativePath) -> RelativePath:
        return path[len(self._root) :]


def _above(path: RelativePath) -> Iterator[RelativePath]:
    """The directories that `path` is in, from the top."""
    return (path[:depth] for depth in range(1, len(path)))


def _seconds_of_doubt(applied: Applied) -> float:
    """How old a change of our own may be of which these are the news."""
    if is_known(applied):
        return KNOWN_SECONDS
    return SURE_SECONDS if _is_sure(applied) else UNSURE_SECONDS


def _is_sure(applied: Applied) -> bool:
    """Whether it was known for sure what there was before, and what is there now came later."""
    change, known = applied.change, applied.before[0]
    if isinstance(change, Swept) or known is None or known.suspect:
        return False
    before, now = known.metadata, change.metadata
    if isinstance(change, Renamed):  # after one of our own the source would not be known to be there
        return before is not None and before.inode == change.metadata.inode
    return before is None or now is None or now.ctime_ns >= before.ctime_ns


def _gone_directories(applied: Applied) -> Iterator[tuple[RelativePath, FileMetadata]]:
    if not isinstance(applied.change, Changed) or applied.change.metadata is not None:
        return
    (known,) = applied.before
    here = () if known is None or known.metadata is None else ((applied.change.path, known.metadata),)
    for path, metadata in (*applied.below, *here):
        if stat.S_ISDIR(metadata.mode):
            yield path, metadata


def _open_here(echo: Echo, kernel: KernelCache) -> list[Echo]:
    """What is echoed of `echo`: libfuse takes a name that is open here away in a way of its own, so we do not."""
    if echo.call in {Call.WRITE, Call.TOUCH, Call.MAKE}:
        return [echo]
    if not any(kernel.is_open(path) for path in echo.paths):
        return [echo]
    if echo.source is None or kernel.is_open(echo.source):
        return []
    written = Echo(Call.WRITE, echo.path, echo.before, echo.now)
    return [written] if is_passing(echo.source) else [_left(echo.source, echo), written]


def _left(source: RelativePath, echo: Echo) -> Echo:
    """That `source`, which a rename started from, is gone."""
    return Echo(Call.REMOVE, source, echo.now, None)
