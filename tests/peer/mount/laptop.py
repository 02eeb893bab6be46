"""A client that follows the model's agent, in one thread and without delay."""

from __future__ import annotations

from peer.filesystem import Decorator
from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.coherence import Coherence
from peer.mount.coherent_cache import CoherentCache
from peer.mount.metadata_cache import MetadataCache
from peer.mount.quiet_files import QuietFiles
from schema.replies import Following
from tests.conformance.driver import Files
from tests.peer.mount.contents import Memory
from tests.simulation.coherence.remote import NOBODY, Remote


class Counting(Decorator):
    """The model's agent, which says as of when; and what it was asked."""

    def __init__(self, remote):
        super().__init__(remote)
        self.asked = []
        self.broken = None

    def _perform(self, request, caller, reply):
        self.asked.append(type(request).__name__)
        if self.broken is not None:
            raise self.broken
        return self.inner.ask(request)[0]


class Laptop:
    """A client that follows the model's agent; the feed is delivered at once."""

    def __init__(self, *, local_opens=False, ask_first=False, remote=None):
        self.now = 10.0
        self.remote = remote or Remote(lambda: self.now)
        self.ask_first = ask_first
        self.agent = Counting(self.remote)
        self.known = CoherentCache(Coherence(grace=1.0), MetadataCache(ttl=5.0), lambda: self.now)
        self.contents = Memory()
        quiet = QuietFiles() if local_opens else None
        self.filesystem = CachedFileSystem(
            self.agent, self.known, contents=self.contents, quiet=quiet, ask_first=lambda: self.ask_first
        )
        self.files = Files(self.filesystem, caller=NOBODY)
        self.follow()

    def follow(self):
        epoch, number = self.remote.epoch, self.remote.number
        self.known.follow(Following(b"t" * 16, b"k" * 32, epoch, number + 1, 2.0, self.now), self.now)

    def hear(self):
        while self.remote.unnoticed:
            self.remote.notice()
        for batch in self.remote.outbox:
            self.known.take(batch, self.now)
        self.remote.outbox.clear()

    def asks(self):
        asked, self.agent.asked = self.agent.asked, []
        return asked
