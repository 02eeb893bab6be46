"""Who may reach which path, and whether to change it: pure, from the configured rules.

The one rule: rules only ever narrow. What no allowed path covers is refused, a client's own allowed paths cut down the
agent's, and read-only at any level above a path means read-only.
"""

from __future__ import annotations

import dataclasses
from typing import Final, NamedTuple

from peer.errors import OperationFailed
from schema.paths import display

Path = tuple[bytes, ...]
"""Components from the agent's ``/``."""

_SHOWN: Final = 300


@dataclasses.dataclass(frozen=True, slots=True)
class ClientRule:
    """What is different for the client `id`. None: as for everybody."""

    id: str
    allowed_paths: tuple[Path, ...] | None = None
    read_only: bool = False
    preserve_identity: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AccessRules:
    """The exports (`allowed_paths`, directories), what in them is read-only, and rules for single clients.

    `preserve_identity` lets clients act under the ids that they name, root among them: all of an export is then in
    their hands, as with no_root_squash of exports(5). Without, the agent does everything under its own ids.
    """

    allowed_paths: tuple[Path, ...]
    read_only_paths: tuple[Path, ...] = ()
    clients: tuple[ClientRule, ...] = ()
    preserve_identity: bool = False


class Grant(NamedTuple):
    """A path that may be reached: its export, the components below that, and what may not be done.

    `holds_read_only`: something below it is read-only, so it may not be renamed away with it.
    """

    export: Path
    below: Path
    read_only: bool
    holds_read_only: bool


class AccessPolicy:
    """Answers for `rules`."""

    def __init__(self, rules: AccessRules) -> None:
        self._rules: Final = rules
        self.exports: Final = tuple(sorted(set(rules.allowed_paths), key=len, reverse=True))
        self._clients: Final = {rule.id: rule for rule in rules.clients}
        self._everybody: Final = ClientRule("")
        self._visible: Final = {rule.id: self._visible_by(rule) for rule in rules.clients}
        self._visible_to_all: Final = self._visible_by(self._everybody)

    def preserves_identity(self, client: str) -> bool:
        """Whether `client` may name the ids that it acts under."""
        own = self._clients.get(client, self._everybody).preserve_identity
        return self._rules.preserve_identity if own is None else own

    def visible(self, client: str) -> tuple[Path, ...]:
        """The directories at and below which `client` may look, none below another, in order."""
        return self._visible.get(client, self._visible_to_all)

    def grant(self, client: str, path: Path) -> Grant:
        """Where `path` leads for the peer `client`: into the export that covers it most closely.

        Raises `OperationFailed` with EACCES for a path that is outside what the client may reach.
        """
        rule = self._clients.get(client, self._everybody)
        if rule.allowed_paths is None or any(_covers(allowed, path) for allowed in rule.allowed_paths):
            for export in self.exports:
                if _covers(export, path):
                    read_only_paths = self._rules.read_only_paths
                    if not read_only_paths:
                        return Grant(export, path[len(export) :], rule.read_only, holds_read_only=False)
                    return Grant(
                        export,
                        path[len(export) :],
                        rule.read_only or any(_covers(above, path) for above in read_only_paths),
                        any(_covers(path, below) for below in read_only_paths),
                    )
        raise OperationFailed("EACCES", f"{display(path)[:_SHOWN]} is outside the directories that {client} may use")

    def _visible_by(self, rule: ClientRule) -> tuple[Path, ...]:
        if rule.allowed_paths is None:
            roots = set(self.exports)
        else:
            pairs = [(export, allowed) for export in self.exports for allowed in rule.allowed_paths]
            roots = {allowed for export, allowed in pairs if _covers(export, allowed)}
            roots |= {export for export, allowed in pairs if _covers(allowed, export)}
        return tuple(sorted(root for root in roots if not any(_covers(other, root) for other in roots - {root})))


def _covers(above: Path, path: Path) -> bool:
    return path[: len(above)] == above
