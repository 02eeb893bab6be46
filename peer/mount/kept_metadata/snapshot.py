"""Taking what a cache knows out of it, and putting it back into another one. Pure.

The one rule: what is put back is suspect, and takes the place of nothing that is known. So a snapshot need not be of
one moment: it is taken a little at a time, while the cache is in use.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from peer.mount.kept_metadata.records import KeptDetails, KeptDirectory, KeptName
from peer.mount.metadata_facts import Facts
from peer.mount.metadata_node import NEVER, Details, Node
from peer.mount.metadata_tree import Path


class Part(NamedTuple):
    """A part of a directory: what is to be kept, names that have others below them, and whether there is `more`."""

    record: KeptDirectory
    below: list[bytes]
    more: bool


def part(facts: Facts, path: Path, window: range) -> Part:
    """Of the directory `path`, the names by count in `window`."""
    node = facts.tree.find(path)
    children = (node.children or {}) if node is not None else {}
    more = window.stop < len(children)
    complete = node is not None and node.details is not None and node.details.complete
    names: list[KeptName] = []
    details: list[KeptDetails] = []
    below: list[bytes] = []
    for name, child in itertools.islice(children.items(), window.start, window.stop):
        if child.children or (child.details is not None and child.details.complete):
            below.append(name)
        if child.packed is None or (complete and not child.packed):
            continue  # that others are not there, a complete listing says
        kept = _details(child, len(names))
        if kept is not None:
            details.append(kept)
        names.append(KeptName(name, child.packed))
    return Part(KeptDirectory(path, tuple(names), tuple(details), complete and not more), below, more)


def restore(facts: Facts, record: KeptDirectory) -> None:
    """Know again what was kept, as suspect, where nothing is known by now."""
    node = facts.tree.make(record.path)
    all_known = node.details is not None and facts.lists(node.details)
    restored: list[Node | None] = []
    for kept in record.names:
        if all_known and node.child(kept.name) is None:
            restored.append(None)
            continue
        child = facts.tree.make((*record.path, kept.name))
        if child.packed is None:
            child.packed, child.generation = kept.packed, NEVER
            restored.append(child)
        else:
            restored.append(None)
    for each in record.details:
        child_or_none = restored[each.index]
        if child_or_none is not None and child_or_none.details is None:
            details = child_or_none.details = Details(NEVER)
            details.target, details.xattr_names, details.xattrs = each.target, each.xattr_names, each.xattrs
    if record.whole:
        if node.details is None:
            node.details = Details(NEVER)
        if not node.details.complete:
            node.details.complete, node.details.names_generation = True, NEVER


def _details(node: Node, index: int) -> KeptDetails | None:
    """What goes with the change time of a file, if there is anything."""
    known = node.details
    if known is None or not known.settled:
        return None
    if known.target is None and known.xattr_names is None and known.xattrs is None:
        return None
    return KeptDetails(index, known.target, known.xattr_names, known.xattrs)
