"""What the kernel remembers of the mount, and how it is made to forget.

The one rule: no thread that answers a callback notifies the kernel itself, or waits for a notification without a
deadline. A notification may need what the callback's own system call holds: the directory's lock for an entry, a page's
lock for a file's pages, and for any of them an inode that is on its way out and being written back.

Two threads, so that what must not wait does not stand behind what may:

* ``attributes``: drops attributes only, which takes no lock (fuse_reverse_inval_inode with a negative offset);
* ``pages``: pages, entries, and the walks that learn node ids.

Paths are the agent's.
"""

from __future__ import annotations

import errno
import logging
from typing import Final, Protocol

from peer.mount.aliases import Alias, Aliases
from peer.mount.node_ids import NodeIds
from peer.mount.notification_lane import Job, NotificationLane
from peer.mount.shown_versions import ShownVersions
from schema.attributes import FileMetadata
from schema.paths import RelativePath

log = logging.getLogger(__name__)

_CAPACITY: Final = 8192
"""Notifications that may be waiting, a lane."""
_ALIAS_DEADLINE: Final = 0.25
"""Seconds that an operation on a hard-linked file waits for the attributes of its other names to be dropped."""
_OPEN_DEADLINE: Final = 0.25
"""Seconds that opening a file which has changed waits for the attributes that the kernel holds of it to be dropped."""
_LOCK_DEADLINE: Final = 1.0
"""Seconds that taking a lock waits for the file's pages to be dropped."""
_POST_DEADLINE: Final = 1.0
"""Seconds that the change feed waits for room."""
_STOP_DEADLINE: Final = 2.0


class Notifier(Protocol):
    """What libfuse can be asked; see `fuse_binding.Session`. Each answers 0 or an errno."""

    def forget_attributes(self, node: int) -> int: ...
    def forget_file(self, node: int) -> int: ...
    def forget_entry(self, parent: int, name: bytes) -> int: ...


class KernelCache:
    """The notification room of one mount."""

    def __init__(self, notifier: Notifier, nodes: NodeIds) -> None:
        self._notifier = notifier
        self._nodes = nodes
        self._aliases = Aliases()
        self._shown = ShownVersions()
        self._attributes = NotificationLane("kernel-attributes", _CAPACITY)
        self._pages = NotificationLane("kernel-pages", _CAPACITY)

    def begin(self) -> None:
        """Start the threads; the mount is up."""
        self._attributes.start()
        self._pages.start()

    def end(self) -> None:
        """Stop the threads; the mount is going down."""
        self._attributes.stop(_STOP_DEADLINE)
        self._pages.stop(_STOP_DEADLINE)

    # For the change feed, from any thread that answers no callback.

    def invalidate_file(self, path: RelativePath) -> bool:
        """Have the kernel forget attributes and pages of `path`, soon. False, and logged, when there is no room."""
        return self._post(lambda: self._forget_file(path), path)

    def invalidate_entry(self, parent: RelativePath, name: bytes) -> bool:
        """Have the kernel forget what `name` is in `parent`, or that it is nothing, soon. As `invalidate_file`."""
        return self._post(lambda: self._forget_entry(parent, name), (*parent, name))

    def _post(self, job: Job, path: RelativePath) -> bool:
        posted = self._pages.post(job, _POST_DEADLINE)
        if not posted:
            log.warning("the kernel takes no notifications: %r may be seen as it was until it expires", path)
        return posted

    # For the operations, on the threads of callbacks.

    def revalidate(self, path: RelativePath) -> None:
        """Have the kernel forget attributes and pages of `path` before this returns, for a lock was taken on it."""
        self._pages.wait_for(lambda: self._forget_file(path), _LOCK_DEADLINE)

    def observe(self, path: RelativePath, metadata: FileMetadata) -> None:
        """`path` was seen with `metadata`, and the kernel is told so."""
        self._shown.show(path, metadata)
        alias = self._aliases.observe(path, metadata)
        if alias is not None:
            self._pages.post(lambda: self._learn(alias))

    def opened(self, path: RelativePath, metadata: FileMetadata) -> None:
        """`path` was opened and has `metadata`: attributes of another version expire before this returns.

        The kernel drops a file's pages when it is opened, but reads no further than the size that it believes in.
        """
        if self._shown.is_shown(path, metadata):
            return
        node: int | None = None

        def forget(*, cached_only: bool) -> None:
            nonlocal node
            node = self._nodes.of(path, cached_only=cached_only)
            if node is not None:
                self._notifier.forget_attributes(node)

        self._attributes.wait_for(lambda: forget(cached_only=True), _OPEN_DEADLINE)
        if node is None:
            # The name has expired by now, its attributes may have not: the walk asks us for both.
            self._pages.wait_for(lambda: forget(cached_only=False), _OPEN_DEADLINE)

    def changed(self, metadata: FileMetadata, path: RelativePath | None, *, data: bool = False) -> None:
        """A file was changed through `path` and has `metadata` now: its other names' attributes expire first.

        With `data` their pages are dropped too, soon.
        """
        self._expire(self._aliases.others((metadata.volume, metadata.inode), path), data=data)

    def removed(self, path: RelativePath) -> None:
        """`path` was removed: the file's other names have one link less."""
        self._expire(self._aliases.remove(path))

    def moved(self, source: RelativePath, destination: RelativePath) -> None:
        """`source` was renamed to `destination`, which it replaced if that was there."""
        replaced = self._aliases.remove(destination)
        file = self._aliases.file_at(source)
        self._aliases.move(source, destination)
        self._expire((*replaced, *(() if file is None else self._aliases.others(file, destination))))

    def exchanged(self, one: RelativePath, other: RelativePath) -> None:
        """`one` and `other` changed places."""
        aside = (b"/",)
        for source, destination in ((one, aside), (other, one), (aside, other)):
            self._aliases.move(source, destination)

    def _expire(self, aliases: tuple[Alias, ...], *, data: bool = False) -> None:
        if not aliases:
            return

        def attributes() -> None:
            for alias in aliases:
                self._forget_attributes(alias)

        def pages() -> None:
            for alias in aliases:
                if alias.node is not None:
                    self._notifier.forget_file(alias.node)

        self._attributes.wait_for(attributes, _ALIAS_DEADLINE)
        if data:
            self._pages.post(pages)

    # On the threads of this room.

    def _forget_attributes(self, alias: Alias) -> None:
        if alias.node is not None and self._notifier.forget_attributes(alias.node) != errno.ENOENT:
            return
        # Not known yet, or the kernel made the inode anew since. A walk in memory finds it if the name is in use.
        alias.node = self._nodes.of(alias.path, cached_only=True)
        if alias.node is None:
            self._pages.post(lambda: self._learn(alias))
        else:
            self._notifier.forget_attributes(alias.node)

    def _learn(self, alias: Alias) -> None:
        alias.node = self._nodes.of(alias.path, cached_only=False)
        if alias.node is not None:
            # It may have changed before we knew where to say so.
            self._notifier.forget_attributes(alias.node)

    def _forget_file(self, path: RelativePath) -> None:
        node = self._nodes.of(path, cached_only=True) or self._nodes.of(path, cached_only=False)
        if node is not None:
            self._notifier.forget_file(node)

    def _forget_entry(self, parent: RelativePath, name: bytes) -> None:
        node = self._nodes.of(parent, cached_only=True) or self._nodes.of(parent, cached_only=False)
        if node is not None:
            self._notifier.forget_entry(node, name)
