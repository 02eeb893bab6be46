"""Two clients, an agent, a writer on its machine, and a relay that delays, drops, repeats, reorders: one seed, one run.

The one rule: each answer that a client gives is explained by a state that the file system had at or after the last
moment of which that client had heard, and at or after its own last change of it (see `OwnChanges`); and no answer is
older than the time for which a silent feed is believed, however long the relay holds it back. Once all is heard, by
the present one alone.

Two answers that are as of one number may arrive in either order, so until the change between them is heard of, a file
may be seen to go back to what it was then.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from typing import Final, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import PerformedFileSystem, expect
from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.coherence import MISSED_HEARTBEATS, Coherence
from peer.mount.coherent_cache import CoherentCache
from peer.mount.feed_follower import FeedFollower
from peer.mount.knowledge import Applied
from peer.mount.metadata_cache import MetadataCache
from schema.changes import Renamed
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
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SetMetadata,
    SetXattr,
    WriteFile,
)
from tests.simulation.coherence.own_changes import Low, OwnChanges
from tests.simulation.coherence.remote import (
    HEARTBEAT,
    NAMES,
    NOBODY,
    PATHS,
    XATTR,
    Path,
    Remote,
    Value,
    without_atime,
)

R = TypeVar("R")

STEPS: Final = 160
GRACE: Final = 1.0
BELIEVED: Final = MISSED_HEARTBEATS * HEARTBEAT + GRACE
"""Seconds for which a feed that says nothing is believed, and so the age of an answer at most."""
_DEEPEST: Final = 3
"""Questions that one may be slow within another."""


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
            self._world.meanwhile()
        return expect(answer, reply)


class Client:
    """One mount: its caches, its kernel, and the part of the feed that is on its way."""

    def __init__(
        self, world: World, name: str, coherence: Coherence, follower: type[FeedFollower], entries: int
    ) -> None:
        self.name, self.world, self.born_at = name, world, world.remote.now
        self.done: dict[int, tuple[int, list[Path]]] = {}
        self.coherence = coherence
        self.known = CoherentCache(coherence, MetadataCache(ttl=5.0, entries=entries), lambda: world.now)
        inner = _Slow(world, self)
        self.files = CachedFileSystem(inner, self.known)
        self.kernel: dict[Path, Value] = {}
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
            lost=self.kernel.clear,
        )

    def told(self, applied: Applied) -> None:
        """The kernel is told of a change, and somebody asks about it at once."""
        change = applied.change
        paths = (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)
        for top in paths:
            for path in [each for each in self.kernel if each[: len(top)] == top]:
                del self.kernel[path]
            known = self.known.metadata(top)
            if known is not None and not known.suspect and top in PATHS:
                self.kernel[top] = (without_atime(known.metadata), None) if known.metadata else None

    @property
    def heard_until(self) -> int:
        """The moment of the history up to which this client has heard of everything."""
        moment = self.coherence.moment
        return max(self.born_at, self.world.remote.known_until[moment.epoch or 1, moment.number])

    def low(self, path: Path) -> Low:
        """The earliest moment whose state may still be shown."""
        told = self.world.remote.told_by(self.world.now - BELIEVED)
        return self.own.low(path, max(self.heard_until, told))

    def look(self, path: Path) -> str:
        """stat(2): from the kernel's cache, from ours, or asked."""
        low = self.low(path)
        if path in self.kernel and self.known.trusted:
            self.check("kernel", path, self.kernel[path], low, part=0)
            return "kernel"
        try:
            value: Value = (without_atime(self.files.get_metadata(GetMetadata(path), NOBODY).metadata), None)
        except OperationFailed as failure:
            _must_be_absent(failure)
            value = None
        self.check("look", path, value, low, part=0)
        known = self.known.metadata(path)
        if known is not None and not known.suspect:
            self.kernel[path] = (without_atime(known.metadata), None) if known.metadata else None
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
            self.kernel.pop((*path, name), None)  # it takes over what a listing says
            self.check("list", (*path, name), metadata and (without_atime(metadata), None), lows[name], part=0)
        return "list"

    def xattr(self, path: Path) -> str:
        """getxattr(2)."""
        low = self.low(path).path
        value: bytes | None
        try:
            value = self.files.get_xattr(GetXattr(path, name=XATTR), NOBODY).value
        except OperationFailed as failure:
            if failure.code != "ENODATA":
                return "xattr nowhere"
            value = None
        known = [at.get(path) for at in self.world.remote.history[low:]]
        assert any(was is not None and was[1] == value for was in known), f"{self.name}: xattr of {path} {value!r}"
        return "xattr"

    def change(self, request: AnyRequest) -> str:
        """A change through this mount: afterwards nothing older is shown of what it changed."""
        self.kernel.clear()
        try:
            getattr(self.files, _method(request))(request, NOBODY)
        except OperationFailed as failure:
            return failure.code
        finally:
            self.kernel.clear()
            moment, changed = self.done.pop(id(request), (0, []))
            self.own.done(request, moment, changed)
        return "done"

    def write(self, path: Path, data: bytes) -> str:
        """open, write, close."""
        try:
            handle = self.files.open_file(OpenFile(path, os.O_RDWR), NOBODY).handle
        except OperationFailed as failure:
            return failure.code
        try:
            return self.change(WriteFile(handle, 0, memoryview(data)))
        finally:
            self.files.close_file(CloseFile(handle), NOBODY)

    def check(self, what: str, path: Path, value: Value, low: Low, *, part: int) -> None:
        """Some state since `low` explains `value`."""
        moment = self.world.remote.explains(path, value, low.of(value), part)
        assert moment is not None, f"{self.name}: {what} {path}: {value} is not explained since {low.of(value)}"


