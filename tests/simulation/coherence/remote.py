"""The remote machine of the coherence model: a file system, its history, and a feed that tells of it late.

The one rule: what a client may know is written down when it is published. `known_until` says for each number which
moment of the history a client that has heard everything up to it must have heard of.

Of a file with several names, changes are told by the name that they were made by, as inotify(7) does. A second name
that comes and goes before the agent looks would be told by nobody; so it is always in time for that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Callable
from typing import Final

import msgspec

from peer.errors import OperationFailed
from peer.filesystem import perform
from schema.changes import Change, ChangeBatch, Changed, Moment, Renamed, Swept
from schema.replies import AnyReply, Changes, FileData, Following, OpenedFile, VerifiedMetadata, Written
from schema.requests import (
    TIME_NOW,
    AnyRequest,
    CloseFile,
    CreateFile,
    DeleteFile,
    FetchChanges,
    FollowChanges,
    GetMetadata,
    OpenFile,
    RenamePath,
    SetMetadata,
)
from tests.simulation.coherence.long_writes import BEGUN, COPIED, DONE, LongWrite, LongWrites
from tests.simulation.coherence.machine import NOBODY, PATHS, Machine, Path, is_linked, linked

HEARTBEAT: Final = 2.0
RING: Final = 6
_INSTANT: Final = 1e-6
"""Seconds: less than the world's clock ever goes on by, more than sums of them are wrong by."""


@dataclasses.dataclass
class _Unnoticed:
    """A change made on the remote machine itself that the agent has not been told of yet."""

    moment: int
    paths: list[Path]
    rename: RenamePath | None
    write: LongWrite | None = None


