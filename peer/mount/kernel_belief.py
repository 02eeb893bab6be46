"""How long the kernel may believe what it is answered, and what it is told the moment that it no longer may.

The one rule: whatever the kernel may answer by itself is either covered, which is to say known here, sure, under a feed
that is trusted, with every change of it told to the kernel; or it expires within the short time. libfuse has one
timeout for all answers, so what is not covered is lent: it is told to expire when the short time is over.

An answer on its way to the kernel may arrive after the news that overtakes it. The kernel discards it where it holds
the inode already (attr_version of fs/fuse/inode.c), and not where it sees it first: so all news are told again, twice.

When the feed is not trusted any more, everything expires, name by name. The kernel's own way of having all names
expire at once (FUSE_NOTIFY_INC_EPOCH) takes the working directory from every process below.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from peer.mount.kernel_agenda import Agenda
from peer.mount.metadata_cache import Known
from peer.mount.path_table import moved_path
from peer.mount.withdrawals import NAMES, UNSURE, Path, Withdraw, Withdrawal
from schema.attributes import FileMetadata, FileVersion

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.05
"""Seconds between two looks at whether the feed is trusted, and at what is due."""
_NAP: Final = 0.25
"""Seconds between them while nothing is to come: `lost` and `withdraw` wake us."""
SOON: Final = (0.02, 0.2)
LATE: Final = 2.0
"""Seconds after which news are told again, and for the last time: so long an answer may be on its way."""
SETTLED: Final = 1.0
"""Seconds of trust after which timeouts are long: whoever saw them short before has answered by then."""
PATIENCE: Final = 0.5
"""Seconds that a gap in the feed may last, or `short` if that is less: what is answered meanwhile is lent."""
OWN_SECONDS: Final = 5.0
"""Seconds after a change of ours in which news of its path may be its echo: a writer's pages are not dropped for it."""
_LEAST_PATIENCE: Final = 0.1
_BRIEF: Final = 0.25
"""Seconds for which an answer that cannot be lent keeps the timeouts short."""
_LEAST: Final = 0.05
_OWN: Final = 8192
_MOST_LENT: Final = 16_384
"""Names that are lent before timeouts are short for a while."""
_MOST_HOMES: Final = 131_072
"""Directories that the kernel may be told of before it is made to forget them all."""
_AT_ONCE: Final = 256
"""Names that something is said of before the next look around."""
_SETTLE_DEADLINE: Final = 0.1
_STOP_DEADLINE: Final = 2.0


class Kernel(Protocol):
    """See `KernelCache`."""

    @property
    def hears(self) -> bool: ...
    @property
    def expires_names(self) -> bool: ...
    def believe(self, attributes: float, names: float, absences: float) -> None: ...
    def forget(self, path: Path, what: Withdrawal) -> bool: ...
    def forget_attributes_in(self, directory: Path, names: Sequence[bytes]) -> None: ...
    def forget_names_in(self, directory: Path, names: Sequence[bytes]) -> bool: ...
    def open_paths(self) -> list[Path]: ...
    def touched(self, path: Path) -> None: ...


class Vouching(Protocol):
    """See `CoherentCache`."""

    @property
    def trust(self) -> int: ...
    def begin(self, withdraw: Withdraw) -> None: ...
    def vouches(self, path: Path, metadata: FileMetadata | None) -> bool: ...
    def metadata(self, path: Path) -> Known | None: ...
    def names(self) -> list[tuple[Path, list[bytes]]]: ...


