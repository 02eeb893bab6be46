"""What the kernel remembers of the mount, and how it is made to forget.

The one rule: no thread that answers a callback notifies the kernel itself, or waits for a notification without a
deadline. A notification may need what the callback's own system call holds: the directory's lock for an entry, a page's
lock for a file's pages, and for any of them an inode that is on its way out and being written back.

Several threads, so that what must not wait does not stand behind what may:

* ``attributes``: drops attributes only, which takes no lock (fuse_reverse_inval_inode with a negative offset);
* ``pages``: pages for callbacks that wait for it, and the walks that learn node ids;
* ``names``: pages and entries, each directory on one of several, since a lookup or a change that goes on in a directory
  holds up whoever has something to say of its names.

Paths are the agent's. What is said, and when, is the business of `kernel_belief`.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from peer.mount.aliases import Alias, Aliases
from peer.mount.held_listings import HeldListings
from peer.mount.node_ids import NodeIds
from peer.mount.notification_lane import NotificationLane
from peer.mount.path_table import PathTable
from peer.mount.shown_versions import ShownVersions
from peer.mount.touched_directories import TouchedDirectories
from peer.mount.withdrawals import NAMES, Withdrawal
from schema.attributes import FileMetadata
from schema.paths import RelativePath

_CAPACITY: Final = 8192
"""Notifications that may be waiting, a lane."""
_ALIAS_DEADLINE: Final = 0.25
"""Seconds that an operation on a hard-linked file waits for the attributes of its other names to be dropped."""
_OPEN_DEADLINE: Final = 0.25
"""Seconds that opening a file which has changed waits for the attributes that the kernel holds of it to be dropped."""
_LOCK_DEADLINE: Final = 1.0
"""Seconds that taking a lock waits for the file's pages to be dropped."""
_NAME_LANES: Final = 4
_STOP_DEADLINE: Final = 2.0
"""Seconds that the end of the mount waits for all threads of this room together."""


class Notifier(Protocol):
    """What libfuse can be asked; see `fuse_binding.Session`. Each answers 0 or an errno."""

    def forget_attributes(self, node: int) -> int: ...
    def forget_file(self, node: int) -> int: ...
    def forget_entry(self, parent: int, name: bytes) -> int: ...
    def expire_entry(self, parent: int, name: bytes) -> int: ...
    def believe(self, attributes: float, names: float, absences: float) -> None: ...
    @property
    def hears(self) -> bool: ...
    @property
    def expires_names(self) -> bool: ...


class Answers(Protocol):
    """Hears what the kernel is answered and what it has us do; see `kernel_belief`."""

    def given(self, path: RelativePath, metadata: FileMetadata | None) -> None: ...
    def given_by_handle(self, path: RelativePath | None, metadata: FileMetadata) -> None: ...
    def left(self, path: RelativePath, metadata: FileMetadata) -> None: ...
    def moved(self, source: RelativePath, destination: RelativePath) -> None: ...
    def settle(self) -> None: ...
    def end(self) -> None: ...


