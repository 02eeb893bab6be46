"""Programs of one client that open files, read them, and may keep them open for long.

The one rule: what is read is explained by what the file held at or after the last moment of which the client had heard
when it read, for as long as the file has kept its name; of one that lost it, by what it held since it was opened.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from peer.errors import OperationFailed
from schema.requests import CloseFile, OpenFile
from tests.simulation.coherence.machine import NOBODY, Path, without_atime

if TYPE_CHECKING:
    from tests.simulation.coherence.client import Client

_MOST = 4
"""Files that are open at a time."""


class _Open(NamedTuple):
    """A handle, the path and inode number that it was opened at, and the first moment that it may show."""

    handle: int
    path: Path
    inode: int
    since: int


class Readers:
    """The readers of `client`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: list[_Open] = []

    def look(self, path: Path) -> str:
        """open, read, close."""
        opened = self._opened(path)
        if isinstance(opened, str):
            return opened
        try:
            return self._read(opened)
        finally:
            self._close(opened)

    def hold(self, path: Path) -> str:
        """open, and close what was opened first when there are too many."""
        if len(self._open) >= _MOST:
            self._close(self._open.pop(0))
        opened = self._opened(path)
        if isinstance(opened, str):
            return opened
        self._open.append(opened)
        return "held"

    def look_again(self, path: Path = ()) -> str:
        """read, from one that is open; if it may be chosen, from one that was opened as `path`."""
        if not self._open:
            return "nothing is open"
        # A kernel closes no file that is being read.
        wanted = [opened for opened in self._open if opened.path == path] or self._open
        opened = self._client.world.random.choice(wanted)
        self._open.remove(opened)
        try:
            return self._read(opened)
        finally:
            self._open.append(opened)

    def _opened(self, path: Path) -> _Open | str:
        client = self._client
        low = client.low(path)
        try:
            opened = client.files.open_file(OpenFile(path, os.O_RDONLY), NOBODY)
        except OperationFailed as failure:
            if failure.code not in ("ENOENT", "ENOTDIR", "EISDIR"):
                raise
            return failure.code
        client.opened(path, opened)
        value = (without_atime(opened.metadata), None)
        client.check("open", path, value, low, part=0)
        return _Open(opened.handle, path, opened.metadata.inode, low.of(value))

    def _read(self, opened: _Open) -> str:
        client, remote = self._client, self._client.world.remote
        heard = client.low(opened.path)
        linked = any(remote.linked_at(opened.path, moment) for moment in range(heard.linked, remote.now + 1))
        low = max(heard.of_file(opened.inode, linked=linked), opened.since)
        for data in client.read(opened.handle, opened.inode):
            since = range(opened.since, remote.now + 1)
            if any(remote.file_at(opened.path, moment) != opened.inode for moment in since):
                low = opened.since
            held = remote.texts(opened.inode, low)
            assert data in held, f"{client.name}: read {opened}: {data!r} is not explained since {low}: {held}"
        return "read"

    def _close(self, opened: _Open) -> None:
        self._client.pages.closed(opened.handle)
        self._client.files.close_file(CloseFile(opened.handle), NOBODY)