class Remote(Machine):
    """The agent, and whoever else writes on its machine. `publish` takes each batch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._booted = -1000.0
        self.age_ns = 10**12
        """How long before it is opened a file was changed, by the agent's clock."""
        self.scanning = False
        """Whether the agent's watches are not in place yet."""
        self.epoch = 1
        self.number = 0
        self.ring: list[Change] = []
        self.outbox: list[ChangeBatch] = []
        self.known_until = {(1, 0): 0}
        self.unnoticed: list[_Unnoticed] = []
        self._sent: list[tuple[float, int, int]] = []
        """When which number of which epoch was sent."""
        self._told: dict[Path, list[tuple[int, int, int]]] = {}
        """The epoch, the number, and the moment at which the agent looked, of all that was told of a path."""
        self._files_told: list[tuple[int, int, int, int]] = []
        """The same of files by their inode numbers, under whatever name."""
        self._opened: dict[int, Path] = {}
        self.long_writes = LongWrites()

    def ask(self, request: AnyRequest) -> tuple[AnyReply, int, list[Path]]:
        """What a client asks: the answer, the moment after, and the paths that it changed."""
        as_of = Moment(self.epoch, self.number)
        if isinstance(request, FollowChanges):
            sent = self._clock() - self._booted
            return Following(b"t" * 16, b"k" * 32, self.epoch, self.number + 1, HEARTBEAT, sent), self.now, []
        if isinstance(request, FetchChanges):
            return Changes(self._since(request)), self.now, []
        try:
            reply, changed = self._do(request)
        except OperationFailed as failure:
            raise OperationFailed(failure.code, failure.message, as_of) from failure
        if isinstance(reply, OpenedFile):
            self._opened[reply.handle] = request.path if isinstance(request, OpenFile | CreateFile) else ()
            quiet = not self.long_writes.is_written(reply.metadata.inode)
            reply = msgspec.structs.replace(reply, now_ns=reply.metadata.ctime_ns + self.age_ns if quiet else 0)
        if isinstance(reply, FileData) and reply.version and self.long_writes.is_written(reply.version.inode):
            reply = msgspec.structs.replace(reply, version=None)
        if changed:
            rename = request if isinstance(request, RenamePath) else None
            told = self._told_by_name(request, changed)
            opened = self._opened.get(getattr(request, "handle", 0), told[0])
            if opened in told:
                self._tell(told, rename if rename and not rename.flags else None, swept=rename)
            else:  # by its new name, the agent hears of it from the kernel
                self.unnoticed.append(_Unnoticed(self.now, told, None))
        if isinstance(reply, VerifiedMetadata):
            directories = tuple(
                msgspec.structs.replace(each, covered=each.found and not self.scanning) for each in reply.directories
            )
            reply = msgspec.structs.replace(reply, directories=directories)
        covered = not isinstance(request, GetMetadata | OpenFile) or not is_linked(reply.metadata)
        return msgspec.structs.replace(reply, as_of=as_of if covered else None), self.now, changed

    def write(self, request: AnyRequest) -> None:
        """What a program on the remote machine does; noticed later."""
        try:
            _, changed = self._do(request)
        except OperationFailed:
            return
        if changed:
            rename = request if isinstance(request, RenamePath) else None
            self.unnoticed.append(_Unnoticed(self.now, self._told_by_name(request, changed), rename))

    def notice(self) -> None:
        """The agent hears of the oldest change that it has not heard of."""
        if self.unnoticed:
            first = self.unnoticed.pop(0)
            one_move = first.rename is not None and not first.rename.flags and first.moment == self.now
            self._tell(first.paths, first.rename if one_move else None, swept=first.rename)
            if first.write is not None:
                first.write.told = self.epoch, self.number

    def write_long(self, path: Path, data: bytes) -> str:
        """A program writes `data` over the file at `path`, in one write(2), a step at a time; one program at a time."""
        write = self.long_writes.current
        if write is None:
            return self._begin_to_write(path, data)
        if write.copied < len(write.data):
            self._overwrite(write.handle, write.copied, write.data[write.copied : write.copied + 1])
            write.copied += 1
            return COPIED
        self.long_writes.current = None
        perform(self._files, CloseFile(write.handle), NOBODY)
        names = [path for path in PATHS if self.file_at(path, self.now) == write.inode]
        if names:
            told = [write.path if write.path in names else names[0]]
            self.unnoticed.append(_Unnoticed(self.now, told, None, write))
        else:
            write.told = self.epoch, self.number
        return DONE

    def overflow(self) -> None:
        """The agent restarts or loses events: what was not noticed never will be."""
        self.epoch += 1
        self.number = 0
        self.ring.clear()
        self.unnoticed.clear()
        self.long_writes.lost(self.epoch, self.now)
        self._booted -= 500.0  # it may be another machine by now
        self.known_until[self.epoch, 0] = self.now
        self.heartbeat()

    def heartbeat(self) -> None:
        """Tell how far the feed is."""
        self._send(self.number + 1)

    def told_by(self, then: float) -> int:
        """The moment of the history up to which the feed had told of everything before the time `then`.

        What it told at that very time it may have told just after a client asked.
        """
        told = (self.known_until[epoch, number] for sent, epoch, number in self._sent if sent < then - _INSTANT)
        return max(told, default=0)

    def told_of(self, path: Path, until: Moment) -> int:
        """The last moment at which the agent looked at `path` for what it told of it until then."""
        heard = (
            moment
            for epoch, number, moment in self._told.get(path, ())
            if (epoch, number) <= (until.epoch, until.number)
        )
        return max(heard, default=0)

    def files_told(self, until: Moment) -> dict[int, int]:
        """The last moment at which the agent looked at each file, by inode number, of which it told until then."""
        return {
            file: moment
            for epoch, number, file, moment in self._files_told
            if (epoch, number) <= (until.epoch, until.number)
        }

    def _do(self, request: AnyRequest) -> tuple[AnyReply, list[Path]]:
        if isinstance(request, DeleteFile | RenamePath) and any(map(linked, self.history[-1].values())):
            while self.unnoticed:
                self.notice()
        reply = perform(self._files, request, NOBODY)
        before, after = self.history[-1], self._snapshot()
        if isinstance(reply, Written) and all(was[0].inode != reply.metadata.inode for was in after.values() if was):
            with contextlib.suppress(OperationFailed):  # where the handle cannot read, no test does
                self._nameless.setdefault(reply.metadata.inode, set()).add(self._read(request.handle))
        changed = [path for path in reversed(PATHS) if before.get(path) != after.get(path)]
        if changed:
            self._happened(after)
            if isinstance(request, RenamePath) and request.source != request.destination:
                self._carry(request)
        return reply, changed

    def _told_by_name(self, request: AnyRequest, changed: list[Path]) -> list[Path]:
        """Those of the `changed` paths that are told of; other names of the same file are not."""
        names = [getattr(request, field, ()) for field in ("path", "source", "destination")]
        names.append(self._opened.get(getattr(request, "handle", 0), ()))
        told: list[Path] = []
        files: set[int] = set()
        for path in sorted(changed, key=lambda path: path not in names):
            file = self.file_at(path, self.now)
            attributes_only = file == self.file_at(path, self.now - 1) and self.linked_at(path, self.now)
            if not (attributes_only and file in files):
                told.append(path)
            if file is not None:
                files.add(file)
        return told

    def _carry(self, rename: RenamePath) -> None:
        """A watch moves with its directory, so events that wait there are told under the new name too."""
        for waiting in self.unnoticed:
            for path in list(waiting.paths):
                for old, new in ((rename.source, rename.destination), (rename.destination, rename.source)):
                    if path[: len(old)] == old:
                        waiting.paths.append(new + path[len(old) :])

    def _tell(self, paths: list[Path], rename: RenamePath | None, swept: RenamePath | None = None) -> None:
        changes: list[Change] = []
        moved: tuple[Path, ...] = ()
        if rename is not None:
            there = self._metadata(rename.destination)
            if there is not None and rename.source in paths:
                moved = (rename.source, rename.destination)
                changes.append(Renamed(*moved, there))
        if swept is not None and not moved:
            changes += [Swept(swept.source), Swept(swept.destination)]
        changes += [
            Changed(path, self._metadata(path)) for path in paths if not any(path[: len(top)] == top for top in moved)
        ]
        first = self.number + 1
        self.number += len(changes)
        for path in (*moved, *paths):
            self._told.setdefault(path, []).append((self.epoch, self.number, self.now))
            there = self._metadata(path)
            if there is not None and not stat.S_ISDIR(there.mode):
                self._files_told.append((self.epoch, self.number, there.inode, self.now))
        self.ring = (self.ring + changes)[-RING:]
        until = min((each.moment for each in self.unnoticed), default=self.now + 1) - 1
        for number in range(first, self.number):
            self.known_until[self.epoch, number] = self.known_until[self.epoch, first - 1]
        self.known_until[self.epoch, self.number] = until
        for start in range(0, len(changes), 2):  # a batch may end anywhere
            self._send(first + start, *changes[start : start + 2])

    def _since(self, request: FetchChanges) -> ChangeBatch:
        oldest = self.number - len(self.ring) + 1
        if request.epoch != self.epoch or not oldest <= request.first <= self.number + 1:
            raise OperationFailed("ESTALE", "not kept any more")
        part = tuple(self.ring[request.first - oldest :][:4])
        return ChangeBatch(self.epoch, request.first, part, self._clock() - self._booted)

    def _send(self, first: int, *changes: Change) -> None:
        now = self._clock()
        self.outbox.append(ChangeBatch(self.epoch, first, changes, now - self._booted))
        self._sent.append((now, self.epoch, first + len(changes) - 1))

    def _begin_to_write(self, path: Path, data: bytes) -> str:
        opened = perform(self._files, OpenFile(path, os.O_RDWR), NOBODY)
        there, handle = opened.metadata, opened.handle
        self.long_writes.begin(LongWrite(handle, path, there.inode, data[: there.size], self.now))
        self._do(SetMetadata((), handle, mtime_ns=TIME_NOW))
        return BEGUN