class KernelCache:
    """The notification room of one mount."""

    def __init__(self, notifier: Notifier, nodes: NodeIds, answers: Answers | None = None) -> None:
        self._notifier = notifier
        self._nodes = nodes
        self._answers = answers
        self._aliases = Aliases()
        self._shown = ShownVersions()
        self._listings = HeldListings(time.monotonic)
        self._touched = TouchedDirectories(time.monotonic)
        self._lock = threading.Lock()
        self._waiting: dict[RelativePath, Withdrawal] = {}
        self._names = [NotificationLane(f"kernel-names-{number}", _CAPACITY) for number in range(_NAME_LANES)]
        self._open: tuple[PathTable[int], ...] = ()
        self._attributes = NotificationLane("kernel-attributes", _CAPACITY)
        self._pages = NotificationLane("kernel-pages", _CAPACITY)

    def know_open(self, *tables: PathTable[int]) -> None:
        """The open files and directories, for which the kernel may hold attributes even where it lost the name."""
        self._open = tables

    def begin(self) -> None:
        """Start the threads; the mount is up."""
        for lane in (self._attributes, self._pages, *self._names):
            lane.start()

    def end(self) -> None:
        """Stop the threads; the mount is going down."""
        if self._answers is not None:
            self._answers.end()
        lanes = (self._attributes, self._pages, *self._names)
        for lane in lanes:
            lane.stop(0.0)
        until = time.monotonic() + _STOP_DEADLINE
        for lane in lanes:
            lane.stop(max(0.0, until - time.monotonic()))

    def listed(self) -> None:
        """A directory was listed, and the kernel is about to hear of it."""
        if self._answers is not None:
            self._answers.settle()

    def touched(self, path: RelativePath) -> None:
        """See `TouchedDirectories.touched`."""
        self._touched.touched(path)

    def touched_since(self, directory: RelativePath, moment: float) -> bool:
        """See `TouchedDirectories.since`."""
        return self._touched.since(directory, moment)

    def gave_listing(self, directory: RelativePath, began: float) -> None:
        """See `HeldListings.gave`."""
        self._listings.gave(directory, began)

    def holds_listing(self, directory: RelativePath) -> bool:
        """See `HeldListings.holds`."""
        return self._listings.holds(directory)

    # For `kernel_belief`, on its own thread.

    @property
    def hears(self) -> bool:
        """Whether the kernel can be told anything."""
        return self._notifier.hears

    @property
    def expires_names(self) -> bool:
        """Whether names can be made to be looked up anew, so that the kernel may keep them for long."""
        return self._notifier.expires_names

    def believe(self, attributes: float, names: float, absences: float) -> None:
        """See `Session.believe`."""
        self._notifier.believe(attributes, names, absences)
        self._listings.believed(min(attributes, names))

    def forget(self, path: RelativePath, what: Withdrawal) -> bool:
        """Have the kernel forget `what` of `path`: attributes before this returns, the rest soon.

        Only for names in directories of which the kernel was told something. False when there is no room: the rest is
        to be said again later.
        """
        rest = what & ~Withdrawal.ATTRIBUTES
        if what & (Withdrawal.ATTRIBUTES | Withdrawal.PAGES):
            node = self._nodes.known(path)
            if node is not None:
                self._notifier.forget_attributes(node)
            elif self.is_open(path):
                rest |= Withdrawal.ATTRIBUTES
            else:
                rest &= ~Withdrawal.PAGES
        if not rest:
            return True
        with self._lock:
            before = self._waiting.get(path)
            self._waiting[path] = rest if before is None else before | rest
        if before is not None or self._lane(path[:-1]).post(lambda: self._forget_rest(path)):
            return True
        with self._lock:
            self._waiting.pop(path, None)
        return False

    def forget_attributes_in(self, directory: RelativePath, names: Sequence[bytes]) -> None:
        """Have the kernel forget the attributes of those files, as far as it holds their names."""
        self._listings.asked(directory)
        self._nodes.of_directory(directory, cached_only=True)  # remembered for `forget_names_in`
        for node in self._nodes.within(directory, names):
            self._notifier.forget_attributes(node)

    def forget_names_in(self, directory: RelativePath, names: Sequence[bytes]) -> bool:
        """Have the kernel look up `names` anew at their next use, soon. False when there is no room."""

        def known() -> None:
            node = self._nodes.of_directory(directory, cached_only=True)
            if node is None:
                # To find it takes a question, which may wait for an agent that is out of reach.
                self._pages.post(sought)
            else:
                for name in names:
                    self._notifier.expire_entry(node, name)

        def sought() -> None:
            node = self._nodes.of_directory(directory, cached_only=False)
            for name in names if node is not None else ():
                self._notifier.expire_entry(node or 0, name)

        return self._lane(directory).post(known)

    def open_paths(self) -> list[RelativePath]:
        """What is open."""
        return [path for table in self._open for path in table.paths()]

    def is_open(self, path: RelativePath) -> bool:
        """Whether `path` is open."""
        return any(table.at(path) for table in self._open)

    def _lane(self, directory: RelativePath) -> NotificationLane:
        return self._names[hash(directory) % _NAME_LANES]

    # For `replaced_files`, on its own thread.

    def local(self, path: RelativePath) -> bytes:
        """Where `path` is on this machine."""
        return self._nodes.local(path)

    def expire(self, path: RelativePath) -> Callable[[], None]:
        """What has the attributes of the inode that is at `path` now expire, when it is called."""
        node = self._nodes.of(path, cached_only=False)

        def expire() -> None:
            if node is not None:
                self._notifier.forget_attributes(node)

        return expire

    # For the operations, on the threads of callbacks.

    def revalidate(self, path: RelativePath) -> None:
        """Have the kernel forget attributes and pages of `path` before this returns, for a lock was taken on it."""
        self._pages.wait_for(lambda: self._forget_file(path), _LOCK_DEADLINE)

    def look_up_anew(self, path: RelativePath) -> None:
        """Have the kernel ask what `path` is, or that it is nothing, at its next use, before this returns."""
        if path:
            self._lane(path[:-1]).wait_for(
                lambda: self._forget_entry(path[:-1], path[-1], Withdrawal.MEANING), _LOCK_DEADLINE
            )

    def observe(self, path: RelativePath, metadata: FileMetadata) -> None:
        """The kernel asked about `path`, and is told that it has `metadata`."""
        self._listings.asked(path[:-1])
        self.observe_listed(path, metadata)

    def observe_listed(self, path: RelativePath, metadata: FileMetadata) -> None:
        """The kernel is told so with a listing."""
        self._shown.show(path, metadata)
        if self._answers is not None:
            self._answers.given(path, metadata)
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

    def missed(self, path: RelativePath) -> None:
        """`path` was looked for, and there is no such file."""
        if self._answers is not None:
            self._answers.given(path, None)

    def observe_open(self, path: RelativePath | None, metadata: FileMetadata) -> None:
        """An open file was seen with `metadata`; `path` is where it is, as far as we know."""
        if path is not None:
            self._shown.show(path, metadata)
        if self._answers is not None:
            self._answers.given_by_handle(path, metadata)

    def changed(self, metadata: FileMetadata, path: RelativePath | None, *, data: bool = False) -> None:
        """A file was changed through `path` and has `metadata` now: its other names' attributes expire first.

        With `data` their pages are dropped too, soon.
        """
        if self._answers is not None and path is not None:
            self._answers.left(path, metadata)
        self._expire(self._aliases.others((metadata.volume, metadata.inode), path), data=data)

    def removed(self, path: RelativePath) -> None:
        """`path` was removed: the file's other names have one link less."""
        self._expire(self._aliases.remove(path))

    def moved(self, source: RelativePath, destination: RelativePath) -> None:
        """`source` was renamed to `destination`, which it replaced if that was there."""
        self._moved(source, destination)
        replaced = self._aliases.remove(destination)
        file = self._aliases.file_at(source)
        self._aliases.move(source, destination)
        self._expire((*replaced, *(() if file is None else self._aliases.others(file, destination))))

    def exchanged(self, one: RelativePath, other: RelativePath) -> None:
        """`one` and `other` changed places."""
        self._moved(one, other)
        self._moved(other, one)
        aside = (b"/",)
        for source, destination in ((one, aside), (other, one), (aside, other)):
            self._aliases.move(source, destination)

    def _moved(self, source: RelativePath, destination: RelativePath) -> None:
        self._nodes.moved(source, destination)
        if self._answers is not None:
            self._answers.moved(source, destination)

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

    def _forget_rest(self, path: RelativePath) -> None:
        with self._lock:
            what = self._waiting.pop(path)
        if what & (Withdrawal.ATTRIBUTES | Withdrawal.PAGES):
            node = self._nodes.of(path, cached_only=not self.is_open(path))
            if node is not None and what & Withdrawal.PAGES:
                self._notifier.forget_file(node)
            elif node is not None:
                self._notifier.forget_attributes(node)
        if what & NAMES and path:
            self._forget_entry(path[:-1], path[-1], what)

    def _forget_entry(self, parent: RelativePath, name: bytes, what: Withdrawal) -> None:
        if self.expires_names:
            say = self._notifier.expire_entry
        elif what & Withdrawal.MEANING:
            say = self._notifier.forget_entry
        else:
            return  # it is believed for a short time only
        node = self._nodes.of_directory(parent, cached_only=False)
        if node is not None and say(node, name) == errno.ENOENT and self._nodes.of(parent, cached_only=True) is None:
            # Nothing of that name, or the directory has another number by now.
            self._nodes.forget(parent)
            now = self._nodes.of_directory(parent, cached_only=False)
            if now is not None and now != node:
                say(now, name)
