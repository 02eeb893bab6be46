"""What is known of remote names: attributes, listings, link targets, extended attributes, and what is not there. Pure.

The one rule: it never guesses. What is suspect (learnt before the feed was lost, past its time, or covered by a feed
that is not trusted now) says so, and whoever asks must have it verified before it is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final, NamedTuple

from peer.mount.metadata_details import FileDetails
from peer.mount.metadata_facts import BACKSTOP
from peer.mount.metadata_node import (
    ABSENT,
    NEVER,
    UNKNOWN,
    Node,
    is_linked,
    pack,
    unpack,
    verifiable,
)
from peer.mount.metadata_tree import Path, path_of, subtree
from peer.mount.withdrawals import EVERYTHING, Withdrawal
from schema.attributes import FileMetadata
from schema.changes import Change, Changed, Renamed, Swept

DEFAULT_ENTRIES: Final = 500_000


class Known(NamedTuple):
    """Attributes, None for a name that is absent; when `suspect` they are to be verified first."""

    metadata: FileMetadata | None
    suspect: bool


class MetadataCache(FileDetails):
    """A tree of names, bounded by `entries`: what was not used for longest goes. Not thread-safe.

    `now` is a monotonic time: for what is learnt from an answer that of the question. `trusted` is whether the feed is
    trusted at that time.
    """

    def __init__(self, *, ttl: float, backstop: float = BACKSTOP, entries: int = DEFAULT_ENTRIES) -> None:
        super().__init__(ttl=ttl, backstop=backstop, entries=entries)

    def __len__(self) -> int:
        """Names in the tree."""
        return len(self.tree)

    # --- reading

    def metadata(self, path: Path, now: float, *, trusted: bool) -> Known | None:
        """What is known of `path`; also that a complete listing has no such name."""
        node, depth = self.tree.deepest(path)
        if depth == len(path):
            if node.packed is not None:
                node.used = True
                return Known(unpack(node.packed), not self.is_sure(node, now, trusted=trusted))
            depth -= 1
            if node.parent is None:
                return None
            node = node.parent
        if node.packed == ABSENT:
            return Known(None, not self.is_sure(node, now, trusted=trusted))
        if depth == len(path) - 1 and self.complete(node, now, trusted=trusted):
            return Known(None, suspect=False)
        return None

    def listing(
        self, path: Path, now: float, *, trusted: bool, after: bytes = b"", limit: int = sys.maxsize
    ) -> list[tuple[bytes, bytes]] | None:
        """Names in the directory `path` with their attributes packed, by byte order; None unless all of it are sure.

        Those that come after the name `after`, and the first `limit` of them.
        """
        node = self.tree.find(path)
        if node is None or not self.complete(node, now, trusted=trusted):
            return None
        found: list[tuple[bytes, bytes]] = []
        for name, child in sorted((node.children or {}).items()):
            if child.packed is None or not self.is_sure(child, now, trusted=trusted):
                return None
            if child.packed and name > after and len(found) < limit:
                child.used = True
                found.append((name, child.packed))
        return found

    def below(self, path: Path, limit: int) -> tuple[tuple[Path, FileMetadata], ...]:
        """Up to `limit` files that were last seen below `path`, each before the directory that it is in."""
        node = self.tree.find(path)
        if node is None or not node.children:
            return ()
        found: list[tuple[Path, FileMetadata]] = []
        for each in subtree(node):
            metadata = unpack(each.packed) if each.packed and each is not node else None
            if metadata is not None:
                found.append((path_of(each), metadata))
                if len(found) == limit:
                    break
        return tuple(reversed(found))

    def as_of(self, path: Path) -> int:
        """The number as of which the attributes of `path` are known."""
        node = self.tree.find(path)
        return self.as_of_node(node) if node is not None else UNKNOWN

    def vouches(self, path: Path, metadata: FileMetadata | None, now: float) -> bool:
        """Whether a trusted feed tells of each change of what was just said of `path` (None: that it is absent).

        A name that a complete listing does not have is remembered from now on.
        """
        node, depth = self.tree.deepest(path)
        if depth == len(path) - 1 and metadata is None and node.packed != ABSENT and node.details is not None:
            if not self.complete(node, now, trusted=True):
                return False
            self.keep(path, None, node.details.names_as_of, now)
            node = self.tree.make(path)
        elif depth < len(path):
            return False
        packed, node.used = node.packed, True
        same = packed is not None and packed == pack(metadata) and not is_linked(packed)
        return same and node.as_of != UNKNOWN and self.is_sure(node, now, trusted=True)

    # --- learning from answers; `as_of` is the number that the feed had reached before the agent looked, or UNKNOWN

    def keep(self, path: Path, metadata: FileMetadata | None, as_of: int, now: float) -> None:
        """Learn attributes, unless what is known is newer."""
        packed = pack(metadata)
        if packed is None:
            self.doubt(path)
            return
        node = self.tree.make(path)
        if self.knows(node, packed, as_of, now):
            return
        if self.as_of_node(node) <= as_of or node.until <= now:
            self.learn_node(node, packed, as_of, now)
        elif as_of == UNKNOWN and verifiable(node.packed or ABSENT) != verifiable(packed):
            # Which of the two is newer, nobody can say; but it was seen, and may not seem to go back.
            self.doubt_node(node, UNKNOWN)

    def contradict(self, path: Path, entries: Iterable[tuple[bytes, FileMetadata]], as_of: int) -> None:
        """A directory was seen to hold `entries` and nothing else, and it is not known when: doubt what says otherwise.

        The feed had reached `as_of` before it was seen.
        """
        node = self.tree.find(path)
        if node is None:
            return
        seen = {name: verifiable(pack(metadata) or ABSENT) for name, metadata in entries}
        for name, child in list((node.children or {}).items()):
            if child.packed is not None and verifiable(child.packed) != seen.get(name, ABSENT):
                self.doubt_node(child, as_of)
        listed = {name for name, child in (node.children or {}).items() if child.packed}
        if node.details is not None and not listed.issuperset(seen):
            node.details.complete = False

    def keep_listing(self, path: Path, entries: Iterable[tuple[bytes, FileMetadata]], as_of: int, now: float) -> None:
        """Learn all names in a directory."""
        node = self.tree.make(path)
        if node.details is not None and self.lists(node.details) and node.details.names_as_of > as_of:
            return
        self._keep_all(path, entries, set(), as_of, now)

    def keep_names(self, path: Path, entries: Iterable[tuple[bytes, FileMetadata]], as_of: int, now: float) -> None:
        """Learn some of the names in a directory."""
        for name, metadata in entries:
            self.keep((*path, name), metadata, as_of, now)

    def confirm(self, path: Path, packed: bytes, as_of: int, now: float) -> None:
        """The attributes of `path`, which were known to be `packed`, are so still."""
        node = self.tree.find(path)
        if node is None or node.packed is None or (not packed and as_of == UNKNOWN) or self.as_of_node(node) > as_of:
            return
        if verifiable(node.packed) == verifiable(packed):
            self.learn_node(node, node.packed, as_of, now)

    def confirm_listing(
        self, path: Path, appeared: Iterable[tuple[bytes, FileMetadata]], as_of: int, now: float
    ) -> None:
        """The names in a directory that were all, when that was known last, are so again together with `appeared`."""
        node = self.tree.find(path)
        if node is None or node.details is None or not node.details.complete or self.lists(node.details):
            return
        listed = {name for name, child in (node.children or {}).items() if child.packed}
        self._keep_all(path, appeared, listed, as_of, now)

    # --- changes

    def apply(self, number: int, change: Change, now: float) -> None:
        """A change of the feed; in order."""
        if not isinstance(change, Swept):
            there = change.destination if isinstance(change, Renamed) else change.path
            self.file_told(number, there, pack(change.metadata) or ABSENT)
        if isinstance(change, Renamed):
            self._rename(number, change, now)
        elif isinstance(change, Changed):
            known = self.tree.find(change.path)
            if change.metadata is not None and known is not None and known.packed not in {None, ABSENT}:
                # It may show nothing of a write: answers may have had the times of one that was under way.
                self.withdraw(change.path, Withdrawal.PAGES)
            self._change(number, change.path, change.metadata, now)
        else:
            self._sweep(change.path, number)

    def doubt_everything(self, *, same_numbers: bool = False, told_before: int | None = None) -> None:
        """The feed was lost: all that is known is suspect from now on.

        Numbers begin anew, unless they are the `same_numbers`: then a fact is still newer than the changes before it.
        What is told up to the number `told_before` may be of before changes of our own, nobody knows which.
        """
        self.generation += 1
        if not same_numbers:
            self.told_before = UNKNOWN
            self.numbered_since = self.generation
            self.linked_since = UNKNOWN
            self.linked.clear(floor=0)
            self.reached.clear(floor=0)
            self.reached_until = UNKNOWN
        if told_before is not None:
            self.told_before = max(self.told_before, told_before)

    def doubt(self, path: Path, as_of: int = UNKNOWN) -> None:
        """The file `path` was changed, made or removed by ourselves, and it is not known what it looks like now.

        The feed had reached `as_of` before: changes up to there tell of it as it was.
        """
        node, depth = self.tree.deepest(path)
        if depth == len(path):
            self.doubt_node(node, as_of)
            if node.packed is not None or node.parent is None:
                return
            node, depth = node.parent, depth - 1
        if node.packed == ABSENT:
            self.withdraw_node(node)
            node.generation = NEVER
        elif depth == len(path) - 1 and node.details is not None:
            node.details.complete = False

    def doubt_linked(self, now: float, as_of: int = UNKNOWN) -> None:
        """A file that may have several names was changed by ourselves: what is known by its other names is suspect.

        As for `doubt`, so is what changes up to `as_of` tell of it.
        """
        self.linked_until = now + self.ttl
        self.linked_since = max(as_of, self.linked_since)

    def forget(self, path: Path, as_of: int = UNKNOWN) -> None:
        """As `doubt`, for `path` and all that is below it."""
        found = self.tree.find(path)
        if found is None:
            self.doubt(path, as_of)
            return
        for each in subtree(found):
            self.forget_node(each)

    # --- inside

    def _change(self, number: int, path: Path, metadata: FileMetadata | None, now: float) -> None:
        node, depth = self.tree.deepest(path)
        if depth < len(path):
            # Nothing is known of it; only a complete listing must hear of a new name.
            self.withdraw(path, EVERYTHING)
            if depth < len(path) - 1 or not self.lists_before(node, number):
                return
            node = self.tree.make(path)
        elif node.packed is None and not (node.parent and self.lists_before(node.parent, number)):
            self.withdraw(path, EVERYTHING)
            if metadata is None:
                self._emptied(node, number)
            return
        if metadata is None:
            self._emptied(node, number)
        if self.as_of_node(node) < number:
            packed = pack(metadata)
            if packed is None:
                self.doubt(path)
                return
            self.learn_node(node, packed, number, now)
            if node.details is not None:
                node.details.changed()
            if self.is_of_before(number, packed):
                self.doubt_node(node, number)

    def _rename(self, number: int, change: Renamed, now: float) -> None:
        """What is known below either name goes; it cannot be moved along.

        The agent hears of a rename a little after it was done. What it looked up in between is as of an earlier number
        and yet tells of the new file at the old name, or of the old file at the new one.
        """
        for path in (change.source, change.destination):
            found = self.tree.find(path)
            if found is not None:
                self._emptied(found, number)
                if self.as_of_node(found) < number:
                    found.details = None
        self._change(number, change.destination, change.metadata, now)
        self._change(number, change.source, None, now)

    def _emptied(self, node: Node, number: int) -> None:
        """Another directory is at `node` since the change `number`, or none; its attributes may be known already."""
        self.prune_node(node, number)
        if node.details is not None and node.details.names_as_of < number:
            node.details.complete = False

    def _sweep(self, path: Path, number: int) -> None:
        node, depth = self.tree.deepest(path)
        if depth < len(path):
            if node.packed == ABSENT and self.as_of_node(node) < number:
                self.withdraw_node(node)
                node.generation = NEVER
            elif depth == len(path) - 1 and self.lists_before(node, number) and node.details is not None:
                node.details.complete = False
            return
        for each in subtree(node):
            if self.as_of_node(each) < number:
                self.withdraw_node(each, EVERYTHING)
                each.generation = NEVER
                each.details = None
            elif each.details is not None and each.details.names_as_of < number:
                each.details = None

    def _keep_all(
        self, path: Path, entries: Iterable[tuple[bytes, FileMetadata]], listed: set[bytes], as_of: int, now: float
    ) -> None:
        """Learn that `entries` and the names `listed` are all in the directory `path`."""
        node = self.tree.make(path)
        for name, metadata in entries:
            listed.add(name)
            self.keep((*path, name), metadata, as_of, now)
        for name, other in list((node.children or {}).items()):
            if name not in listed and self.as_of_node(other) <= as_of:
                self.learn_node(other, ABSENT, as_of, now)
        details = node.more(self.generation)
        # Of a very large directory, the first are gone again by now.
        details.complete = all((child := node.child(name)) is not None and child.packed for name in listed)
        details.names_generation = self.generation
        details.names_as_of = as_of
        details.names_until = now + (self.ttl if as_of == UNKNOWN else self.backstop)
