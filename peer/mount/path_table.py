"""Which path each of a set of things has now, kept true while we rename and remove.

The one rule: it hears only of changes made through this mount. A path that another machine renamed is found out by the
operation that fails.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from schema.paths import RelativePath

K = TypeVar("K")


def moved_path(path: RelativePath, source: RelativePath, destination: RelativePath) -> RelativePath | None:
    """Where `path` is after `source` became `destination`; None when it was neither `source` nor below it."""
    return destination + path[len(source) :] if path[: len(source)] == source else None


class PathTable(Generic[K]):
    """Keys by path and paths by key. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[K, RelativePath] = {}
        self._keys: dict[RelativePath, set[K]] = {}

    def add(self, key: K, path: RelativePath) -> None:
        """Enter `key` at `path`."""
        with self._lock:
            self._enter(key, path)

    def discard(self, key: K) -> None:
        """Forget `key`, if it is here."""
        with self._lock:
            self._leave(key)

    def path(self, key: K) -> RelativePath | None:
        """Where `key` is; None when it is nowhere, be it that its name was removed."""
        return self._paths.get(key)

    def at(self, path: RelativePath) -> frozenset[K]:
        """The keys at `path`."""
        if path not in self._keys:
            return frozenset()
        with self._lock:
            return frozenset(self._keys.get(path, ()))

    def paths(self) -> list[RelativePath]:
        """All paths at which anything is."""
        with self._lock:
            return list(self._keys)

    def forget(self, path: RelativePath) -> frozenset[K]:
        """The name `path` was removed: its keys, which are nowhere from now on."""
        with self._lock:
            keys = frozenset(self._keys.get(path, ()))
            for key in keys:
                self._leave(key)
            return keys

    def move(self, source: RelativePath, destination: RelativePath) -> None:
        """`source` was renamed to `destination`, with all that is below it."""
        if not self._paths:
            return
        with self._lock:
            self._move(source, destination)

    def exchange(self, one: RelativePath, other: RelativePath) -> None:
        """`one` and `other` changed places, with all that is below them."""
        if not self._paths:
            return
        with self._lock:
            aside = (b"/",)
            self._move(one, aside)
            self._move(other, one)
            self._move(aside, other)

    def _move(self, source: RelativePath, destination: RelativePath) -> None:
        moved = [(key, now) for key, path in self._paths.items() if (now := moved_path(path, source, destination))]
        for key, now in moved:
            self._leave(key)
            self._enter(key, now)

    def _enter(self, key: K, path: RelativePath) -> None:
        self._paths[key] = path
        self._keys.setdefault(path, set()).add(key)

    def _leave(self, key: K) -> None:
        path = self._paths.pop(key, None)
        if path is None:
            return
        keys = self._keys[path]
        keys.discard(key)
        if not keys:
            del self._keys[path]
