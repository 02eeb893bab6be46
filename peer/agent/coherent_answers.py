"""Between operations and change feeds: what an answer is true as of, and telling at once what an operation changed.

The one rule: the moment is taken before the coverage is asked for, and that before the operation looks. So whatever
happens to what an answer says is told under a later number than the answer's, or the answer does not claim to be
covered. An answer about a change has the moment after that change: what was told until then may be older than the
change, and must not be taken for newer; so where anything was told meanwhile, we look again.

`as_of` speaks of the path that was asked for, or that the file was opened by as long as it is still called that. A file
with several links can be changed through a name that nobody watches: an answer that looks at one has no `as_of`. What
changes one has, so that nobody takes for newer what was told before; and so has a page of a directory. Whoever keeps
such attributes keeps them for a short time only. So has, too, what changes a file by a handle whatever it is called by
now: it says nothing of any name.

What is not in the attributes (extended ones, a link's target, what may be done) goes with the change time: an answer
about it has an `as_of` only if that time was so old when we looked that no later change can have the same. So whoever
finds the change time as it was, however much later, knows that the rest is.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from peer.agent.access_policy import Path
from peer.agent.asker import Asker
from peer.agent.cache_then_feeds import CacheThenFeeds
from peer.agent.change_feed import Look
from peer.agent.change_listener import Marks
from peer.agent.feeds import Feeds
from peer.agent.recent_answers import SOMETHING
from peer.agent.watched_tree import Coverage
from peer.agent.watcher import Watcher
from schema import replies, requests
from schema.attributes import FileMetadata
from schema.changes import Moment
from schema.replies import AnyReply, Done, Failure
from schema.requests import AnyRequest

Opened = tuple[Path, tuple[int, int]]
"""The path that a handle was opened by, and the device and inode number that it is open on."""

_ABOUT_ONE_PATH: Final = frozenset(
    {
        requests.Attach,
        requests.GetMetadata,
        requests.SetMetadata,
        requests.CheckAccess,
        requests.ListDir,
        requests.OpenFile,
        requests.CreateFile,
        requests.ReadFile,
        requests.WriteFile,
        requests.AllocateSpace,
        requests.CopyRange,
        requests.CreateDir,
        requests.CreateSymlink,
        requests.CreateNode,
        requests.DeleteFile,
        requests.RemoveDir,
        requests.ReadSymlink,
        requests.GetXattr,
        requests.ListXattrs,
    }
)
_WITH_METADATA: Final = (
    replies.Attached,
    replies.Metadata,
    replies.OpenedFile,
    replies.Written,
    replies.Copied,
)
_HANGING_ON: Final = (replies.SymlinkTarget, replies.XattrValue, replies.XattrNames)
_OF_THE_FILE: Final = (*_HANGING_ON, replies.FileData)
_NO_DATA: Final = "ENODATA"
_ABSENT: Final = frozenset({"ENOENT", _NO_DATA})
SETTLED_NS: Final = 100_000_000
"""Nanoseconds after which another change has another change time: ten ticks of the slowest kernel clock."""
_CHANGES_A_FILE: Final = (
    requests.SetMetadata,
    requests.SetXattr,
    requests.RemoveXattr,
    requests.WriteFile,
    requests.AllocateSpace,
    requests.CopyRange,
)
_CHANGES_A_NAME: Final = (
    requests.CreateFile,
    requests.CreateSymlink,
    requests.CreateNode,
    requests.DeleteFile,
)
_CHANGING: Final = frozenset(
    {
        *_CHANGES_A_FILE,
        *_CHANGES_A_NAME,
        requests.CreateDir,
        requests.CreateLink,
        requests.RemoveDir,
        requests.RenamePath,
    }
)
_RENAME_EXCHANGE: Final = 2
NO_FEED: Final = Moment(0, 0)
"""In place of a moment, where the one who asks follows no feed."""


class Before(NamedTuple):
    """What was known before an operation."""

    moment: Moment
    marks: Marks
    """Of the feeds, where something is to be changed."""
    began_ns: int
    """By the wall clock, nanoseconds since the epoch."""
    paths: tuple[Path, ...]
    """What the answer will be about."""
    coverage: tuple[Coverage, ...]
    """Of these; empty where they are not the file's any more."""


