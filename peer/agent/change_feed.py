"""One change feed: what happened below an agent's exports, numbered, and kept for those who missed it.

The one rule: a change numbered later was looked at later. So looking and numbering are one step here, under one lock:
two threads that see one path at two moments can never publish the earlier look under the later number.

Every change made through the agent is told twice, by the operation at once and by inotify a little later, in either
order; what was published already is not published again. What inotify tells is old when it is read: a path may by then
be looked up under a name that its directory does not have any more, by us or for a client. Whoever applies the rename
moves what was found then, too: `renamed` therefore looks again, under the new name, at all that was looked at since its
caller's `mark`.
"""

from __future__ import annotations

import itertools
import stat
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import msgspec

from peer.agent.recent_answers import RecentAnswers
from peer.agent.watched_tree import Coverage
from schema.attributes import FileMetadata
from schema.changes import MAX_BATCH, Change, ChangeBatch, Changed, Moment, Renamed, Swept

Path = tuple[bytes, ...]
Look = Callable[[Path], FileMetadata | None]
Cover = Callable[[Path], Coverage]

RING: Final = 65_536
"""Changes that are kept for clients that missed some."""
RING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of those, about."""
BATCH_BYTES: Final = 256 * 1024
"""Bytes of one batch, about; a batch of one change may have more."""
REMEMBERED: Final = 65_536
"""Paths whose last published state is remembered, so that nothing is published twice."""
_OWN: Final = 4096
"""Own changes that inotify has not told of yet: of names, and of contents."""
_SEARCHED: Final = 4096
"""With more remembered paths than this, all are forgotten rather than searched for those below a directory."""
_FIXED_BYTES: Final = 160


class ChangeFeed:
    """Numbers of one epoch after another. Thread-safe.

    `look(path)` is lstat(2) of an absolute path of the agent, None where there is no such file. What it cannot look at
    (`OSError`), or what `cover(path)` says is not under watch, is published as `Swept`: nobody would tell of its next
    change. `publish(batch)` is called in the order of the numbers with the lock held, so
    it only hands over. `draw` gives a new epoch.
    """

    def __init__(
        self,
        look: Look,
        cover: Cover,
        publish: Callable[[ChangeBatch], None],
        draw: Callable[[], int],
        *,
        ring: int = RING,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        self._look: Final = look
        self._cover: Final = cover
        self._publish: Final = publish
        self._draw: Final = draw
        self._ring_limit: Final = ring
        self._ring_bytes_limit: Final = ring_bytes
        self._lock: Final = threading.Lock()
        self._epoch = draw()
        self._number = 0
        self._looks = 0
        self._ring: deque[Change] = deque()
        self._ring_bytes = 0
        self._published: OrderedDict[Path, tuple[int, FileMetadata | None]] = OrderedDict()
        """What was published of a path, and which look that was; the latest look is the last entry."""
        self._answers: Final = RecentAnswers()
        self._own_names: OrderedDict[tuple[Path, Path | None], int] = OrderedDict()
        """What clients had made or renamed, and from where, with its inode number: inotify tells of it once more."""
        self._own_writes: OrderedDict[Path, FileMetadata | None] = OrderedDict()
        """What clients wrote to, with what was published of it then: the same."""

    @property
    def moment(self) -> Moment:
        """How far the feed has come: to be taken before looking at what an answer says."""
        with self._lock:
            return Moment(self._epoch, self._number)

    @property
    def mark(self) -> int:
        """Looks so far. To be taken before changes are made or events are read; see `renamed`."""
        return self._looks

    def answered(self, told: Iterable[tuple[Path, FileMetadata | None]]) -> None:
        """Clients are about to be told, in an answer, what is at these paths; see `RecentAnswers`."""
        with self._lock:
            for path, metadata in told:
                self._looks += 1
                self._answers.tell(self._looks, path, metadata, self._published.get(path, (0, None))[0])

    def listed(self, path: Path) -> None:
        """Clients are about to be told names in the directory `path`."""
        with self._lock:
            self._looks += 1
            self._answers.tell_names(self._looks, path)

    def changed(
        self, *paths: Path, left: Collection[Path] = (), written: Collection[Path] = (), own: bool = False
    ) -> None:
        """Something may have happened to each of `paths`; what did is published, what was published before is not.

        From those in `left` a directory went away: what is there now, if anything, is another thing. Those in `written`
        have perhaps another content: a write(2) sets the times before it copies, so they may have been published while
        it did, and are once more when it is done. `own`: a client asked for this, and inotify will say so once more.
        """
        with self._lock:
            changes: list[Change] = []
            for path in paths:
                changes += self._replaced(path) if path in left else self._looked(path, written=path in written)
                if own:
                    self._own_writes.pop(path, None)
                    self._own_writes[path] = self._published.get(path, (0, None))[1]
                    if len(self._own_writes) > _OWN:
                        self._own_writes.popitem(last=False)
            self._number_them(changes)

    def appeared(self, path: Path, *, own: int | None = None) -> None:
        """Another thing is at `path`, as a rule a new directory: nothing known at and below that name holds any more.

        `own` is the mark from before a client's request that brought it about, None where inotify tells.
        """
        with self._lock:
            metadata = self._look_at(path)
            if metadata is None or self._told((path, None), metadata, own):
                self._number_them(self._looked(path))
            else:
                self._number_them(self._new(path))

    def renamed(self, source: Path, destination: Path, mark: int, *, own: bool = False) -> None:
        """A name moved after `mark` was taken, with all that is below it. `own`: a client asked for it.

        What is at `destination` may be another file by now, or none; then that is published.
        """
        with self._lock:
            metadata = self._look_at(destination)
            if metadata is not None and self._same_file(source, metadata):
                # rename(2) of a name to itself, or to another link of the same file, does nothing.
                self._number_them([*self._looked(source), *self._looked(destination)])
                return
            answered = self._answers.below(source, mark)
            late = self._looked_at_below(source, mark)
            known = self._published.get(source, (0, metadata))[1]
            if metadata is None:
                changes = [*self._replaced(source), *self._looked(destination)]
            elif self._told((destination, source), metadata, mark if own else None):
                changes = [*self._looked(source), *self._looked(destination)]
            elif known is None:  # clients believe that there is nothing to move
                changes = [*self._looked(source), *self._looked_anew(destination)]
            else:
                changes = [Renamed(source, destination, metadata)]
                self._move_memory(source, destination, metadata, late)
            for path in answered:
                self._published.pop(destination + path[len(source) :], None)
            for path in dict.fromkeys([*late, *answered]):
                changes += self._looked_anew(destination + path[len(source) :])
            self._number_them(changes)

    def swept(self, path: Path) -> None:
        """What is at and below `path` may have changed without our being told."""
        with self._lock:
            self._forget_below(path)
            self._number_them([Swept(path)])

    def begin_epoch(self) -> Moment:
        """Changes were lost: nothing that was said before holds. Tells how the new epoch begins."""
        with self._lock:
            self._epoch = self._draw()
            self._number = 0
            self._ring.clear()
            self._ring_bytes = 0
            self._published.clear()
            self._own_names.clear()
            self._own_writes.clear()
            self._answers.clear()
            self._publish(ChangeBatch(self._epoch, 1))
            return Moment(self._epoch, 0)

    def heartbeat(self) -> None:
        """Publish the next number without a change, so that silence and a lost last change are noticed."""
        with self._lock:
            self._publish(ChangeBatch(self._epoch, self._number + 1))

    def since(self, epoch: int, first: int) -> ChangeBatch | None:
        """Changes from number `first` on, as many as a batch takes; None when they are not kept any more."""
        with self._lock:
            oldest = self._number - len(self._ring) + 1
            if epoch != self._epoch or not oldest <= first <= self._number + 1:
                return None
            skip = first - oldest
            kept = itertools.islice(self._ring, skip, skip + MAX_BATCH)
            return ChangeBatch(epoch, first, next(_parts(kept), ()))

    # --- with the lock held

    def _number_them(self, changes: list[Change]) -> None:
        for part in _parts(changes):
            first = self._number + 1
            self._number += len(part)
            self._publish(ChangeBatch(self._epoch, first, part))
        self._ring.extend(changes)
        self._ring_bytes += sum(map(_weight, changes))
        while len(self._ring) > self._ring_limit or self._ring_bytes > self._ring_bytes_limit:
            self._ring_bytes -= _weight(self._ring.popleft())

    def _look_at(self, path: Path) -> FileMetadata | None:
        try:
            return self._look(path)
        except OSError:
            return None  # `_looked` looks once more and says what that means

    def _looked(self, path: Path, *, written: bool = False) -> list[Change]:
        cover = self._cover(path)
        try:
            metadata = self._look(path)
        except OSError:
            return self._unknown(path)
        if not cover.holds(metadata):
            return self._unknown(path)
        news = self._remember(path, metadata)
        if written and not _same(self._own_writes.pop(path, None), metadata):
            news = True
        return [Changed(path, metadata)] if news else []

    def _unknown(self, path: Path) -> list[Change]:
        self._forget_below(path)
        return [Swept(path)]

    def _looked_anew(self, path: Path) -> list[Change]:
        """As `_looked`, where a directory may be another than clients know under that name."""
        metadata = self._look_at(path)
        is_directory = metadata is not None and stat.S_ISDIR(metadata.mode)
        return self._new(path) if is_directory else self._looked(path)

    def _replaced(self, path: Path) -> list[Change]:
        """Look at `path`, from where a directory went away."""
        return self._looked(path) if self._look_at(path) is None else self._new(path)

    def _new(self, path: Path) -> list[Change]:
        """Look at `path`, where another thing is than clients know."""
        unknown = self._unknown(path)
        looked = self._looked(path)
        return unknown if looked == unknown else [*unknown, *looked]

    def _remember(self, path: Path, metadata: FileMetadata | None) -> bool:
        """Note what was just seen of `path`. False when that is what was published last."""
        self._looks += 1
        known = self._published.pop(path, None)
        self._published[path] = (self._looks, metadata)
        if len(self._published) > REMEMBERED:
            self._published.popitem(last=False)
        return known is None or not _same(known[1], metadata) or self._answered_otherwise(path, known[0], metadata)

    def _answered_otherwise(self, path: Path, after: int, metadata: FileMetadata | None) -> bool:
        """Whether an answer said of `path` what neither the feed did nor is there now."""
        try:
            return not _same(self._answers.told_of(path, after), metadata)
        except KeyError:
            return False

    def _looked_at_below(self, path: Path, mark: int) -> list[Path]:
        """Paths below `path` that were looked at after `mark`."""
        found: list[Path] = []
        for known in reversed(self._published):
            if self._published[known][0] <= mark:
                break
            if len(known) > len(path) and known[: len(path)] == path:
                found.append(known)
        return found[::-1]

    def _same_file(self, path: Path, metadata: FileMetadata) -> bool:
        other = self._look_at(path)
        return other is not None and (other.volume, other.inode) == (metadata.volume, metadata.inode)

    def _move_memory(self, source: Path, destination: Path, metadata: FileMetadata, late: Iterable[Path]) -> None:
        """After a rename, clients hold below `destination` what they held below `source`."""
        moved = {destination + path[len(source) :]: self._published[path] for path in late}
        if stat.S_ISDIR(metadata.mode):
            self._forget_below(source)
            self._forget_below(destination)
        self._published.update(moved)
        self._remember(source, None)
        self._remember(destination, metadata)

    def _forget_below(self, path: Path) -> None:
        if len(self._published) > _SEARCHED:
            # What is published once more for want of memory costs a few bytes; the search would hold up everybody.
            self._published.clear()
            return
        depth = len(path)
        for known in [known for known in self._published if known[:depth] == path]:
            del self._published[known]

    def _told(self, names: tuple[Path, Path | None], metadata: FileMetadata, own: int | None) -> bool:
        """Whether clients were told already that `names`, a path and where it came from, are what `metadata` says.

        With `own`, the mark from before our own operation: inotify may have been faster. Else it is inotify that tells.
        """
        if own is None:
            return self._own_names.pop(names, None) == metadata.inode
        path, source = names
        at, last = self._published.get(path, (0, None))
        if at > own and last is not None and last.inode == metadata.inode:
            return source is None or self._published.get(source, (0, metadata))[1] is None
        self._own_names[names] = metadata.inode
        if len(self._own_names) > _OWN:
            self._own_names.popitem(last=False)
        return False


def _same(one: FileMetadata | None, other: FileMetadata | None) -> bool:
    """Whether nothing changed that a client keeps: reading a file moves its access time, and nobody is told."""
    if one is None or other is None:
        return one is other
    return msgspec.structs.replace(one, atime_ns=other.atime_ns) == other


def _weight(change: Change) -> int:
    """Bytes of a change, about."""
    paths = (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)
    return _FIXED_BYTES + sum(len(name) + 3 for path in paths for name in path)


def _parts(changes: Iterable[Change]) -> Iterator[tuple[Change, ...]]:
    """`changes` in runs that are batches by number and size."""
    part: list[Change] = []
    size = 0
    for change in changes:
        weight = _weight(change)
        if part and (len(part) == MAX_BATCH or size + weight > BATCH_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(change)
        size += weight
    if part:
        yield tuple(part)
