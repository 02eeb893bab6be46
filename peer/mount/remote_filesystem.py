"""The file system at the other end: each operation is one request to the agent, below one remote directory.

The one rule: nothing is decided here. A path gets the mount's root in front, and the answer comes back as it is.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from peer.channel.requester import Requester
from peer.filesystem import PerformedFileSystem, expect
from schema.requests import AnyRequest, Caller, CreateLink, RenamePath

R = TypeVar("R")


class RemoteFileSystem(PerformedFileSystem):
    """A `FileSystem` whose ``()`` is the directory `root` of the agent that `requester` asks."""

    def __init__(self, requester: Requester, root: tuple[bytes, ...]) -> None:
        self._requester: Final = requester
        self._root: Final = root

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        return expect(self._requester.call(self._rooted(request), caller), reply)

    def _rooted(self, request: AnyRequest) -> AnyRequest:
        root = self._root
        if isinstance(request, RenamePath):
            return RenamePath(root + request.source, root + request.destination, request.flags)
        if isinstance(request, CreateLink):
            return CreateLink(root + request.existing, root + request.path)
        if getattr(request, "handle", 0):
            return request
        path: tuple[bytes, ...] | None = getattr(request, "path", None)
        return request if path is None else msgspec.structs.replace(request, path=root + path)
