"""An export that is watched, the feeds of it, and what a test asks and does there."""

from __future__ import annotations

import ctypes
import os
import secrets

from peer.agent.feeding import watch_exports
from peer.channel.packing import Padding
from schema.changes import Changed
from schema.envelope import Address
from schema.paths import parse
from schema.requests import (
    Caller,
    GetMetadata,
)
from tests.peer.agent.feed_reader import Reader, Shelf, ask, until

CLIENT = Address("laptop", 1)
CALLER = Caller(os.getuid(), os.getgid())


class World:
    """A dispatcher with its feeds over `export`, a watcher that runs, and a reader."""

    def __init__(self, dispatcher, export, *, key_of=lambda _: b"key", heartbeat=0.2, padding=Padding.NONE):
        self.export = export
        self.top = parse(os.fsencode(export))
        self.shelf = Shelf()
        self.dispatcher = dispatcher
        self.watcher, self.feeds = watch_exports(
            dispatcher, self.shelf, heartbeat=heartbeat, key_of=key_of, random=secrets.token_bytes, padding=padding
        )

    def start(self):
        self.watcher.start()
        until("the watches are in place", lambda: self.watcher.settled)

    def follow(self, client=CLIENT):
        return Reader.follow(self.dispatcher, self.shelf, client, self.top, CALLER)

    def path(self, *names):
        return (*self.top, *(name.encode() if isinstance(name, str) else name for name in names))

    def ask(self, request, client=CLIENT):
        return ask(self.dispatcher, client, request, CALLER)

    def stat(self, *names):
        return self.ask(GetMetadata(self.path(*names)))

    def quiet(self):
        """Whether all that happened up to now was told."""
        inotify = self.watcher._inotify
        return inotify is not None and inotify.quiet() and not self.watcher.doubts

    def settle(self, reader):
        """Wait until all that happened up to now was told."""
        beacon = self.export / f"beacon-{secrets.token_hex(4)}"
        beacon.touch()
        reader.wait_for_path(self.path(beacon.name))
        return [change for change in reader.read() if not about(change, self.path(beacon.name), self.top)]


def about(change, *paths):
    return isinstance(change, Changed) and change.path in paths


def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0
