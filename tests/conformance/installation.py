"""A broker, an agent, a channel to it and a mount, started once for all tests that want the whole way.

The one rule: a test gets a directory of its own in the export; nothing else tells its tests apart.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from peer.certificates import read_own_keys, read_relay_key
from peer.channel.opening import new_instance, open_link, open_requester
from peer.channel.packing import Padding
from peer.channel.requester import Patience
from peer.config import read_client
from peer.filesystem import FileSystem
from peer.mount.remote_filesystem import RemoteFileSystem
from peer.pinned_peers import PinnedPeers
from schema.identity import peer_id
from tests.conformance.implementations import Subject, components, lacking
from tests.conformance.posix_filesystem import posix_filesystem
from tests.stack.world import DESKTOP, SERVER, Stack, stack_in

_PATIENCE: Final = 20.0


class Installation:
    """What runs, and factories of file systems on it."""

    def __init__(self, stack: Stack, filesystem: FileSystem) -> None:
        self._stack: Final = stack
        self._filesystem: Final = filesystem
        self._numbers: Final = itertools.count()

    @functools.cached_property
    def _mount(self) -> Path:
        """Where the export is mounted. Without FUSE, the test is skipped outside CI and fails in it."""
        if not os.environ.get("CI") and not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse is not there for us")
        return self._stack.mount().path

    @contextmanager
    def remote(self, directory: Path) -> Iterator[Subject]:
        """By requests that travel sealed through the broker to the agent."""
        exported = self._exported()
        yield Subject(self._filesystem, components(exported), lacking(exported))

    @contextmanager
    def mounted(self, directory: Path) -> Iterator[Subject]:
        """By system calls on the mount."""
        exported = self._exported()
        # libfuse knows a file by its path, and forgets the paths in a directory that is removed.
        lacks = lacking(exported) | {"fstat_in_removed_directory"}
        with posix_filesystem(str(self._mount / exported.name)) as filesystem:
            yield Subject(filesystem, lacks=lacks)

    def _exported(self) -> Path:
        exported = self._stack.export / str(next(self._numbers))
        exported.mkdir()
        return exported


@contextmanager
def installation_in(home: Path) -> Iterator[Installation]:
    """Start everything below `home`, and stop it."""
    with stack_in(home) as stack:
        stack.start()
        settings = read_client(stack.config / f"{DESKTOP}.toml")
        security = settings.security
        keys = read_own_keys(security.key_file, security.cert_file, settings.id)
        link = open_link(
            keys,
            read_relay_key(security.relay_cert),
            settings.relay,
            settings.network,
            instance := new_instance(),
        )
        try:
            requester = open_requester(
                keys,
                link,
                peer_id(SERVER),
                PinnedPeers(security.trusted).identity_key_of(peer_id(SERVER)),
                instance=instance,
                patience=Patience(_PATIENCE, _PATIENCE),
                padding=Padding(settings.network.padding),
                abandoned=lambda _: False,
            )
            yield Installation(stack, RemoteFileSystem(requester))
        finally:
            link.stop()
