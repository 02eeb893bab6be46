"""Files that were removed, or replaced by a rename, while this machine has them open.

libfuse knows a file by its path. Once the path is removed it cannot tell us about the file any more, and fstat(2),
fchmod(2) and their like fail on a descriptor that is perfectly good. Its remedy, renaming the file to a
``.fuse_hidden`` name until the last close, leaves rubbish on the remote machine, makes rmdir(2) fail there, and takes
a file away before a rename that replaces it. We use the remedy without the rename:

1. The first time that an open file is to be removed, we switch the remedy on and answer ESTALE. The kernel then makes
   the same system call again, once (retry_estale in namei.c).
2. libfuse now asks us to rename the file to a hidden name. We remove the file instead, or let it be for the rename
   that follows, and remember which open handles the hidden name stands for.
3. Whatever libfuse then asks of the hidden name is asked of a handle. Its final unlink(2) of the name does nothing.
4. A system call that found the file by its true name before that, and asks by the hidden one afterwards, is answered
   ESTALE: the kernel looks the name up anew and finds what has it now. ENOENT would be believed.

The one rule: a name is hidden only where we asked for it, by path and by calling thread; whenever anything else comes
we take the plain way, which removes the right file and leaves fstat(2) failing.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import threading
import time
from collections.abc import Callable
from typing import Final

from schema.paths import RelativePath

_HIDDEN: Final = re.compile(rb"\.fuse_hidden[0-9a-f]{16}")
_PATIENCE: Final = 10.0
"""Seconds for the kernel to make a system call again: it does so at once, if at all, but looks names up before, and is
answered by a machine that may be busy. Who comes later is asked again, which the kernel does not do twice."""
_REMEMBERED: Final = 4096
"""Hidden names remembered after their files are closed; libfuse never gives one twice. Who asks is about to."""


class Hide(enum.Enum):
    """What a rename to a hidden name stands for."""

    NOTHING = enum.auto()
    """It is an ordinary rename."""
    UNLINK = enum.auto()
    """The file is to be removed now."""
    REPLACE = enum.auto()
    """The file is about to be replaced by a rename."""
    UNNAME = enum.auto()
    """The file has been replaced by somebody else; see `replaced_files`."""
    UNASKED = enum.auto()
    """libfuse hides a file that we did not ask for: let the kernel make its call again, in the plain way."""


@dataclasses.dataclass(slots=True)
class _Hidden:
    """What a hidden name stands for: the file still at `path`, or where that is None the one that `handles` have."""

    path: RelativePath | None
    handles: set[int]


@dataclasses.dataclass(slots=True)
class _Asked:
    """A thread was answered ESTALE and will call again.

    `stands_for`: what a rename to a hidden name means that comes of it, None where we do not know. `hiding`: we want it
    to come that way. `awaited`: the name is as it was, so that the call comes.
    """

    stands_for: Hide | None
    until: float
    hiding: bool
    awaited: bool = True


class RemovedFiles:
    """The hidden names of one mount. `keep_names` switches libfuse's remedy on and off."""

    def __init__(self, keep_names: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_names = keep_names
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[tuple[RelativePath, int], _Asked] = {}
        self._hidden: dict[bytes, _Hidden] = {}
        self._by_handle: dict[int, _Hidden] = {}
        self._gone: dict[bytes, None] = {}
        self._refused: Final = threading.Condition(self._lock)
        """Notified of calls that were refused and came again."""
        self._hiding = False
        self._hiding_until = -1.0

    def ask_again(self, path: RelativePath, thread: int, *, replaced: bool = False) -> bool:
        """An open file is to be removed: whether to answer ESTALE so that the kernel asks `thread` again.

        False the second time, once it is hidden, where the thread is not known (0), and now and then when many threads
        remove open files at once: fstat(2) on this one will fail.
        """
        if thread == 0:
            return False
        now = self._clock()
        with self._lock:
            if any(hidden.path == path for hidden in self._hidden.values()):
                return False
            self._expire(now)
            first = self._asked.pop((path, thread), None) is None
            again = first and self._may_hide()
            if again:
                stands_for = Hide.REPLACE if replaced else Hide.UNLINK
                self._asked[path, thread] = _Asked(stands_for, now + _PATIENCE, hiding=True)
            self._switch(now)
            return again

    def unname(self, path: RelativePath, thread: int, seconds: float) -> bool:
        """`thread` is about to unlink `path`, for us and not for a user: hide the open file and do nothing else.

        False where nothing may be hidden now, nor in so many `seconds`: then it must not unlink it.
        """
        with self._lock:
            if not self._refused.wait_for(self._may_hide, seconds):
                return False
            now = self._clock()
            self._asked[path, thread] = _Asked(Hide.UNNAME, now + _PATIENCE, hiding=True)
            self._switch(now)
            return True

    def settled(self, path: RelativePath, thread: int) -> None:
        """`thread` removes or replaces `path` in the plain way now."""
        if (path, thread) not in self._asked:
            return
        with self._lock:
            self._asked.pop((path, thread), None)
            self._switch(self._clock())

    def hide(self, path: RelativePath, name: RelativePath, thread: int, handles: frozenset[int]) -> Hide:
        """`path`, open as `handles`, is to be renamed to `name`: what that stands for."""
        if not _HIDDEN.fullmatch(name[-1]) or path[:-1] != name[:-1]:
            return Hide.NOTHING
        now = self._clock()
        with self._lock:
            if not self._hiding and now > self._hiding_until:
                return Hide.NOTHING
            self._expire(now)
            asked = self._asked.pop((path, thread), None)
            if asked is None:
                # Unlink or replace? The kernel makes each call twice only, so the next time must be the plain way.
                self._asked[path, thread] = _Asked(None, now + _PATIENCE, hiding=False)
                for other in self._asked.values():
                    other.hiding = False
                self._switch(now)
                return Hide.UNASKED
            self._switch(now)
            stands_for = asked.stands_for
            if stands_for is None:  # Nothing was hidden since it was refused: it is a user's own name.
                return Hide.NOTHING if asked.awaited else Hide.UNASKED
            hidden = _Hidden(None if stands_for is Hide.UNNAME else path, set(handles))
            self._hidden[name[-1]] = hidden
            self._by_handle.update(dict.fromkeys(handles, hidden))
            return stands_for

    def unhide(self, name: RelativePath) -> bool:
        """A hidden name is removed by libfuse, or its file could not be removed: whether there was one."""
        if not self._hidden or name[-1] not in self._hidden:
            return False
        with self._lock:
            hidden = self._hidden.pop(name[-1], None)
            if hidden is None:
                return False
            for handle in hidden.handles:
                self._by_handle.pop(handle, None)
            self._gone[name[-1]] = None
            if len(self._gone) > _REMEMBERED:
                del self._gone[next(iter(self._gone))]
            return True

    def removed(self, path: RelativePath, *, replaced: bool = False) -> None:
        """The file at `path` is gone: hidden names that stood for it stand for their handles from now on."""
        if not self._hidden and not self._asked:
            return
        with self._lock:
            for hidden in self._hidden.values():
                if hidden.path == path:
                    hidden.path = None
            others = [] if replaced else [asked for (name, _), asked in self._asked.items() if name == path]
            for asked in others:  # who finds the name gone, and does not call again
                asked.hiding = asked.awaited = False
            if others:
                self._switch(self._clock())

    def closed(self, handle: int) -> None:
        """`handle` was closed."""
        if handle not in self._by_handle:
            return
        with self._lock:
            hidden = self._by_handle.pop(handle, None)
            if hidden is not None:
                hidden.handles.discard(handle)

    def resolve(self, path: RelativePath) -> tuple[RelativePath, int] | None:
        """What a path that libfuse gave stands for when its last name is a hidden one: a path, or else a handle."""
        if not self._hidden or not path:
            return None
        with self._lock:
            hidden = self._hidden.get(path[-1])
            if hidden is None:
                return None
            if hidden.path is not None:
                return hidden.path, 0
            return ((), next(iter(hidden.handles))) if hidden.handles else None

    def is_gone(self, path: RelativePath) -> bool:
        """Whether the last name of `path` is a hidden one that stands for nothing any more.

        Not so for one that never stood for anything: libfuse asks for that before it uses it, and wants ENOENT.
        """
        if not path or not (self._hidden or self._gone):
            return False
        with self._lock:
            hidden = self._hidden.get(path[-1])
            return path[-1] in self._gone if hidden is None else hidden.path is None and not hidden.handles

    def is_hidden(self, handle: int) -> bool:
        """Whether libfuse holds the file of `handle` under a hidden name; it then shows one link fewer than we say."""
        return handle in self._by_handle

    def _may_hide(self) -> bool:
        """Not while a call that was refused is to come in the plain way."""
        self._expire(self._clock())
        return all(asked.stands_for or not asked.awaited for asked in self._asked.values())

    def _switch(self, now: float) -> None:
        """Set libfuse's remedy as asked; a call that saw it on may still come for a while after it is off."""
        self._expire(now)
        self._hiding_until = now + 2 * _PATIENCE
        self._hiding = any(asked.hiding for asked in self._asked.values())
        self._keep_names(self._hiding)
        self._refused.notify_all()

    def _expire(self, now: float) -> None:
        for key in [key for key, asked in self._asked.items() if asked.until < now]:
            del self._asked[key]
