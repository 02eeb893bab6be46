"""inotify's events, paired: what belongs together, and what each is about. Pure.

The one rule: events of one directory stay in their order, which is the order of what happened in it; a move, of which
the kernel tells both directories while it holds them, stands where its first half stood.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from watchdog.observers.inotify_c import InotifyConstants

from peer.agent.inotify import InotifyEvent

_APPEARED: Final = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_VANISHED: Final = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_ENDED: Final = InotifyConstants.IN_IGNORED | InotifyConstants.IN_UNMOUNT


class Event(NamedTuple):
    """What happened to `name` (empty: to the directory itself) in the directory under `watch`.

    `target` is the second half of a move.
    """

    watch: int
    name: bytes
    is_directory: bool = False
    appeared: bool = False
    vanished: bool = False
    written: bool = False
    """Its content may be another, whatever its attributes say."""
    ended: bool = False
    """The watch is no more."""
    unmounted: bool = False
    target: InotifyEvent | None = None


class EventNames:
    """The events of one read."""

    def __init__(self, raw: list[InotifyEvent]) -> None:
        self.raw: Final = raw
        self.overflow: Final = any(event.has(InotifyConstants.IN_Q_OVERFLOW) for event in raw)
        self._arrivals: Final = {event.cookie: event for event in raw if event.has(InotifyConstants.IN_MOVED_TO)}
        departures = [event for event in raw if event.has(InotifyConstants.IN_MOVED_FROM)]
        self._joined: Final = {event.cookie for event in departures} & self._arrivals.keys()
        named = Counter(_place(event) for event in raw if event.has(_APPEARED | _VANISHED))
        self.made: Final = [_place(event) for event in raw if _is_new_file(event)]
        """What was created and is no directory, by watch and name."""
        self.made_once: Final = all(named[place] == 1 for place in self.made)
        """Whether nothing else happened to those names."""
        self.half_moved: Final = len(self._joined) < len(departures)
        """Something moved, and where to may not have been read yet."""
        self._swapped: Final = self._moves_back([event for event in departures if event.cookie in self._joined])

    def events(self) -> Iterator[Event]:
        """What happened, in order. Of two names that changed places, both vanish, then both appear."""
        for raw in self.raw:
            event = _event(raw)
            if not raw.cookie or raw.cookie not in self._joined:
                yield event
            elif raw.cookie in self._swapped:
                back = self._swapped[raw.cookie]
                if event.appeared:
                    yield event
                elif back is not None:
                    yield event
                    yield _event(back)
            elif event.vanished:
                yield event._replace(target=self._arrivals[raw.cookie])

    def _moves_back(self, departures: list[InotifyEvent]) -> dict[int, InotifyEvent | None]:
        """Moves that undo each other: RENAME_EXCHANGE of renameat2(2), or a move there and back.

        The cookie of the first half leads to how the second begins, that of the second to None.
        """
        found: dict[int, InotifyEvent | None] = {}
        for first, second in itertools.pairwise(departures):
            there, back = self._arrivals[first.cookie], self._arrivals[second.cookie]
            if _place(there) == _place(second) and _place(back) == _place(first) and first.cookie not in found:
                found |= {first.cookie: second, second.cookie: None}
        return found


def _is_new_file(event: InotifyEvent) -> bool:
    return event.has(InotifyConstants.IN_CREATE) and not event.has(InotifyConstants.IN_ISDIR)


def _event(raw: InotifyEvent) -> Event:
    return Event(
        raw.watch,
        raw.name,
        is_directory=raw.has(InotifyConstants.IN_ISDIR),
        appeared=raw.has(_APPEARED),
        vanished=raw.has(_VANISHED),
        written=raw.has(InotifyConstants.IN_MODIFY),
        ended=raw.has(_ENDED),
        unmounted=raw.has(InotifyConstants.IN_UNMOUNT),
    )


def _place(event: InotifyEvent) -> tuple[int, bytes]:
    return event.watch, event.name
