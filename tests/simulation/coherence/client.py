"""One client of the coherence model: a mount whose questions are slow, and the kernel above it.

The one rule: each answer is checked when it is given, against what the client had heard before it asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import PerformedFileSystem, expect
from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.coherence import MISSED_HEARTBEATS, Coherence
from peer.mount.coherent_cache import CoherentCache
from peer.mount.feed_follower import FeedFollower
from peer.mount.kept_pages import KeptPages
from peer.mount.knowledge import Applied
from peer.mount.metadata_cache import MetadataCache
from peer.mount.quiet_files import QuietFiles
from peer.mount.withdrawals import Withdrawal
from schema.attributes import FileMetadata
from schema.changes import Renamed
from schema.replies import OpenedFile
from schema.requests import (
    AnyRequest,
    Caller,
    CloseFile,
    CreateDir,
    CreateFile,
    CreateLink,
    DeleteFile,
    GetMetadata,
    GetXattr,
    ListDir,
    OpenFile,
    ReadFile,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SetMetadata,
    SetXattr,
    WriteFile,
)
from tests.peer.mount.contents import Memory
from tests.simulation.coherence.kernel import Kernel
from tests.simulation.coherence.machine import NAMES, NOBODY, PATHS, XATTR, Path, Value, without_atime
from tests.simulation.coherence.own_changes import Files, Low, OwnChanges, named
from tests.simulation.coherence.readers import Readers
from tests.simulation.coherence.remote import HEARTBEAT
from tests.simulation.coherence.writers import Writers

if TYPE_CHECKING:
    from tests.simulation.coherence.world import World

R = TypeVar("R")

NOWHERE: Final = (b"nowhere",)
GRACE: Final = 1.0
TTL: Final = 5.0
"""Seconds for which a file with several names is believed to be as it was looked at."""
BELIEVED: Final = MISSED_HEARTBEATS * HEARTBEAT + GRACE
"""Seconds for which a feed that says nothing is believed, and so the age of an answer at most."""


class _Slow(PerformedFileSystem):
    """The agent as one client reaches it: the world goes on before it looks, and before its answer is there."""

    def __init__(self, world: World, client: Client) -> None:
        self._world = world
        self._client = client

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        self._world.meanwhile()
        try:
            answer, moment, changed = self._world.remote.ask(request)
            self._client.done[id(request)] = moment, changed
        finally:
            news, self._client.news = self._client.news, lambda: None
            news()
            self._world.meanwhile()
        return expect(answer, reply)


class Client:
    """One mount: its caches, its kernel, and the part of the feed that is on its way."""

    def __init__(
        self, world: World, name: str, coherence: Coherence, follower: type[FeedFollower], entries: int
    ) -> None:
        self.name, self.world, self.born_at = name, world, world.remote.now
        self.done: dict[int, tuple[int, list[Path]]] = {}
        self.news: Callable[[], None] = lambda: None
        """What comes before the next answer does."""
        self.coherence = coherence
        self.known = CoherentCache(coherence, MetadataCache(ttl=TTL, entries=entries), lambda: world.now)
        inner = _Slow(world, self)
        self.files = CachedFileSystem(inner, self.known, contents=Memory(), quiet=QuietFiles())
        self.readers = Readers(self)
        self.writers = Writers(self)
        self.kernel = Kernel()
        self.pages = KeptPages()
        self.known.begin(self.withdraw)
        self.inbox = []
        self.own = OwnChanges(world.remote)
        self.follower = follower(
            inner,
            self.known,
            (),
            NOBODY,
            clock=lambda: world.now,
            subscribe=lambda _: None,
            told=self.told,
            lost=self.lost,
        )

    def _believes(self, path: Path, inode: int) -> bool:
        """Whether the kernel knows the attributes of this file at `path`."""
        value = self.kernel.holds.get(path)
        return bool(self.known.trust) and value is not None and value[0].inode == inode

    def told(self, applied: Applied) -> None:
        """Somebody is woken by the news and asks at once."""
        change = applied.change
        for path in (change.source, change.destination) if isinstance(change, Renamed) else (change.path,):
            known = self.known.metadata(path)
            if path not in self.kernel.holds and path in PATHS and known is not None and not known.suspect:
                self.given(path, known.metadata)

    def withdraw(self, path: Path, what: Withdrawal) -> None:
        """The kernel is told."""
        if what & ~Withdrawal.PAGES:
            self.kernel.forget(path)
        if what & Withdrawal.PAGES:
            self.kernel.pages.forget(path)

    def lost(self) -> None:
        """All that the kernel holds expires; what is read of open files is asked for again."""
        self.kernel.forget_everything()
        for path in self.kernel.pages.paths():
            if self.files._handles.at(path):
                self.kernel.pages.forget(path)

    def opened(self, path: Path, opened: OpenedFile) -> None:
        """The kernel keeps the pages of a file, or does not."""
        if not self.pages.opened(path, opened, self.files._handles.at(path) - {opened.handle}):
            self.kernel.pages.forget(path)

    def read(self, handle: int, inode: int) -> Iterator[bytes]:
        """read(2): what the kernel gives by itself, if it does, and what it is given when it asks (O_DIRECT)."""
        path = self.files._handles.path(handle) or NOWHERE
        if not self._believes(path, inode) and self.kernel.pages.read(path, inode) is not None:
            self.given(path, self.files.get_metadata(GetMetadata(handle=handle), NOBODY).metadata)
        page = self.kernel.pages.read(path, inode) if self._believes(path, inode) else None
        if page is not None:
            yield page
        asked = self.kernel.pages.ask(path, inode)
        data = bytes(self.files.read_file(ReadFile(handle, 0, 100), NOBODY).data)
        self.kernel.pages.keep(path, asked, data)
        yield data

    def given(self, path: Path, metadata: FileMetadata | None) -> None:
        """The kernel hears an answer. What it may believe for a short time only it does not believe at all."""
        self.kernel.forget(path)
        self.kernel.pages.show(path, metadata)
        if self.known.vouches(path, metadata):
            self.kernel.holds[path] = (without_atime(metadata), None) if metadata is not None else None

    @property
    def heard_until(self) -> int:
        """The moment of the history up to which this client has heard of everything."""
        moment = self.coherence.moment
        return max(self.born_at, self.world.remote.known_until[moment.epoch or 1, moment.number])

    def low(self, path: Path) -> Low:
        """The earliest moment whose state may still be shown."""
        remote, now = self.world.remote, self.world.now
        aged = max(remote.told_of(path, self.coherence.moment), remote.moment_at(now - BELIEVED - TTL))
        told = remote.files_told(self.coherence.moment)
        untold = {
            file: max(was, self.born_at) for file, was in remote.long_writes.untold(self.coherence.moment).items()
        }
        return self.own.low(path, max(self.heard_until, remote.told_by(now - BELIEVED)), aged, told, untold)

    def look(self, path: Path) -> str:
        """stat(2): from the kernel's cache, from ours, or asked."""
        low = self.low(path)
        if path in self.kernel.holds and self.known.trust:
            self.check("kernel", path, self.kernel.holds[path], low, part=0)
            return "kernel"
        metadata: FileMetadata | None = None
        try:
            metadata = self.files.get_metadata(GetMetadata(path), NOBODY).metadata
        except OperationFailed as failure:
            _must_be_absent(failure)
        self.check("look", path, metadata and (without_atime(metadata), None), low, part=0)
        self.given(path, metadata)
        return "look"

    def list(self, path: Path) -> str:
        """readdir(3) with attributes."""
        lows = {name: self.low((*path, name)) for name in NAMES}
        try:
            page = self.files.list_dir(ListDir(path, limit=self.world.random.choice((1, 1, 9))), NOBODY)
            while not page.complete:
                more = self.files.list_dir(ListDir(path, after=page.entries[-1].name, limit=1), NOBODY)
                page = type(page)((*page.entries, *more.entries), complete=more.complete)
        except OperationFailed as failure:
            _must_be_absent(failure)
            return "list nothing"
        found = {entry.name: entry.metadata for entry in page.entries}
        for name in NAMES if len(path) == 1 or not path else ():
            metadata = found.get(name)
            if metadata is not None:
                self.given((*path, name), metadata)
            self.check("list", (*path, name), metadata and (without_atime(metadata), None), lows[name], part=0)
        return "list"

    def xattr(self, path: Path) -> str:
        """getxattr(2)."""
        low = self.low(path)
        value: bytes | None
        try:
            value = self.files.get_xattr(GetXattr(path, name=XATTR), NOBODY).value
        except OperationFailed as failure:
            if failure.code != "ENODATA":
                return "xattr nowhere"
            value = None
        history = enumerate(self.world.remote.history)
        known = [was for moment, at in history if (was := at.get(path)) is not None and moment >= low.of(was)]
        assert any(was[1] == value for was in known), f"{self.name}: xattr of {path} {value!r}"
        return "xattr"

    def change(self, request: AnyRequest, about: Path) -> str:
        """A change through this mount: afterwards nothing older is shown of what it changed."""
        knew = self._files_known(request)
        try:
            getattr(self.files, _method(request))(request, NOBODY)
        except OperationFailed as failure:
            return failure.code
        else:
            handle = getattr(request, "handle", 0)
            # By a handle, it is the inode that changed; and our own renames have taken that along.
            self.kernel.did(request, self.files._handles.path(handle) or NOWHERE if handle else about)
        finally:
            moment, changed = self.done.pop(id(request), (0, []))
            heard = {path: self.world.remote.file_at(path, self.heard_until) for path in named(request)}
            self.own.done(request, moment, changed, heard, knew)
        return "done"

    def _files_known(self, request: AnyRequest) -> Files:
        """What is known to be at the paths that `request` is about."""
        known = {path: self.known.metadata(path) for path in named(request)}
        return {path: found.metadata.inode for path, found in known.items() if found and found.metadata}

    def write(self, path: Path, data: bytes) -> str:
        """open, write, close."""
        try:
            handle = self.files.open_file(OpenFile(path, os.O_RDWR), NOBODY).handle
        except OperationFailed as failure:
            return failure.code
        try:
            return self.change(WriteFile(handle, 0, memoryview(data)), path)
        finally:
            self.files.close_file(CloseFile(handle), NOBODY)

    def check(self, what: str, path: Path, value: Value, low: Low, *, part: int) -> None:
        """Some state since `low` explains `value`."""
        moment = self.world.remote.explains(path, value, low.of(value), part)
        assert moment is not None, f"{self.name}: {what} {path}: {value} is not explained since {low.of(value)}"


def _must_be_absent(failure: OperationFailed) -> None:
    assert failure.code in ("ENOENT", "ENOTDIR"), failure


def _method(request: AnyRequest) -> str:
    return {
        CreateDir: "create_dir",
        CreateFile: "create_file",
        CreateLink: "create_link",
        DeleteFile: "delete_file",
        RemoveDir: "remove_dir",
        RenamePath: "rename_path",
        SetMetadata: "set_metadata",
        SetXattr: "set_xattr",
        RemoveXattr: "remove_xattr",
        WriteFile: "write_file",
    }[type(request)]