class KernelBelief:
    """The kernel's trust in one mount. `clock` gives monotonic seconds; so many seconds are `short` and `long`.

    All methods but `step` may be called from any thread, and none waits.
    """

    def __init__(self, known: Vouching, clock: Callable[[], float], *, short: float, long: float) -> None:
        self._known: Final = known
        self._clock: Final = clock
        self._short: Final = short
        self._longest: Final = max(short, long)
        self._patience: Final = max(_LEAST_PATIENCE, min(short, PATIENCE))
        self._kernel: Kernel | None = None
        self._lock: Final = threading.Lock()
        self._told: Final = threading.Condition(self._lock)
        self._pending: dict[Path, Withdrawal] = {}
        self._withdrawn = self._said = 0
        """How often something was withdrawn, and how much of that was said."""
        self._loans: Final = Agenda(max(short, _LEAST), postponed=False)
        self._soon: Final = [Agenda(delay, postponed=True) for delay in SOON]
        self._late: Final = Agenda(LATE, postponed=True)
        self._homes: dict[Path, None] = {}
        """Directories of which the kernel was told something since everything expired last."""
        self._own: Final[OrderedDict[Path, tuple[float, FileVersion | None]]] = OrderedDict()
        self._trust = 0
        self._trusted_at = 0.0
        self._brief_until = 0.0
        self._lending = False
        self._long = False
        self._suspended = False
        self._expiry: Iterator[bool] | None = None
        self._expiries: list[float] = []
        self._doubtful_since: float | None = None
        self._wake: Final = threading.Event()
        self._stopping = False
        self._thread: Final = threading.Thread(target=self._run, name="kernel-belief", daemon=True)

    def begin(self, kernel: Kernel) -> None:
        """The mount is up."""
        self._kernel = kernel
        if kernel.hears:
            self._known.begin(self.withdraw)
            self._thread.start()

    def end(self) -> None:
        """The mount is going down: nothing is said to the kernel once this has returned."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_DEADLINE)

    # --- what the kernel hears and does

    def given(self, path: Path, metadata: FileMetadata | None) -> None:
        """The kernel is about to be told that `path` has `metadata`, or None: that it is absent."""
        if self._lending or len(self._homes) < _MOST_HOMES // 2:
            self._homes[path[:-1]] = None  # what is believed for the short time only can be contradicted in it, too
        if not self._lending:
            return
        if not self._known.vouches(path, metadata):
            with self._lock:
                first = not self._loans
                self._loans.put(path, UNSURE, self._clock())
            if first:
                self._wake.set()
            known = self._known.metadata(path)
            if known is not None and not known.suspect and known.metadata != metadata:
                self.withdraw(path, UNSURE)  # an answer that was overtaken on its way

    def given_by_handle(self, path: Path | None, metadata: FileMetadata) -> None:
        """The same of an open file, whose name may be `path`."""
        if self._lending and (path is None or not self._known.vouches(path, metadata)):
            # It may have no name any more by which the kernel could be told.
            with self._lock:
                self._brief_until = self._clock() + _BRIEF
                self._set_timeouts(long=False)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Meanwhile the kernel believes nothing that it is answered: some of it is no longer so."""
        with self._lock:
            self._suspended = True
            self._apply_timeouts()
        try:
            yield
        finally:
            with self._lock:
                self._suspended = False
                self._apply_timeouts()

    def own(self, path: Path) -> None:
        """Something is done to `path` through this mount, or was just now."""
        if self._kernel is not None:
            self._kernel.touched(path)
        with self._lock:
            self._note_own(path, self._own.get(path, (0.0, None))[1])

    def left(self, path: Path, metadata: FileMetadata) -> None:
        """A change through this mount left `path` with `metadata`."""
        with self._lock:
            if not self._suspended:  # when it may be none of ours
                self._note_own(path, metadata.version)

    def _note_own(self, path: Path, version: FileVersion | None) -> None:
        self._own.pop(path, None)
        self._own[path] = self._clock() + OWN_SECONDS, version
        if len(self._own) > _OWN:
            self._own.popitem(last=False)

    def moved(self, source: Path, destination: Path) -> None:
        """`source` was renamed to `destination` by this mount: the kernel took along what it holds of it."""
        with self._lock:
            now = self._clock()
            self._loans.put(destination, UNSURE, now)
            if source in self._homes:
                for home in list(self._homes):
                    there = moved_path(home, source, destination)
                    if there is not None:
                        self._homes[there] = None
                for path in self._loans.paths():
                    there = moved_path(path, source, destination)
                    if there is not None:
                        self._loans.put(there, UNSURE, now)
        self._wake.set()

    def withdraw(self, path: Path, what: Withdrawal) -> None:
        """`what` is not vouched for any more."""
        if path[:-1] not in self._homes:
            return  # the kernel knows nothing of it
        with self._lock:
            self._pending[path] = self._pending.get(path, Withdrawal.NOTHING) | what
            self._withdrawn += 1
        self._wake.set()

    def settle(self) -> None:
        """Wait until the kernel has been told what is withdrawn by now, but not for long.

        Whoever is shown a listing, which says something of many names, is not to find then what it belies.
        """
        if not self._thread.is_alive():
            return
        with self._told:
            until = self._withdrawn
            self._told.wait_for(lambda: self._said >= until, _SETTLE_DEADLINE)

    def lost(self) -> None:
        """The feed may be trusted no more."""
        self._wake.set()

    # --- on the thread of this room

    def _run(self) -> None:
        while not self._stopping:
            try:
                more = self.step()
            except Exception:
                log.exception("unexpected failure while telling the kernel of changes")
                more = False
            if not more:
                self._wake.wait(LOOK_EVERY if self._expects() else _NAP)
            self._wake.clear()

    def _expects(self) -> bool:
        """Whether the clock alone will have something to be done."""
        return bool(
            self._loans
            or self._late  # what is to be said `SOON` is in it, too
            or self._expiries
            or self._expiry
            or self._doubtful_since is not None
            or self._long != bool(self._trust)
        )

    def step(self) -> bool:
        """Do what is due, for a bounded number of names; whether more is due at once."""
        kernel, now = self._kernel, self._clock()
        if kernel is None:
            return False
        self._look_at_trust(now)
        done = self._tell_news(kernel, now)
        with self._lock:
            repeated = [each for agenda in self._soon for each in agenda.take_due(now, _AT_ONCE)]
            late = self._late.take_due(now, _AT_ONCE)
            lent = self._loans.take_due(now, _AT_ONCE)
        for path, what in (*repeated, *lent):
            self._say(kernel, path, what, now)
        for path, what in late:
            self._say(kernel, path, what & ~Withdrawal.PAGES if self._is_ours(path) else what, now)
        return bool(done or repeated or late or lent) | self._go_on_expiring(kernel, now)

    def _go_on_expiring(self, kernel: Kernel, now: float) -> bool:
        if self._expiry is None and self._expiries and now >= self._expiries[0]:
            del self._expiries[0]
            self._expiry = self._expire_everything(kernel)
        if self._expiry is None:
            return False
        going = next(self._expiry, None)
        if going is None:
            self._expiry = None
            if not self._expiries and not self._lending:
                self._homes.clear()
        return bool(going)

    def _look_at_trust(self, now: float) -> None:
        trust = self._known.trust if len(self._homes) < _MOST_HOMES else 0
        if trust == self._trust:
            self._doubtful_since = None
        elif not trust and self._doubtful_since is None:
            self._doubtful_since = now
        if trust != self._trust and (trust or now >= (self._doubtful_since or now) + self._patience):
            log.debug("the kernel may believe: %s", bool(trust))
            if self._trust:
                with self._lock:
                    self._set_timeouts(long=False)
                self._expiries = [now, now + LATE]
            if trust:
                self._drop_pages(now)
            self._trust, self._trusted_at, self._lending = trust, now, bool(trust)
            self._doubtful_since = None
        with self._lock:
            crowded = len(self._loans) > (_MOST_LENT if self._long else _MOST_LENT // 2)
            self._set_timeouts(
                long=bool(self._trust) and now >= max(self._trusted_at + SETTLED, self._brief_until) and not crowded
            )

    def _drop_pages(self, now: float) -> None:
        """A write may have ended that nobody told of, since the feed was lost, and that had set the times before.

        Who has the file open goes on with what was read of it meanwhile: attributes do not tell, only an open would.
        """
        if self._kernel is not None:
            for path in self._kernel.open_paths():
                self._say(self._kernel, path, Withdrawal.PAGES, now)

    def _set_timeouts(self, *, long: bool) -> None:
        if long != self._long:
            self._long = long
            self._apply_timeouts()

    def _apply_timeouts(self) -> None:
        if self._kernel is None:
            return
        if self._suspended:
            self._kernel.believe(0.0, 0.0, 0.0)
        elif self._long and self._kernel.expires_names:
            self._kernel.believe(self._longest, self._longest, self._longest)
        else:
            self._kernel.believe(self._longest if self._long else self._short, self._short, 0.0)

    def _tell_news(self, kernel: Kernel, now: float) -> int:
        with self._lock:
            names = list(zip(self._pending, range(_AT_ONCE), strict=False))
            news = [(path, self._pending.pop(path)) for path, _ in names]
            said = self._said if self._pending else self._withdrawn
            own = {path for path, _ in news if self._own.get(path, (0.0, None))[0] > now}
            for path, what in news:
                again = what if kernel.expires_names else what & ~NAMES
                for agenda in self._soon:
                    agenda.put(path, again & ~Withdrawal.PAGES, now)
                self._late.put(path, again if path in own else again & ~Withdrawal.PAGES, now)
        for path, what in news:
            self._say(kernel, path, what & ~self._spared(kernel) if path in own else what, now)
        with self._told:
            self._said = said
            self._told.notify_all()
        return len(news)

    @staticmethod
    def _spared(kernel: Kernel) -> Withdrawal:
        """What is not said of what we changed ourselves: a name that can only be taken away may have a user below."""
        return Withdrawal.PAGES if kernel.expires_names else Withdrawal.PAGES | NAMES

    def _is_ours(self, path: Path) -> bool:
        """Whether the file is as a change of ours left it."""
        with self._lock:
            version = self._own.get(path, (0.0, None))[1]
        known = self._known.metadata(path) if version is not None else None
        return known is not None and known.metadata is not None and known.metadata.version == version

    def _say(self, kernel: Kernel, path: Path, what: Withdrawal, now: float) -> None:
        if what and not kernel.forget(path, what):
            with self._lock:
                self._late.put(path, what, now)

    def _expire_everything(self, kernel: Kernel) -> Iterator[bool]:
        """Have all that the kernel may hold expire: attributes first, which waits for nothing.

        Does a part before each yield: True to be continued, False not at once.
        """
        homes, begun = self._homes, self._clock()
        parts = [
            (directory, names[start : start + _AT_ONCE])
            for directory, names in self._known.names()
            if directory in homes
            for start in range(0, len(names), _AT_ONCE)
        ]
        for directory, names in parts:
            kernel.forget_attributes_in(directory, names)
            yield True
        for directory, names in parts if kernel.expires_names else ():
            while not kernel.forget_names_in(directory, names):
                yield False
            yield True
        for path in kernel.open_paths():
            kernel.forget(path, UNSURE)
        count = sum(len(names) for _, names in parts)
        log.debug("the kernel was told to ask again for %d names, in %.1f s", count, self._clock() - begun)
