"""Whether what a node of the metadata cache says may be believed, and how it is learnt. Pure.

The one rule: a fact is learnt with the number that it is as of, in one place, which also makes suspect what it
contradicts: another name of the same file, and what was below another directory.

A fact that the feed covers carries the number that it is as of. A fact that no feed covers (`UNKNOWN`), and that of a
file with more than one name, lives for `ttl` seconds; everything else for `BACKSTOP` seconds, since inotify(7) does
not tell of all that can happen.
"""

from __future__ import annotations

from typing import Final

from peer.mount.metadata_node import (
    ABSENT,
    NEVER,
    UNKNOWN,
    Details,
    Node,
    file_key,
    is_linked,
    is_single,
    may_have_several_names,
    same_file,
    verifiable,
)
from peer.mount.metadata_tree import Path, Tree, path_of, subtree
from peer.mount.recent_changes import RecentChanges
from peer.mount.withdrawals import UNSURE, Withdraw, Withdrawal, withdrawal

BACKSTOP: Final = 3600.0
"""Seconds after which even what a feed covers is verified."""


class Facts:
    """The nodes of a cache of at most `entries` names; `generation` tells what was learnt since the feed is followed.

    `now` is a monotonic time: for what is learnt from an answer that of the question. `trusted` is whether the feed is
    trusted at that time. `withdraw` hears whenever a fact is replaced, doubted or forgotten, but not of what becomes
    suspect by age or with all else.
    """

    def __init__(self, *, ttl: float, backstop: float, entries: int) -> None:
        self.ttl = ttl
        self.backstop = backstop
        self.tree = Tree(entries, self.withdraw_node)
        self.withdraw: Withdraw = lambda _path, _what: None
        self.generation = self.numbered_since = NEVER + 1
        self.linked_until = 0.0
        """Facts of files with several names that end by then are from before we changed one of those."""
        self.linked_since = UNKNOWN
        """So is what the feed says of them up to this number."""
        self.linked: Final = RecentChanges()
        """Files that had several names by a change of the feed; in place of a path its `file_key` alone."""
        self.reached: Final = RecentChanges()
        """Files that we changed ourselves, likewise: how far the feed had come before."""
        self.reached_until = UNKNOWN
        self.told_before = UNKNOWN
        """What the feed tells up to this number may be of before any of our changes."""
        self.learnt = 0
        """How often something was learnt."""

    def withdraw_node(self, node: Node, what: Withdrawal = UNSURE) -> None:
        """Nobody is to go by what is known of `node` any more."""
        if what and node.packed is not None:
            self.withdraw(path_of(node), what)

    def doubt_node(self, node: Node, as_of: int) -> None:
        """The file was changed, and the feed had reached `as_of` before."""
        self.withdraw_node(node)
        node.as_of = max(as_of, self.as_of_node(node))
        node.generation = NEVER if node.as_of == UNKNOWN else -self.generation
        if node.details is not None:
            node.details.changed()

    def learn_node(self, node: Node, packed: bytes, as_of: int, now: float) -> None:
        """The file is what `packed` says."""
        self.learnt += 1
        before = node.packed
        if before is not None and not same_file(before, packed):
            self.prune_node(node, as_of)
        self.tree.unlist(node)
        lifetime = self.ttl if is_linked(packed) or as_of == UNKNOWN else self.backstop
        node.learn(packed, as_of, self.generation, now + lifetime)
        self.withdraw_node(node, withdrawal(before, packed))
        if may_have_several_names(packed):
            self.doubt_other_names(packed, alone=is_single(packed))
            self.tree.enlist(node)
            if self.was_told_of(file_key(packed), as_of):
                self.doubt_node(node, UNKNOWN)  # it was changed since, or has another name by now

    def doubt_other_names(self, packed: bytes, *, alone: bool = False) -> None:
        """The file is what `packed` says: names that say otherwise are of before, if it is not `packed` that is.

        Its changes are told of under any name that it has. If it was seen to have one name `alone`, it has no other.
        """
        other = self.tree.file(file_key(packed))
        if other is None or (not alone and verifiable(other.packed or ABSENT) == verifiable(packed)):
            return
        for each in self.tree.unlist_file(file_key(packed)):
            self.withdraw_node(each, withdrawal(each.packed, packed))
            self.doubt_node(each, UNKNOWN)

    def file_told(self, number: int, path: Path, packed: bytes) -> None:
        """A change of the feed tells of the file at `path`, which `packed` is: news of it by any name that it has here.

        Of one with several names, no answer of before is believed under any of them.
        """
        if is_linked(packed):
            self.doubt_other_names(packed)
            self.linked.add(number, (((file_key(packed),), False),))
        elif is_single(packed):
            other = self.tree.file(file_key(packed))
            if other is not None and self.as_of_node(other) < number and path_of(other) != path:
                self.doubt_node(other, UNKNOWN)  # it was renamed, which is about to be told

    def was_told_of(self, file: bytes, as_of: int) -> bool:
        """Whether the feed has told since of a file of several names; where it is UNKNOWN since when, no."""
        return as_of != UNKNOWN and self.linked.touched((file,), as_of)

    def doubt_file(self, file: bytes, packed: bytes | None, as_of: int) -> None:
        """A file, by its `file_key`, was changed by ourselves and is as `packed` since then, or nobody knows what.

        It may have another name by now than it had here: one that is known, or one that the feed is about to tell of.
        What that says of it up to `as_of` is from before.
        """
        node = self.tree.file(file)
        if node is not None and (packed is None or node.packed != packed):
            self.doubt_node(node, as_of)
        if as_of != UNKNOWN:
            self.reached_until = max(self.reached_until, as_of)
            self.reached.add(self.reached_until, (((file,), False),))

    def file(self, path: Path) -> bytes:
        """The `file_key` of the file that was last known to be at `path`; no bytes for none, and for a directory."""
        node = self.tree.find(path)
        packed = node.packed if node is not None else None
        return file_key(packed) if packed and may_have_several_names(packed) else b""

    def is_of_before(self, number: int, packed: bytes) -> bool:
        """Whether what the feed says under `number` may have been looked up before we changed the file ourselves."""
        if number <= self.told_before:
            return True
        if is_linked(packed):
            return number <= self.linked_since
        return bool(packed) and self.reached.touched((file_key(packed),), number - 1)

    def prune_node(self, node: Node, number: int) -> None:
        """What was below `node` is gone; what is known of a later one of that name stays."""
        for each in subtree(node):
            if each is not node and self.as_of_node(each) <= number:
                self.forget_node(each)

    def forget_node(self, node: Node) -> None:
        """Nothing is known of `node` any more."""
        self.withdraw_node(node)
        self.tree.unlist(node)
        node.forget()

    def is_sure(self, node: Node, now: float, *, trusted: bool) -> bool:
        """Whether the attributes may be shown."""
        return (
            node.generation == self.generation
            and node.until > now
            and (trusted or node.as_of == UNKNOWN)
            and not (node.until <= self.linked_until and node.packed is not None and is_linked(node.packed))
        )

    def knows(self, node: Node, packed: bytes, as_of: int, now: float) -> bool:
        """Whether just this is known already: a listing that came page by page is learnt once more as a whole."""
        known = node.packed == packed and node.as_of == as_of != UNKNOWN
        return known and not is_linked(packed) and self.is_sure(node, now, trusted=True)

    def sure_at(self, path: Path, now: float, *, trusted: bool) -> Node | None:
        """The node of a file that is there for sure."""
        node = self.tree.find(path)
        return node if node is not None and node.packed and self.is_sure(node, now, trusted=trusted) else None

    def complete(self, node: Node, now: float, *, trusted: bool) -> bool:
        """Whether the names that are known in a directory are all, for sure."""
        details = node.details
        return (
            details is not None
            and self.lists(details)
            and details.names_until > now
            and (trusted or details.names_as_of == UNKNOWN)
        )

    def lists(self, details: Details) -> bool:
        """Whether a complete listing is of now, not of before the feed was lost."""
        return details.complete and details.names_generation == self.generation

    def lists_before(self, node: Node, number: int) -> bool:
        """Whether `node` has a complete listing that does not know change `number` yet."""
        details = node.details
        return details is not None and self.lists(details) and details.names_as_of < number

    def older(self, path: Path, as_of: int) -> Node | None:
        """The node whose details may be learnt: they must be no older than its attributes, with which they go."""
        node = self.tree.find(path)
        if node is None or not node.packed or node.generation != self.generation or node.as_of > as_of:
            return None
        return node

    def as_of_node(self, node: Node) -> int:
        """The number as of which the attributes are known, among the numbers that count now."""
        return node.as_of if node.packed is not None and abs(node.generation) >= self.numbered_since else UNKNOWN
