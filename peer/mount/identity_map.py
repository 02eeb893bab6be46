"""Whose files: the ids of the remote machine as the user of the mount sees them, and back.

The one rule: going there and back gives the same id, except that under ``map`` the agent's user and the mounting user
are one person.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

IdentityMode = Literal["map", "preserve"]


class IdentityMap(Protocol):
    """Translates user and group ids at the border of the mount; -1 (leave alone, chown(2)) must not be asked for."""

    @property
    def groups_matter(self) -> bool:
        """Whether the agent acts as the caller, so that it must hear of the caller's supplementary groups."""

    def shown(self, uid: int, gid: int) -> tuple[int, int]:
        """A remote owner as local users see it."""

    def remote_uid(self, uid: int) -> int:
        """The remote user that a local one asks for."""

    def remote_gid(self, gid: int) -> int:
        """The remote group that a local one asks for."""


@dataclasses.dataclass(frozen=True, slots=True)
class MappedIdentity:
    """``map``: the agent's user and group appear as the mounting user's; all other ids are shown as they are."""

    agent_uid: int
    agent_gid: int
    local_uid: int
    local_gid: int

    @property
    def groups_matter(self) -> bool:
        return False

    def shown(self, uid: int, gid: int) -> tuple[int, int]:
        return (
            self.local_uid if uid == self.agent_uid else uid,
            self.local_gid if gid == self.agent_gid else gid,
        )

    def remote_uid(self, uid: int) -> int:
        return self.agent_uid if uid == self.local_uid else uid

    def remote_gid(self, gid: int) -> int:
        return self.agent_gid if gid == self.local_gid else gid


@dataclasses.dataclass(frozen=True, slots=True)
class PreservedIdentity:
    """``preserve``: ids mean the same on both machines and nothing is translated."""

    @property
    def groups_matter(self) -> bool:
        return True

    def shown(self, uid: int, gid: int) -> tuple[int, int]:
        return uid, gid

    def remote_uid(self, uid: int) -> int:
        return uid

    def remote_gid(self, gid: int) -> int:
        return gid
