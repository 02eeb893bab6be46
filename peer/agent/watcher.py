"""What happens below the exports, as inotify(7) tells it: one thread that reads, names and passes on.

The one rule: a directory counts as covered only while its watch is in place, and whatever may have been missed is said
to be so. Events that were lost (overflow), the watch limit and a fault of ours begin a new epoch; until the watches are
in place again, nothing is covered. The heartbeat comes from this thread: a watcher that stopped is silent.

A directory that appears is watched first and looked into then, so that nothing made in it meanwhile is missed. inotify
does not see writes through mmap(2), changes made on another host of a network file system (there nothing is covered),
what is mounted over a directory, and writes to a file through a name outside of the exports.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from peer.agent.change_listener import ChangeListener, Marks
from peer.agent.confined_root import ConfinedRoot
from peer.agent.doubts import Doubts
from peer.agent.event_names import Event, EventNames
from peer.agent.inotify import Inotify, reports_changes
from peer.agent.look_marks import LookMarks
from peer.agent.new_links import links_made
from peer.agent.noted_names import NotedNames
from peer.agent.watch_counts import Counters, Watched
from peer.agent.watched_directory import names_in, opened, outermost, renew_removed
from peer.agent.watched_tree import NOT_COVERED, Coverage, Directory, WatchedTree
from schema.pace import Pace
from schema.paths import display

_log = logging.getLogger(__name__)

Path = tuple[bytes, ...]

COALESCE: Final = 0.003
"""Seconds for which events gather before they are looked at: what is written in a loop is one change."""
_SLICE: Final = 32
"""Directories that are looked into between two looks at events."""
_FEW: Final = 256
"""Names in a new directory that are told one by one; more are one `Swept`."""
_IDLE: Final = 0.25
_DOUBT: Final = 0.02
"""Seconds until a doubt that no event answers is looked at again."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two new beginnings, doubled from the first to the longest while they keep being necessary."""
_COMPLAINTS_EVERY: Final = 60.0
_LIMIT_PAUSE: Final = 15.0
"""Seconds until it is tried whether there are watches again for directories that the limit left without."""


