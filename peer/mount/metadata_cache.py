"""What is known of remote names: attributes, listings, link targets, extended attributes, and what is not there. Pure.

The one rule: it never guesses. What is suspect (learnt before the feed was lost, past its time, or covered by a feed
that is not trusted now) says so, and whoever asks must have it verified before it is shown.

A fact that the feed covers carries the number that it is as of. A fact that no feed covers (`UNKNOWN`), and that of a
file with more than one name, lives for `ttl` seconds; everything else for `BACKSTOP` seconds, since inotify(7) does
not tell of all that can happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from peer.mount.metadata_node import ABSENT, NEVER, UNKNOWN, Node, is_linked, is_single, pack, same_file, unpack
from peer.mount.metadata_tree import Path, Tree, subtree
from schema.attributes import FileMetadata
from schema.changes import Change, Changed, Renamed

DEFAULT_ENTRIES: Final = 500_000
BACKSTOP: Final = 3600.0
"""Seconds after which even what a feed covers is verified."""
_XATTRS: Final = 8
"""Extended attributes of one file that are kept."""
_XATTR_BYTES: Final = 1024
"""Bytes of one value, or of all names of a file, that are kept."""


class Known(NamedTuple):
    """Attributes, None for a name that is absent; when `suspect` they are to be verified first."""

    metadata: FileMetadata | None
    suspect: bool


class MetadataCache:
    """A tree of names, bounded by `entries`: what was not used for longest goes. Not thread-safe.

    `now` is a monotonic time; `trusted` is whether the feed is trusted at that time.
    """

    def __init__(self, *, ttl: float, entries: int = DEFAULT_ENTRIES) -> None:
        self._ttl = ttl
        self._tree = Tree(entries)
        self._generation = NEVER + 1
        self._linked_until = 0.0
        """Facts of files with several names that end by then were learnt before one of those changed."""

    def __len__(self) -> int:
        """Names in the tree."""
        return len(self._tree)

    # --- reading

    def metadata(self, path: Path, now: float, *, trusted: bool) -> Known | None:
        """What is known of `path`; also that a complete listing has no such name."""
        node, depth = self._tree.deepest(path)
        if depth == len(path):
            if node.packed is not None:
                node.used = True
                return Known(unpack(node.packed), not self._sure(node, now, trusted=trusted))
            depth -= 1
            if node.parent is None:
                return None
            node = node.parent
        if node.packed == ABSENT:
            return Known(None, not self._sure(node, now, trusted=trusted))
        if depth == len(path) - 1 and self._complete(node, now, trusted=trusted):
            return Known(None, suspect=False)
        return None

    def listing(self, path: Path, now: float, *, trusted: bool) -> list[tuple[bytes, FileMetadata]] | None:
        """All names in the directory `path` with their attributes, by byte order; None unless all are sure."""
        node = self._tree.find(path)
        if node is None or not self._complete(node, now, trusted=trusted):
            return None
        found: list[tuple[bytes, FileMetadata]] = []
        for name, child in sorted((node.children or {}).items()):
            if child.packed is None or not self._sure(child, now, trusted=trusted):
                return None
            metadata = unpack(child.packed)
            if metadata is not None:
                child.used = True
                found.append((name, metadata))
        return found

    def target(self, path: Path, now: float, *, trusted: bool) -> bytes | None:
        """The target of the symbolic link `path`, where it is sure."""
        node = self._sure_node(path, now, trusted=trusted)
        return node.more(self._generation).target if node is not None else None

    def xattr(self, path: Path, name: bytes, now: float, *, trusted: bool) -> tuple[bytes | None] | None:
        """The value of an extended attribute in a tuple of one, ``(None,)`` when it is absent; None when not sure."""
        node = self._sure_node(path, now, trusted=trusted)
        if node is None:
            return None
        known = node.more(self._generation)
        if known.xattrs is not None and name in known.xattrs:
            return (known.xattrs[name],)
        return (None,) if known.xattr_names is not None and name not in known.xattr_names else None

    def xattr_names(self, path: Path, now: float, *, trusted: bool) -> tuple[bytes, ...] | None:
        """The names of all extended attributes, where they are sure."""
        node = self._sure_node(path, now, trusted=trusted)
        return node.more(self._generation).xattr_names if node is not None else None

    def as_of(self, path: Path) -> int:
        """The number as of which the attributes of `path` are known."""
        node = self._tree.find(path)
        return self._as_of(node) if node is not None else UNKNOWN

    def suspects_in(self, path: Path, now: float, limit: int) -> list[Path]:
        """Up to `limit` names in the directory `path` that want verifying even while the feed is trusted."""
        node = self._tree.find(path)
        children = (node.children or {}) if node is not None else {}
        wanting = (
            name for name, child in children.items() if child.packed and not self._sure(child, now, trusted=True)
        )
        return [(*path, name) for name, _ in zip(wanting, range(limit), strict=False)]

    # --- learning from answers; `as_of` is the number that the feed had reached before the agent looked, or UNKNOWN

    def keep(self, path: Path, metadata: FileMetadata | None, as_of: int, now: float) -> None:
        """Learn attributes, unless what is known is newer."""
        packed = pack(metadata)
        if packed is None:
            self.doubt(path)
            return
        node = self._tree.make(path)
        if self._as_of(node) <= as_of or node.until <= now:
            self._learn(node, packed, as_of, now)

    def keep_listing(self, path: Path, entries: Iterable[tuple[bytes, FileMetadata]], as_of: int, now: float) -> None:
        """Learn all names in a directory."""
        node = self._tree.make(path)
        details = node.more(self._generation)
        if details.complete and details.names_as_of > as_of:
            return
        listed = set()
        for name, metadata in entries:
            listed.add(name)
            self.keep((*path, name), metadata, as_of, now)
        for name, other in list((node.children or {}).items()):
            if name not in listed and self._as_of(other) <= as_of:
                self._learn(other, ABSENT, as_of, now)
        details = node.more(self._generation)
        # Of a very large directory, the first are gone again by now.
        details.complete = all((child := node.child(name)) is not None and child.packed for name in listed)
        details.names_as_of = as_of
        details.names_until = now + (self._ttl if as_of == UNKNOWN else BACKSTOP)

    def keep_target(self, path: Path, target: bytes, as_of: int) -> None:
        """Learn a link's target."""
        node = self._older(path, as_of)
        if node is not None:
            node.more(self._generation).target = target

    def keep_xattr(self, path: Path, name: bytes, value: bytes | None, as_of: int) -> None:
        """Learn the value of an extended attribute, or that it is absent."""
        node = self._older(path, as_of)
        if node is None or len(value or b"") > _XATTR_BYTES:
            return
        details = node.more(self._generation)
        if len(details.xattrs or ()) < _XATTRS:
            details.xattrs = {**(details.xattrs or {}), name: value}

    def keep_xattr_names(self, path: Path, names: tuple[bytes, ...], as_of: int) -> None:
        """Learn the names of all extended attributes."""
        node = self._older(path, as_of)
        if node is not None and sum(map(len, names)) <= _XATTR_BYTES:
            node.more(self._generation).xattr_names = names

    # --- changes

    def apply(self, number: int, change: Change, now: float) -> None:
        """A change of the feed; in order."""
        if isinstance(change, Renamed):
            self._rename(number, change, now)
        elif isinstance(change, Changed):
            self._change(number, change.path, change.metadata, now)
        else:
            self._sweep(change.path, number)

    def doubt_everything(self) -> None:
        """The feed was lost, and numbers begin anew: all that is known is suspect from now on."""
        self._generation += 1

    def doubt(self, path: Path, as_of: int = UNKNOWN) -> None:
        """The file `path` was changed, made or removed by ourselves, and it is not known what it looks like now.

        The feed had reached `as_of` before: changes up to there tell of it as it was.
        """
        node, depth = self._tree.deepest(path)
        if depth == len(path):
            self._doubt(node, as_of)
            if node.packed is None:
                node.forget()
        elif node.packed == ABSENT:
            node.generation = NEVER
        elif depth == len(path) - 1 and node.details is not None:
            node.details.complete = False

    def doubt_file(self, metadata: FileMetadata, as_of: int) -> None:
        """A file is as `metadata` says since we changed it by its handle; its name may be another one by now."""
        packed = pack(metadata)
        node = self._tree.file(packed) if packed else None
        if node is not None and node.packed and unpack(node.packed) != metadata:
            self._doubt(node, as_of)

    def doubt_linked(self, now: float) -> None:
        """A file with several names was changed by ourselves: what is known by its other names is suspect."""
        self._linked_until = now + self._ttl

    def forget(self, path: Path, as_of: int = UNKNOWN) -> None:
        """As `doubt`, for `path` and all that is below it."""
        found = self._tree.find(path)
        if found is None:
            self.doubt(path, as_of)
            return
        for each in subtree(found):
            self._tree.unlist(each)
            each.forget()

    # --- inside

    def _doubt(self, node: Node, as_of: int) -> None:
        node.as_of = max(as_of, self._as_of(node))
        node.generation = NEVER if node.as_of == UNKNOWN else -self._generation
        if node.details is not None:
            node.details.changed()

    def _change(self, number: int, path: Path, metadata: FileMetadata | None, now: float) -> None:
        node, depth = self._tree.deepest(path)
        if depth < len(path):
            # Nothing is known of it; only a complete listing must hear of a new name.
            if depth < len(path) - 1 or not self._lists_before(node, number):
                return
            node = self._tree.make(path)
        elif node.packed is None and not (node.parent and self._lists_before(node.parent, number)):
            if metadata is None:
                self._prune(node, number)
            return
        if self._as_of(node) < number:
            packed = pack(metadata)
            if packed is None:
                self.doubt(path)
                return
            self._learn(node, packed, number, now)
            if node.details is not None:
                node.details.changed()

    def _rename(self, number: int, change: Renamed, now: float) -> None:
        """What is known below either name goes; it cannot be moved along.

        The agent hears of a rename a little after it was done. What it looked up in between is as of an earlier number
        and yet tells of the new file at the old name, or of the old file at the new one.
        """
        for path in (change.source, change.destination):
            found = self._tree.find(path)
            if found is not None:
                self._prune(found, number)
                if self._as_of(found) < number:
                    found.details = None
        self._change(number, change.destination, change.metadata, now)
        self._change(number, change.source, None, now)

    def _sweep(self, path: Path, number: int) -> None:
        node, depth = self._tree.deepest(path)
        if depth < len(path):
            if node.packed == ABSENT and self._as_of(node) < number:
                node.generation = NEVER
            elif depth == len(path) - 1 and self._lists_before(node, number) and node.details is not None:
                node.details.complete = False
            return
        for each in subtree(node):
            if self._as_of(each) < number:
                each.generation = NEVER
                each.details = None
            elif each.details is not None and each.details.names_as_of < number:
                each.details = None

    def _learn(self, node: Node, packed: bytes, as_of: int, now: float) -> None:
        before = node.packed
        if before is not None and not same_file(before, packed):
            self._prune(node, as_of)
        self._tree.unlist(node)
        linked = is_linked(packed)
        lifetime = self._ttl if linked or as_of == UNKNOWN else BACKSTOP
        node.learn(packed, as_of, self._generation, now + lifetime)
        if linked:
            # Changes may be told of under this name only, from now on.
            other = self._tree.unlist_file(packed)
            if other is not None:
                other.generation = NEVER
        elif is_single(packed):
            other = self._tree.file(packed)
            if other is not None and other is not node:
                self._doubt(other, UNKNOWN)  # it cannot have both names
            self._tree.enlist(node)

    def _prune(self, node: Node, number: int) -> None:
        """What was below `node` is gone; what is known of a later one of that name stays."""
        for each in subtree(node):
            if each is not node and self._as_of(each) <= number:
                self._tree.unlist(each)
                each.forget()

    def _sure(self, node: Node, now: float, *, trusted: bool) -> bool:
        return (
            node.generation == self._generation
            and node.until > now
            and (trusted or node.as_of == UNKNOWN)
            and not (node.until <= self._linked_until and node.packed is not None and is_linked(node.packed))
        )

    def _sure_node(self, path: Path, now: float, *, trusted: bool) -> Node | None:
        node = self._tree.find(path)
        return node if node is not None and node.packed and self._sure(node, now, trusted=trusted) else None

    def _complete(self, node: Node, now: float, *, trusted: bool) -> bool:
        details = node.details
        return (
            details is not None
            and details.complete
            and details.generation == self._generation
            and details.names_until > now
            and (trusted or details.names_as_of == UNKNOWN)
        )

    def _lists_before(self, node: Node, number: int) -> bool:
        """Whether `node` has a complete listing that does not know change `number` yet."""
        details = node.details
        return (
            details is not None
            and details.complete
            and details.generation == self._generation
            and details.names_as_of < number
        )

    def _older(self, path: Path, as_of: int) -> Node | None:
        """The node whose details may be learnt: they must be no older than its attributes, with which they go."""
        node = self._tree.find(path)
        if node is None or not node.packed or node.generation != self._generation or node.as_of > as_of:
            return None
        return node

    def _as_of(self, node: Node) -> int:
        return node.as_of if node.packed is not None and abs(node.generation) == self._generation else UNKNOWN
