"""What of the metadata cache wants verifying, a directory at a time. Pure.

The one rule: it only looks. What is suspect stays so until the agent has said that it holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from peer.mount.metadata_facts import Facts
from peer.mount.metadata_node import Node
from peer.mount.metadata_tree import Path
from schema.attributes import FileMetadata


class Unverified(NamedTuple):
    """What wants verifying in the directory `path`: names with their packed attributes.

    `whole`: these were all names that there are. `below` are names with others below them. There may be `more`.
    """

    path: Path
    names: Sequence[tuple[bytes, bytes]]
    below: Sequence[bytes]
    whole: bool
    more: bool


class Verified(NamedTuple):
    """What the agent says of that: names that `changed`, those that `appeared`, whether that is all that there are.

    `covered`: it is as of the moment of the answer.
    """

    changed: Mapping[bytes, FileMetadata | None]
    appeared: Sequence[tuple[bytes, FileMetadata]]
    covered: bool
    complete: bool


def unverified(facts: Facts, path: Path, now: float, window: range, first: bytes | None = None) -> Unverified:
    """What is suspect in the directory `path` even while the feed is trusted, among those names by count in `window`.

    `first` is a name that is to be there even if it is not among them.
    """
    node = facts.tree.find(path)
    children = (node.children or {}) if node is not None else {}
    whole = node is not None and window.start == 0 and len(children) <= len(window) and _was_complete(facts, node)
    names: list[tuple[bytes, bytes]] = []
    below: list[bytes] = []
    for name, child in itertools.islice(children.items(), window.start, window.stop):
        if child.children or _was_complete(facts, child):
            below.append(name)
        if child.packed is None:
            continue
        if (whole and child.packed) or not (whole or facts.is_sure(child, now, trusted=True)):
            names.append((name, child.packed))
    chosen = children.get(first) if first is not None and not whole else None
    if chosen is not None and chosen.packed is not None and not facts.is_sure(chosen, now, trusted=True):
        entry = chosen.name, chosen.packed
        names = names if entry in names else [*names[: len(window) - 1], entry]
    return Unverified(path, names, below, whole, more=window.stop < len(children))


def _was_complete(facts: Facts, node: Node) -> bool:
    return node.details is not None and node.details.complete and not facts.lists(node.details)
