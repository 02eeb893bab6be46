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
from typing import Final

from peer.mount.coherence import Coherence
from peer.mount.feed_follower import FeedFollower
from schema.requests import (
    CreateDir,
    CreateFile,
    CreateLink,
    DeleteFile,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SetMetadata,
    SetXattr,
)
from tests.simulation.coherence.client import GRACE, Client
from tests.simulation.coherence.long_writes import BEGUN, DONE
from tests.simulation.coherence.machine import PATHS, XATTR, Path
from tests.simulation.coherence.remote import Remote

NamedChange = (
    CreateDir | CreateFile | CreateLink | DeleteFile | RemoveDir | RenamePath | SetMetadata | SetXattr | RemoveXattr
)

STEPS: Final = 160
_DEEPEST: Final = 3
"""Questions that one may be slow within another."""


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
                client.readers.look(path)
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
        while self.remote.long_writes.current is not None:
            self.remote.write_long((), b"")
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
        assert all(client.known.trust for client in self.clients)

    def carry(self) -> None:
        """What the agent has published is on its way to each client."""
        for batch in self.remote.outbox:
            for client in self.clients:
                client.inbox.append(batch)
        self.remote.outbox.clear()

    def tell(self, client: Client) -> None:
        """All that has happened is noticed, and `client` hears of it."""
        while self.remote.unnoticed:
            self.remote.notice()
        self.carry()
        while client.inbox:
            client.follower.heard(client.inbox.pop(0), self.now)

    # What may happen.

    def _step_look(self) -> str:
        return self.client().look(self._path())

    _step_look_again = _step_and_again = _step_look

    def _step_look_late(self) -> str:
        """What is asked for changes, and the client hears of that before it is answered."""
        client, path = self.client(), self._path()

        def news() -> None:
            self.remote.write(self._change_at(path))
            self.tell(client)

        client.news = news
        said = self.random.choice((client.look, client.readers.look, lambda path: client.list(path[:-1])))(path)
        client.news = lambda: None
        client.look(path)
        return said

    def _step_list(self) -> str:
        return self.client().list(self.random.choice(PATHS[:3]))

    def _step_xattr(self) -> str:
        return self.client().xattr(self._path())

    def _step_read(self) -> str:
        return self.client().readers.look(self._path())

    _step_read_again = _step_read

    def _step_hold(self) -> str:
        client = self.client()
        return self.random.choice((client.readers, client.readers, client.writers)).hold(self._path())

    def _step_read_held(self) -> str:
        return self.client().readers.look_again()

    def _step_change(self) -> str:
        client, chance = self.client(), self.random.random()
        if chance < 0.1:
            return client.writers.change()
        if chance < 0.3:
            return client.write(self._path(), self.random.randbytes(self.random.randrange(1, 4)))
        request = self._change()
        return client.change(request, request.source if isinstance(request, RenamePath) else request.path)

    _step_change_again = _step_change

    def _step_write(self) -> None:
        self.remote.write(self._change())

    _step_write_again = _step_write

    def _step_write_long(self) -> str:
        """Somebody reads the file between the steps of the write, and after it."""
        write = self.remote.long_writes.current
        paths = [write.path] if write is not None else self.remote.with_text()
        if not paths:
            return "nothing to write to"
        path = self.random.choice(paths)
        client = self.clients[len(path) % len(self.clients)]
        said = self.remote.write_long(path, self.random.randbytes(2))
        if said == DONE and self.random.random() < 0.5:
            self.tell(client)
        if said == BEGUN or self.random.random() < 0.2:
            client.readers.hold(path)
        client.readers.look_again(path)
        return said

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

    def _change(self) -> NamedChange:
        return self._change_at(self._path())

    def _change_at(self, path: Path) -> NamedChange:
        other = self._path()
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
