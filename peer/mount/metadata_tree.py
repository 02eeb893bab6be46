"""The names of the metadata cache as a tree, and which of them go when there are too many. Pure.

The one rule: every node of the tree is in the clock's queue exactly once, so none is beyond the bound, and none that
was cut off the tree stays for good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from peer.mount.metadata_node import Node, file_key

Path = tuple[bytes, ...]


class Tree:
    """Nodes by path, at most `entries` of them: what was not used since the clock's hand passed it last goes.

    `evicting` hears of each before it does.
    """

    def __init__(self, entries: int, evicting: Callable[[Node], None]) -> None:
        self._entries = entries
        self._evicting = evicting
        self._root = Node(b"", None)
        self._clock: deque[Node] = deque()
        self._files: dict[bytes, Node] = {}
        self._more: dict[bytes, set[Node]] = {}
        """Further names of those files that have several here."""

    def __len__(self) -> int:
        return len(self._clock)

    def deepest(self, path: Path) -> tuple[Node, int]:
        """The node nearest to `path`, and how many names down it is."""
        node = self._root
        for depth, name in enumerate(path):
            children = node.children  # not by `child`: nothing here is done as often
            child = children.get(name) if children is not None else None
            if child is None:
                return node, depth
            node = child
        return node, len(path)

    def find(self, path: Path) -> Node | None:
        """The node of `path`."""
        node, depth = self.deepest(path)
        return node if depth == len(path) else None

    def make(self, path: Path) -> Node:
        """The node of `path`, made with those above it where there is none."""
        node, depth = self.deepest(path)
        for name in path[depth:]:
            below = Node(name, node)
            _children(node)[name] = below
            below.used = True  # until whoever makes it has said what it is for
            self._queue(below)
            node = below
        return node

    def nodes(self) -> list[Node]:
        """All nodes, as of now."""
        return list(self._clock)

    def enlist(self, node: Node) -> None:
        """`node` is a name of its file, and says of it what all say that are enlisted."""
        if node.packed:
            key = file_key(node.packed)
            if self._files.setdefault(key, node) is not node:
                self._more.setdefault(key, set()).add(node)

    def unlist(self, node: Node) -> None:
        """Undo `enlist`."""
        if not node.packed:
            return
        key = file_key(node.packed)
        more = self._more.get(key, set())
        more.discard(node)
        if self._files.get(key) is node:
            del self._files[key]
            if more:
                self._files[key] = more.pop()
        if not more:
            self._more.pop(key, None)

    def file(self, key: bytes) -> Node | None:
        """One of the nodes that are enlisted as names of the file with this `file_key`."""
        return self._files.get(key)

    def unlist_file(self, key: bytes) -> list[Node]:
        """The nodes that were enlisted as names of the file; none is any more."""
        first = self._files.pop(key, None)
        return [] if first is None else [first, *self._more.pop(key, ())]

    def _queue(self, node: Node) -> None:
        self._clock.append(node)
        while len(self._clock) > self._entries:
            self._evict()

    def _evict(self) -> None:
        """Drop one node that has no others below it, and what is known of those that are passed by."""
        while True:
            node = self._clock.popleft()
            if node.used:
                node.used = False
                self._clock.append(node)
                continue
            attached = node.parent is not None and node.parent.child(node.name) is node
            if attached:
                self._evicting(node)
            self.unlist(node)
            node.forget()
            if node.children:
                self._clock.append(node)
                continue
            if attached and node.parent is not None:
                del _children(node.parent)[node.name]
            return


def path_of(node: Node) -> Path:
    """Where `node` is in its tree, or was when it was cut off."""
    names: list[bytes] = []
    while node.parent is not None:
        names.append(node.name)
        node = node.parent
    return tuple(reversed(names))


def directories(nodes: list[Node]) -> list[tuple[Path, list[bytes]]]:
    """`nodes` by the directory that they are in, the deepest first."""
    found: dict[Node, list[bytes]] = {}
    for node in nodes:
        if node.parent is not None:
            found.setdefault(node.parent, []).append(node.name)
    return sorted(((path_of(parent), names) for parent, names in found.items()), key=lambda each: -len(each[0]))


def subtree(node: Node) -> Iterator[Node]:
    """`node` and all below it; the tree may not change meanwhile, what is known may."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        if each.children:
            waiting.extend(each.children.values())


def _children(node: Node) -> dict[bytes, Node]:
    if node.children is None:
        node.children = {}
    return node.children