class CoherentAnswers:
    """The feeds, the watcher, and the answers between them."""

    def __init__(
        self,
        feeds: Feeds,
        told: CacheThenFeeds,
        watcher: Watcher,
        look: Look,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._feeds: Final = feeds
        self._told: Final = told
        self._watcher: Final = watcher
        self._look: Final = look
        self._wall_clock_ns: Final = wall_clock_ns

    def follow_changes(self, request: requests.FollowChanges, asker: Asker) -> replies.Following:
        """Raises `OperationFailed` (EACCES)."""
        asker.place(request.path)
        return self._feeds.follow(asker.client.peer)

    def fetch_changes(self, request: requests.FetchChanges, asker: Asker) -> replies.Changes:
        """Raises `OperationFailed` (EACCES, ESTALE)."""
        asker.place(request.path)
        return self._feeds.fetch(asker.client.peer, request.epoch, request.first)

    def before(self, request: AnyRequest, asker: Asker, opened: Opened | None) -> Before | None:
        """To be called before the operation; `opened` is what its handle leads to. None where nothing is to be done."""
        moment = self._feeds.moment(asker.client.peer)
        if moment is None:
            return Before(NO_FEED, self._feeds.marks(), 0, (), ()) if _is_a_change(request) else None
        marks = self._feeds.marks() if _is_a_change(request) else {}
        began_ns = self._wall_clock_ns()
        paths: tuple[Path, ...] = ()
        if isinstance(request, requests.VerifyMetadata):
            paths = tuple(directory.path for directory in request.directories)
        elif type(request) in _ABOUT_ONE_PATH:
            path: Path = opened[0] if opened is not None else getattr(request, "path", ())
            paths = (path,)
        coverage = tuple(map(self._watcher.coverage, paths))
        if opened is not None and coverage and not self._still_called(*opened, several=_is_a_change(request)):
            coverage = ()
        return Before(moment, marks, began_ns, paths, coverage)

    def after(
        self, before: Before, client: str, request: AnyRequest, reply: AnyReply, opened: Opened | None
    ) -> AnyReply:
        """Tell what was changed; the reply, with `as_of` where that is covered."""
        if not isinstance(reply, Failure) and _is_a_change(request):
            before, reply = self._done(before, client, reply)
            self._tell(before, request, opened)
            says_nothing = not before.paths or (opened is not None and not before.coverage)
            if says_nothing and before.moment != NO_FEED:  # of what is at a name
                return msgspec.structs.replace(reply, as_of=before.moment)
        if not before.coverage:
            return reply
        if isinstance(reply, replies.VerifiedMetadata):
            return self._verified(before, client, reply)
        if not _covered(before.coverage[0], request, reply) or (
            _goes_with_change_time(request, reply) and not self._settled(before)
        ):
            return reply
        if isinstance(reply, replies.DirectoryPage):
            self._feeds.listed(client, before.paths[0])
        else:
            self._feeds.answered(client, [(before.paths[0], _told(request, reply))])
        return msgspec.structs.replace(reply, as_of=before.moment)

    def _verified(self, before: Before, client: str, reply: replies.VerifiedMetadata) -> AnyReply:
        """Of each directory by itself it is said whether it is covered."""
        directories = []
        for path, coverage, directory in zip(before.paths, before.coverage, reply.directories, strict=True):
            covered = directory.found and coverage.listing
            directories.append(msgspec.structs.replace(directory, covered=covered))
            if covered:
                self._feeds.listed(client, path)
        return msgspec.structs.replace(reply, directories=tuple(directories), as_of=before.moment)

    def _done(self, before: Before, client: str, reply: AnyReply) -> tuple[Before, AnyReply]:
        """A change is done: what was known before the answer's last look, and the answer as of that look."""
        moment = self._feeds.moment(client)
        if moment is None or moment == before.moment:
            return before, reply
        before = before._replace(moment=moment)
        if not before.coverage:
            return before, reply
        before = before._replace(coverage=tuple(map(self._watcher.coverage, before.paths)))
        try:
            there = self._look(before.paths[0])
        except OSError:
            return before._replace(coverage=()), reply
        if isinstance(reply, _WITH_METADATA) and there is not None:
            if (there.volume, there.inode) == (reply.metadata.volume, reply.metadata.inode):
                return before, msgspec.structs.replace(reply, metadata=there)
        elif isinstance(reply, Done) and there is None:
            return before, reply
        return before._replace(coverage=()), reply  # somebody was faster, and that is told by itself

    def _settled(self, before: Before) -> bool:
        try:
            metadata = self._look(before.paths[0])
        except OSError:
            return False
        return metadata is not None and before.began_ns - metadata.ctime_ns >= SETTLED_NS

    def _still_called(self, path: Path, inode: tuple[int, int], *, several: bool) -> bool:
        """Whether the file `inode` is called `path`, and nothing else unless it may have `several` names."""
        try:
            metadata = self._look(path)
        except OSError:
            return False
        if metadata is None or (metadata.links > 1 and not several):
            return False
        return (metadata.volume, metadata.inode) == inode

    def _tell(self, before: Before, request: AnyRequest, opened: Opened | None) -> None:
        if isinstance(request, requests.RenamePath):
            self._tell_renamed(request, before.marks)
        elif isinstance(request, requests.CreateDir):
            self._watcher.doubts.raise_for(request.path)
            self._told.appeared(request.path, before.marks)
            self._told.changed(request.path[:-1])
        elif isinstance(request, requests.RemoveDir):
            self._watcher.doubts.raise_for(request.path)
            self._told.changed(request.path, request.path[:-1])
        elif isinstance(request, requests.CreateLink):
            self._told.changed(request.existing, request.path, request.path[:-1])
        elif isinstance(request, _CHANGES_A_NAME):
            self._told.changed(request.path, request.path[:-1])
        elif isinstance(request, _CHANGES_A_FILE) or _truncates(request):
            self._told.changed(opened[0] if opened is not None else getattr(request, "path", ()), own=True)

    def _tell_renamed(self, request: requests.RenamePath, marks: Marks) -> None:
        source, destination = request.source, request.destination
        covered = all(self._watcher.coverage(path).name for path in (source, destination))
        self._watcher.doubts.raise_for(source, destination)
        if not covered:
            for path in (source, destination):
                self._told.swept(path)
        elif request.flags & _RENAME_EXCHANGE:
            for path in (source, destination):
                self._told.appeared(path, marks)
        else:
            self._told.renamed(source, destination, marks, own=True)
        self._told.changed(*dict.fromkeys((source[:-1], destination[:-1])))


def _goes_with_change_time(request: AnyRequest, reply: AnyReply) -> bool:
    if isinstance(request, requests.CheckAccess):
        return True
    return isinstance(reply, _HANGING_ON) or (isinstance(reply, Failure) and reply.code == _NO_DATA)


def _is_a_change(request: AnyRequest) -> bool:
    return type(request) in _CHANGING or _truncates(request)


def _truncates(request: AnyRequest) -> bool:
    return isinstance(request, requests.OpenFile) and bool(request.flags & os.O_TRUNC)


def _told(request: AnyRequest, reply: AnyReply) -> FileMetadata | None:
    """What a covered reply to `request` says of the path that it is about."""
    if isinstance(reply, _WITH_METADATA):
        return reply.metadata
    removed = isinstance(reply, Done) and not isinstance(request, requests.CheckAccess)
    absent = removed or (isinstance(reply, Failure) and reply.code == "ENOENT")
    return None if absent else SOMETHING


def _covered(coverage: Coverage, request: AnyRequest, reply: AnyReply) -> bool:
    if isinstance(reply, _WITH_METADATA):
        return coverage.holds(reply.metadata) and (not _has_several_names(reply.metadata) or _is_a_change(request))
    if isinstance(reply, replies.DirectoryPage):
        return coverage.listing
    if isinstance(reply, Failure):
        return coverage.name and reply.code in _ABSENT
    return coverage.name and isinstance(reply, (*_OF_THE_FILE, Done))


def _has_several_names(metadata: FileMetadata) -> bool:
    return metadata.links > 1 and not stat.S_ISDIR(metadata.mode)