class World:
    """Everything, and whose turn it is."""

    def __init__(
        self,
        seed: int,
        coherence: Callable[[], Coherence] = lambda: Coherence(grace=GRACE),
        follower: type[FeedFollower] = FeedFollower,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 1.0
        self.remote = Remote(lambda: self.now)
        entries = self.random.choice((3, 5, 1000))
        self.mount = lambda name: Client(self, name, coherence(), follower, entries)
        self.clients = [self.mount(name) for name in ("one", "two")]
        self.calm, self.depth = False, 0
        self._log = hashlib.sha256()
        self._kinds = [getattr(self, name) for name in dir(self) if name.startswith("_step_")]

    def run(self) -> str:
        """Live, come to rest, and be right about everything; gives a digest of all that happened."""
        for _ in range(STEPS):
            self.step()
        self.calm = True
        self.rest()
        for client in self.clients:
            for path in PATHS:
                client.own.name(path, self.remote.now)  # nothing is on its way: now or never
                client.look(path)
                client.xattr(path)
                client.list(path)
        return self._log.hexdigest()

    def step(self) -> None:
        kind = self.random.choice(self._kinds)
        said = kind()
        self._log.update(f"{kind.__name__} {said} {self.remote.now} {self.remote.number}\n".encode())

    def meanwhile(self) -> None:
        """A question is on its way: the world goes on, or not."""
        if self.calm or self.depth >= _DEEPEST:
            return
        self.depth += 1
        try:
            for _ in range(self.random.choice((0, 0, 0, 1, 2, 4))):
                self.step()
        finally:
            self.depth -= 1

    def rest(self) -> None:
        while self.remote.unnoticed:
            self.remote.notice()
        self.remote.heartbeat()
        self.carry()
        for _ in range(40):
            for client in self.clients:
                while client.inbox:
                    client.follower.heard(client.inbox.pop(0), self.now)
            self.now += 0.25
            for client in self.clients:
                client.follower.step()
            self.remote.heartbeat()
            self.carry()
        assert all(client.known.trusted for client in self.clients)

    def carry(self) -> None:
        """What the agent has published is on its way to each client."""
        for batch in self.remote.outbox:
            for client in self.clients:
                client.inbox.append(batch)
        self.remote.outbox.clear()

    # What may happen.

    def _step_look(self) -> str:
        return self.client().look(self._path())

    _step_look_again = _step_and_again = _step_look

    def _step_list(self) -> str:
        return self.client().list(self.random.choice(PATHS[:3]))

    def _step_xattr(self) -> str:
        return self.client().xattr(self._path())

    def _step_change(self) -> str:
        client = self.client()
        if self.random.random() < 0.25:
            return client.write(self._path(), self.random.randbytes(self.random.randrange(1, 4)))
        return client.change(self._change())

    _step_change_again = _step_change

    def _step_write(self) -> None:
        self.remote.write(self._change())

    _step_write_again = _step_write

    def _step_notice(self) -> None:
        self.remote.notice()

    _step_notice_again = _step_notice

    def _step_heartbeat(self) -> None:
        self.remote.heartbeat()

    def _step_deliver(self) -> None:
        self.carry()
        client = self.client()
        for _ in range(self.random.randrange(1, 5)):
            if client.inbox:
                client.follower.heard(client.inbox.pop(0), self.now)

    _step_deliver_again = _step_deliver_more = _step_deliver

    def _step_relay(self) -> None:
        """The relay drops, repeats, or changes the order."""
        self.carry()
        inbox = self.client().inbox
        if inbox:
            at = self.random.randrange(len(inbox))
            match self.random.randrange(3):
                case 0:
                    del inbox[at]
                case 1:
                    inbox.append(inbox[at])
                case _:
                    inbox[at], inbox[-1] = inbox[-1], inbox[at]

    def _step_follower(self) -> None:
        self.client().follower.step()

    _step_follower_again = _step_follower_more = _step_follower

    def _step_time(self) -> None:
        self.now += self.random.choice((0.01, 0.1, 1.0, 3.0))

    def _step_overflow(self) -> None:
        if self.random.random() < 0.2:
            self.remote.overflow()

    def client(self) -> Client:
        return self.random.choice(self.clients)

    def _path(self) -> Path:
        return self.random.choice(PATHS[1:])

    def _change(self) -> AnyRequest:
        path, other = self._path(), self._path()
        return self.random.choice(
            (
                CreateDir(path, mode=0o755),
                CreateDir(path[:1], mode=0o755),
                CreateFile(path, os.O_RDWR | os.O_CREAT, 0o644),
                CreateFile(path, os.O_RDWR | os.O_CREAT, 0o644),
                CreateLink(path, other),
                DeleteFile(path),
                RemoveDir(path),
                RenamePath(path, other),
                RenamePath(path[:1], other[:1]),
                RenamePath(path, other, 2),
                SetMetadata(path, mode=self.random.randrange(0o1000)),
                SetXattr(path, name=XATTR, value=self.random.randbytes(1)),
                RemoveXattr(path, name=XATTR),
            )
        )


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