class Watcher:
    """Watches `roots` (export -> its directory) from `start` to `stop`. `coverage` and `doubts` are for any thread."""

    def __init__(
        self,
        roots: Mapping[Path, ConfinedRoot],
        told: ChangeListener,
        *,
        heartbeat: float,
        open_inotify: Callable[[], Inotify] = Inotify,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`heartbeat` in seconds. `roots` stay open until after `stop`."""
        self._every_root: Final = tuple(roots.values())
        self._roots: Final = outermost(roots)
        self._told: Final = told
        self._heartbeat: Final = heartbeat
        self._open_inotify: Final = open_inotify
        self._clock: Final = clock
        self.counters: Final = Counters()
        self._tree = WatchedTree(tuple(self._roots))
        self._inotify: Inotify | None = None
        self._unseen: deque[tuple[Directory, bool]] = deque()
        """Directories to look into, and whether they are new, so that somebody has to be told."""
        self._began_at = 0.0
        self._begin_at = 0.0
        self._pause = _FIRST_PAUSE
        self.settled = False
        """Whether every directory that can be watched is."""
        self._limited = False
        self._refused: deque[Directory] = deque()
        """Directories that the watch limit left without a watch."""
        self._retry_at = 0.0
        self._marks: Final = LookMarks(told.marks)
        self.doubts: Final = Doubts()
        self._complaints: Final = Pace(_COMPLAINTS_EVERY)
        self._stopping: Final = threading.Event()
        self._woken: Final = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: Final = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin; the watches come into place while the agent serves."""
        self._thread.start()

    def stop(self) -> None:
        """End, and give the watches back."""
        self._stopping.set()
        os.eventfd_write(self._woken, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._let_go()
        os.close(self._woken)

    def __len__(self) -> int:
        """Directories under watch."""
        return len(self._tree)

    def standing(self) -> Watched:
        """How it stands, for the metrics."""
        counted = self.counters
        return Watched(len(self), self.settled, counted.overflows, counted.limits, counted.faults, counted.epochs)

    def coverage(self, path: Path) -> Coverage:
        """What of `path` is under watch. To be asked after the feed's moment was taken."""
        # What is doubted is what this watcher's own thread is about to tell: to it, the tree is as it should be.
        if self.doubts and threading.current_thread() is not self._thread and self.doubts.concern(path):
            return NOT_COVERED
        return self._tree.coverage(path)

    def shows(self, path: Path, identity: tuple[int, int]) -> bool:
        """Whether `path` leads to the directory `identity`, and all that had happened to it and in it was told.

        What had happened is what was complete when this was called. From any thread.
        """
        inotify = self._inotify
        if inotify is None:
            return False
        try:
            if not inotify.quiet():
                return False
        except OSError:
            return False  # closed meanwhile
        covered = self._tree.listed(path) == identity and not self.doubts.concern(path)
        return covered and self._inotify is inotify  # else it was not ours that was quiet

    # --- on the watcher's thread

    def _run(self) -> None:
        self._begin_at = self._clock()
        heartbeat_at = self._begin_at
        while not self._stopping.is_set():
            now = self._clock()
            try:
                self._turn(now, heartbeat_at)
                if now >= heartbeat_at:
                    heartbeat_at = now + self._heartbeat
                    self._told.heartbeat()
            except Exception:  # noqa: BLE001 - it is logged, and what it may have missed is said to be missed
                _log.exception("unexpected failure while watching")
                self.counters.faults += 1
                self._begin_anew("a fault of the watcher")

    def _turn(self, now: float, heartbeat_at: float) -> None:
        if renew_removed(self._every_root):
            self._begin_anew("an export that was removed is there again")
        if self._inotify is None and now >= self._begin_at:
            self._begin(now)
        inotify = self._inotify
        until = min(heartbeat_at, now + _IDLE) if inotify is not None else min(heartbeat_at, self._begin_at)
        doubted = self.doubts.raised
        if self.doubts:
            until = min(until, now + _DOUBT)
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        if inotify is not None:
            poller.register(inotify.descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poller.poll(0 if self._unseen else 1000 * max(0.0, until - now))]
        if inotify is None or self._stopping.is_set():
            return
        if inotify.descriptor in ready:
            self._stopping.wait(COALESCE)
            doubted = self.doubts.raised
            self._take(inotify)
            inotify.told()
        self._marks.read_up_to(now)
        self.doubts.settle(doubted)
        if self._refused and now >= self._retry_at:
            self._retry_at = now + _LIMIT_PAUSE
            self._unseen.append((self._refused.popleft(), True))
        self._look_into_some()

    def _begin(self, now: float) -> None:
        try:
            self._inotify = self._open_inotify()
        except OSError as error:
            self._begin_at = now + _LONGEST_PAUSE
            _log.error("changes are not watched: inotify: %s (fs.inotify.max_user_instances)", error.strerror)
            return
        self._began_at = now
        self.settled = self._limited = False
        self._refused.clear()
        self._unseen = deque((directory, False) for directory in self._tree.exports.values())

    def _begin_anew(self, reason: str) -> None:
        """Forget all watches: nothing is covered, and a new epoch says so. The watches are set again after a pause."""
        self._let_go()
        now = self._clock()
        calm = now - self._began_at > _LONGEST_PAUSE
        self._pause = _FIRST_PAUSE if calm else min(2 * self._pause, _LONGEST_PAUSE)
        self._begin_at = now + self._pause
        self._new_epoch(reason)

    def _let_go(self) -> None:
        self._tree = WatchedTree(tuple(self._roots))
        self._unseen.clear()
        self.settled = False
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _new_epoch(self, reason: str) -> None:
        self.counters.epochs += 1
        _log.warning("a new epoch of the change feed: %s", reason)
        self._told.begin_epoch(reason)

    def _take(self, inotify: Inotify) -> None:
        """Read what has happened and tell it."""
        names = EventNames(inotify.read())
        if names.half_moved:
            self._stopping.wait(COALESCE)
            names = EventNames(names.raw + inotify.read())
        if names.overflow:
            self.counters.overflows += 1
            self._begin_anew("inotify lost events, its queue was full (fs.inotify.max_queued_events)")
            return
        noted = NotedNames(self._told)
        for event in names.events():
            self._apply(event, noted, self._marks.older)
        noted.tell()
        if links_made(names, self._tree, self._roots, inotify):
            self._told.linked()

    def _apply(self, event: Event, noted: NotedNames, marks: Marks) -> None:
        tree = self._tree
        directory = tree.watched(event.watch)
        if event.ended:
            tree.lost_watch(event.watch)
            if event.unmounted and directory is not None:
                noted.tell()
                self._unmounted(directory)
            return
        if directory is None:
            return
        here = tree.path(directory)
        if not event.name:
            noted.add(here)
            return
        if event.appeared or event.vanished:
            noted.add(here)
        to = tree.watched(event.target.watch) if event.target is not None else None
        if event.target is not None and to is not None:
            noted.add(tree.path(to))
            noted.tell()
            self._move(event, directory, to, event.target.name, marks)
        elif event.appeared and event.is_directory:
            noted.tell()
            self._appear(directory, event.name)
        else:
            left = event.vanished and event.is_directory
            if left:
                self._forget(tree.child(directory, event.name))
            noted.add((*here, event.name), left=left, written=event.written)

    def _move(self, event: Event, source: Directory, to: Directory, name: bytes, marks: Marks) -> None:
        tree = self._tree
        old, new = (*tree.path(source), event.name), (*tree.path(to), name)
        if event.is_directory:
            moved, replaced = tree.child(source, event.name), tree.child(to, name)
            if replaced is not moved:
                self._forget(replaced)
            if moved is None or not self._is_at(moved, new):
                # It was looked into after it had moved, when its name was another's, or it has moved on.
                self._forget(moved)
                self._told.changed(old, left=(old,))
                self._appear(to, name)
                return
            tree.move(moved, to, name)
        self._told.renamed(old, new, marks)

    def _is_at(self, directory: Directory, path: Path) -> bool:
        """Whether what is at `path` is what the watch of `directory` is on."""
        if self._inotify is None or not directory.watch:
            return False
        export = next(export for export in self._roots if path[: len(export)] == export)
        try:
            with opened(self._roots[export], path[len(export) :]) as descriptor:
                watch = self._inotify.watch(descriptor)
        except OSError:
            return False
        if self._tree.watched(watch) is None:
            self._inotify.unwatch(watch)
        return watch == directory.watch

    def _appear(self, parent: Directory, name: bytes) -> None:
        """A directory is new in `parent`: watch it, then tell, and then what was in it already."""
        directory = self._tree.child(parent, name) or self._tree.enter(parent, name)
        path = (*self._tree.path(parent), name)
        found = [] if directory.watch else self._look_into(directory, new=True)
        self._told.appeared(path)
        self._tell_found(path, found)

    def _unmounted(self, directory: Directory) -> None:
        """What was mounted over `directory`, or above it, is gone: see what has been below."""
        parent, name = directory.parent, directory.name
        if parent is None:
            self._told.swept(self._tree.path(directory))
        elif self._tree.knows(directory):
            self._forget(directory)
            self._appear(parent, name)

    def _forget(self, directory: Directory | None) -> None:
        if directory is None or self._inotify is None:
            return
        for watch in self._tree.drop(directory):
            self._inotify.unwatch(watch)

    def _look_into_some(self) -> None:
        for _ in range(_SLICE):
            if not self._unseen:
                break
            directory, new = self._unseen.popleft()
            if not directory.watch and self._tree.knows(directory):
                path = self._tree.path(directory)
                found = self._look_into(directory, new=new)
                if new:
                    self._told.appeared(path)
                    self._tell_found(path, found)
        if not self._unseen and not self.settled and self._inotify is not None:
            self.settled = True
            _log.info("%d directories under watch after %.1f s", len(self._tree), self._clock() - self._began_at)

    def _tell_found(self, path: Path, found: list[bytes]) -> None:
        """Tell what was in a new directory before its watch was in place."""
        if len(found) > _FEW:
            self._told.swept(path)
            self._told.changed(path)
        elif found:
            self._told.changed(*((*path, name) for name in found))

    def _look_into(self, directory: Directory, *, new: bool) -> list[bytes]:
        """Watch `directory` and enter the directories in it, to be looked into as well; the other names in it.

        `new` says that nobody was told of what is in it. None of it counts where it cannot be watched.
        """
        tree, inotify = self._tree, self._inotify
        export, below = tree.export_of(directory)
        if inotify is None:
            return []
        try:
            with opened(self._roots[export], below) as descriptor:
                status = os.fstat(descriptor)
                directory.identity = (status.st_dev, status.st_ino)
                parent = directory.parent
                if (parent is None or parent.identity[0] != status.st_dev) and not reports_changes(descriptor):
                    self._complain(export + below, "it is on a file system that does not report its changes")
                    return []
                watch = inotify.watch(descriptor)
                if tree.watched(watch) is not None:
                    # Seen at two places: it is being moved, and the event comes, or it is mounted twice.
                    self._complain(export + below, "it is seen at another place too")
                    return []
                found, directories = names_in(descriptor)
        except OSError as error:
            self._not_watched(directory, export + below, error)
            return []
        for name in directories:
            if tree.child(directory, name) is None:
                self._unseen.append((tree.enter(directory, name), new))
        tree.set_watch(directory, watch)
        if self._refused:  # there may be watches again
            self._unseen.append((self._refused.popleft(), True))
        return found

    def _not_watched(self, directory: Directory, path: Path, error: OSError) -> None:
        if error.errno == errno.ENOSPC:
            self.counters.limits += 1
            self._refused.append(directory)
            self._complain(path, "the watch limit is reached (fs.inotify.max_user_watches)")
            if not self._limited:
                self._limited = True
                self._new_epoch(f"the watch limit is reached at {len(self._tree)} directories")
        elif error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE) and directory.parent is not None:
            self._forget(directory)  # gone again: the event is on its way
        else:
            self._complain(path, error.strerror or str(error))

    def _complain(self, path: Path, why: str) -> None:
        if self._complaints.allows(why, self._clock()):
            _log.warning("%s is not under watch (others may be neither): %s", display(path), why)
