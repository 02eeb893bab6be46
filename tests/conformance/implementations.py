"""The file systems that the suite runs on: a name and a factory each.

The one rule: a factory gives an empty directory of a file system that is its own, and takes everything down after.
To add one, write a factory and enter it in `IMPLEMENTATIONS`; what it cannot do by its nature goes into `lacks`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from peer.agent.access_policy import AccessRules
from peer.agent.dispatcher import Dispatcher
from peer.filesystem import FileSystem
from peer.mount.block_store.store import BlockStore
from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.coherence import Coherence
from peer.mount.coherent_cache import CoherentCache
from peer.mount.durable_handles import DurableHandles
from peer.mount.metadata_cache import MetadataCache
from peer.mount.quiet_files import QuietFiles
from peer.mount.stored_contents import StoredContents
from schema.attributes import FileVersion
from schema.envelope import Address
from schema.identity import KEY_SIZE, peer_id
from tests.conformance import libc
from tests.conformance.memory_filesystem import memory_filesystem
from tests.conformance.posix_filesystem import posix_filesystem

ELSEWHERE: Final = "REMOTEFS_CONFORMANCE_DIRECTORY"
"""Names a directory, of whatever file system, on which the suite then runs as well, as `elsewhere`."""

_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A file system under test, the directory in it to work in, and features that it does not have.

    `lacks` may hold ``xattrs``, ``chown``, ``fallocate``, ``holes`` and ``fstat_in_removed_directory``.
    """

    filesystem: FileSystem
    root: tuple[bytes, ...] = ()
    lacks: frozenset[str] = field(default=frozenset())


Factory = Callable[[Path], AbstractContextManager[Subject]]
"""Takes an empty local directory of the test's own, for whoever needs one."""


class Implementation(NamedTuple):
    """How to come by the factory, given the run's fixtures; and how many random sequences it does in seconds."""

    factory: Callable[[pytest.FixtureRequest], Factory]
    sequences: int = 200


@contextmanager
def _memory(directory: Path) -> Iterator[Subject]:
    yield Subject(memory_filesystem())


@contextmanager
def _posix(directory: Path) -> Iterator[Subject]:
    with posix_filesystem(str(directory)) as filesystem:
        yield Subject(filesystem, lacks=lacking(directory))


@contextmanager
def _elsewhere(directory: Path) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory(dir=os.environ[ELSEWHERE]) as below, _posix(Path(below)) as subject:
        yield subject


def _local(decorator: Callable[[FileSystem], FileSystem] | None = None) -> Factory:
    """The agent's own, with `decorator` around it."""

    @contextmanager
    def factory(directory: Path) -> Iterator[Subject]:
        root = components(directory)
        dispatcher = Dispatcher(AccessRules(allowed_paths=(root,)), boot=1)
        try:
            filesystem = dispatcher.view(Address(peer_id("client"), 1))
            yield Subject(decorator(filesystem) if decorator else filesystem, root, lacking(directory))
        finally:
            dispatcher.close()

    return factory


def _cached(filesystem: FileSystem) -> FileSystem:
    """As a mount has it whose agent tells of no changes: what others do is not seen before time passes."""
    return CachedFileSystem(filesystem, CoherentCache(Coherence(grace=0.0), MetadataCache(ttl=3600.0), time.monotonic))


class _AtOnce(StoredContents):
    """What is kept is on disk before the next operation."""

    def keep(self, volume: int, version: FileVersion, offset: int, data: memoryview) -> None:
        super().keep(volume, version, offset, data)
        assert self.written(_PATIENCE)


@contextmanager
def _stored(directory: Path) -> Iterator[Subject]:
    """A cached file system with contents on disk. In memory, each change makes a new version, however fast."""
    contents = _AtOnce(BlockStore(directory, b"s" * KEY_SIZE, b"agent", 2**30))
    known = CoherentCache(Coherence(grace=0.0), MetadataCache(ttl=3600.0), time.monotonic)
    try:
        yield Subject(CachedFileSystem(memory_filesystem(), known, contents=contents, quiet=QuietFiles()))
    finally:
        contents.close()


def components(directory: Path) -> tuple[bytes, ...]:
    """An absolute path as requests carry it."""
    return tuple(os.fsencode(part) for part in directory.parts[1:])


def lacking(directory: Path) -> frozenset[str]:
    """What the local file system of `directory` does not offer, by trying."""
    lacks = set()
    if os.getuid() != 0:
        lacks.add("chown")
    probe = directory / "probe"
    with probe.open("wb") as file:
        try:
            os.setxattr(file.fileno(), b"user.probe", b"")
        except OSError:
            lacks.add("xattrs")
        file.truncate(2**20)
        if os.fstat(file.fileno()).st_blocks * 512 >= 2**20:
            lacks.add("holes")
        try:
            libc.fallocate(file.fileno(), 3, 0, 4096)
        except OSError:
            lacks.add("fallocate")
    probe.unlink()
    return frozenset(lacks)


IMPLEMENTATIONS: Final[Mapping[str, Implementation]] = {
    "memory": Implementation(lambda _: _memory),
    "posix": Implementation(lambda _: _posix),
    "local": Implementation(lambda _: _local()),
    "durable": Implementation(lambda _: _local(DurableHandles)),
    "cached": Implementation(lambda _: _local(_cached)),
    "stored": Implementation(lambda _: _stored, sequences=60),
    "remote": Implementation(lambda fixtures: fixtures.getfixturevalue("installation").remote, sequences=20),
    "mounted": Implementation(lambda fixtures: fixtures.getfixturevalue("installation").mounted, sequences=10),
    **({"elsewhere": Implementation(lambda _: _elsewhere, sequences=20)} if ELSEWHERE in os.environ else {}),
}
