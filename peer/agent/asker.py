"""One request's asker: which client, for which of its processes, and where its paths lead.

The one rule: every path of a request goes through here, so none is reached without the policy's word.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import NamedTuple

from peer.agent.access_policy import AccessPolicy, Grant, Path
from peer.agent.confined_root import ConfinedRoot
from peer.agent.namespace import Place
from schema.envelope import Address
from schema.paths import checked
from schema.requests import Caller


class Asker(NamedTuple):
    """`preserved` says that the thread acts under the caller's ids."""

    client: Address
    caller: Caller
    preserved: bool
    policy: AccessPolicy
    roots: Mapping[Path, ConfinedRoot]

    def place(self, path: Path) -> Place:
        """Where `path` leads, to look. Raises `OperationFailed` (EACCES), `schema.paths.PathError`."""
        return self._place(self._grant(path))

    def place_to_change(self, path: Path) -> Place:
        """Where `path` leads, to change what is there. Raises as `place`, and `OSError` EROFS."""
        grant = self._grant(path)
        refuse_if(grant.read_only)
        return self._place(grant)

    def place_to_move(self, path: Path) -> Place:
        """Where `path` leads, to give another place to all below it. Raises as `place_to_change`."""
        grant = self._grant(path)
        refuse_if(grant.read_only or grant.holds_read_only)
        return self._place(grant)

    def _grant(self, path: Path) -> Grant:
        return self.policy.grant(self.client.peer, checked(path))

    def _place(self, grant: Grant) -> Place:
        return Place(self.roots[grant.export], grant.below, grant.read_only)


def refuse_if(read_only: bool) -> None:
    """Raise `OSError` EROFS where nothing may be changed."""
    if read_only:
        raise OSError(errno.EROFS, "the agent's configuration makes this path read-only")
