"""A relay that is a list, and a client that reads a change feed off it as a subscriber would."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from peer.agent.dispatcher import Dispatcher
from peer.channel.packing import unpack
from peer.errors import FrameRefused
from peer.session.feed_cipher import FeedOpener
from schema.changes import Change, ChangeBatch, Changed, Moment, Renamed, Swept, decode_batch
from schema.envelope import Address
from schema.replies import AnyReply, Following
from schema.requests import AnyRequest, Caller, FollowChanges

PATIENCE = 15.0
"""Seconds after which something that should have happened has not."""


def until(what: str, condition: Callable[[], object]) -> None:
    """Wait for what another thread brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


class Shelf:
    """An `Outlet` that keeps what was published."""

    def __init__(self) -> None:
        self.announced: list[bytes] = []
        self.retracted: list[bytes] = []
        self.published: list[tuple[bytes, bytes]] = []

    def announce(self, topic: bytes) -> None:
        self.announced.append(topic)

    def retract(self, topic: bytes) -> None:
        self.retracted.append(topic)

    def publish(self, topic: bytes, body: bytes) -> None:
        self.published.append((topic, body))


def ask(dispatcher: Dispatcher, client: Address, request: AnyRequest, caller: Caller) -> AnyReply:
    """The dispatcher's answer, `Failure` and `as_of` and all."""
    answers: list[AnyReply] = []
    dispatcher.perform(client, 1, request, caller, answers.append)
    (answer,) = answers
    return answer


class Reader:
    """Follows the feed of `client` from now on."""

    def __init__(self, shelf: Shelf, following: Following) -> None:
        self.shelf = shelf
        self.following = following
        self._opener = FeedOpener(following.key, following.topic)
        self._at = 0
        self.batches: list[ChangeBatch] = []
        self.numbered: list[tuple[int, Change]] = []
        self.refused = 0

    @classmethod
    def follow(cls, dispatcher: Dispatcher, shelf: Shelf, client: Address, path: tuple[bytes, ...], caller: Caller):
        following = ask(dispatcher, client, FollowChanges(path), caller)
        assert isinstance(following, Following), following
        return cls(shelf, following)

    def read(self) -> list[Change]:
        """All changes of the first epoch so far; their numbers have no hole."""
        while self._at < len(self.shelf.published):
            topic, body = self.shelf.published[self._at]
            self._at += 1
            if topic != self.following.topic:
                continue
            try:
                batch = decode_batch(unpack(self._opener.open(body)))
            except FrameRefused:
                self.refused += 1
                continue
            self.batches.append(batch)
            if batch.epoch == self.following.epoch:
                self.numbered += enumerate(batch.changes, batch.first)
        first = self.following.next_number
        assert [number for number, _ in self.numbered] == list(range(first, first + len(self.numbered)))
        return [change for _, change in self.numbered]

    def wait_for(self, what: str, condition: Callable[[list[Change]], object]) -> list[Change]:
        until(what, lambda: condition(self.read()))
        return self.read()

    def wait_for_path(self, path: tuple[bytes, ...], *, gone: bool = False) -> Changed:
        """The last word on `path`, once it is that it exists, or not."""

        def found(changes: list[Change]) -> list[Changed]:
            told = [change for change in changes if isinstance(change, Changed) and change.path == path]
            return told[-1:] if told and (told[-1].metadata is None) == gone else []

        return found(self.wait_for(f"{path} {gone=}", found))[0]

    def numbers_of(self, path: tuple[bytes, ...]) -> list[int]:
        """The numbers under which something about `path` was told."""
        self.read()
        return [number for number, change in self.numbered if path in _paths(change)]

    @property
    def epochs(self) -> set[int]:
        self.read()
        return {self.following.epoch} | {batch.epoch for batch in self.batches}

    @property
    def moment(self) -> Moment:
        self.read()
        return Moment(self.following.epoch, self.following.next_number - 1 + len(self.numbered))


class Replica:
    """What a client that applies changes as they are numbered knows of a directory tree: path -> inode number.

    What is below a directory that was `Swept` is not known, and what is not in `known` is not claimed to be absent.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, ...], int | None] = {}
        self._applied: list[tuple[int, Change]] = []

    def catch_up(self, numbered: list[tuple[int, Change]]) -> None:
        """Apply what is new of a reader's `numbered`."""
        for number, change in numbered[len(self._applied) :]:
            self._apply(change)
            self._applied.append((number, change))

    def learn(self, path: tuple[bytes, ...], inode: int | None, as_of: Moment | None) -> None:
        """Keep an answer about `path`, unless a change of it that the agent may not have seen yet is known."""
        if as_of is None:
            return
        after = [change for number, change in self._applied if number > as_of.number]
        if not any(_touches(change, path) for change in after):
            self.known[path] = inode

    def _apply(self, change: Change) -> None:
        if isinstance(change, Renamed):
            moved = {path: inode for path, inode in self.known.items() if path[: len(change.source)] == change.source}
            self._purge(change.source)
            self._purge(change.destination)
            for path, inode in moved.items():
                self.known[change.destination + path[len(change.source) :]] = inode
            self.known[change.source] = None
            self.known[change.destination] = change.metadata.inode
        elif isinstance(change, Swept):
            self._purge(change.path)
        else:
            if change.metadata is None:
                self._purge(change.path)
            self.known[change.path] = None if change.metadata is None else change.metadata.inode

    def _purge(self, path: tuple[bytes, ...]) -> None:
        self.known = {known: inode for known, inode in self.known.items() if known[: len(path)] != path}

    def wrong(self) -> dict[tuple[bytes, ...], tuple[int | None, int | None]]:
        """What it believes otherwise than it is."""
        found = {}
        for path, inode in self.known.items():
            try:
                there: int | None = Path("/" + "/".join(name.decode() for name in path)).lstat().st_ino
            except (FileNotFoundError, NotADirectoryError):
                there = None
            if there != inode:
                found[path] = (inode, there)
        return found


def _touches(change: Change, path: tuple[bytes, ...]) -> bool:
    """Whether `change` is about `path` or, as a whole, a directory above it."""
    if isinstance(change, Changed):
        return change.path == path or (change.metadata is None and path[: len(change.path)] == change.path)
    about = (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)
    return any(path[: len(each)] == each for each in about)


def _paths(change: Change) -> tuple[tuple[bytes, ...], ...]:
    return (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)
