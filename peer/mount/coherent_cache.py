"""The metadata cache and the feed that keeps it true, as one thing that all threads of a mount share.

The one rule: whatever is put in has been judged first, against the feed (`Coherence`) and against our own changes: an
answer to a question that was asked before one of our changes was done says how things were, whatever it says it is
as of. The lock is held for memory only, never across a question.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Final

from peer.mount.coherence import Coherence, Missing, Numbered, State
from peer.mount.effects import Effects
from peer.mount.kept_metadata.records import KeptDirectory
from peer.mount.kept_metadata.snapshot import Part, part, restore
from peer.mount.knowledge import Applied, Asked, Standing
from peer.mount.listing_pages import Entries
from peer.mount.metadata_cache import Known, MetadataCache
from peer.mount.metadata_node import ABSENT, UNKNOWN, file_key, file_key_of, pack
from peer.mount.metadata_suspects import Unverified, Verified, unverified
from peer.mount.metadata_tree import directories
from peer.mount.own_changes import OwnChanges
from peer.mount.recent_changes import Path
from peer.mount.settlement import Settlement
from peer.mount.withdrawals import UNSURE, Withdraw, Withdrawal
from schema.attributes import FileMetadata
from schema.changes import ChangeBatch, Changed, Moment, Renamed
from schema.replies import Following

_MOST_BELOW: Final = 1024
"""Names below a directory that is gone which are told of with it."""


class CoherentCache:
    """Thread-safe. `clock` gives monotonic seconds."""

    def __init__(self, coherence: Coherence, cache: MetadataCache, clock: Callable[[], float]) -> None:
        self._coherence: Final = coherence
        self._cache: Final = cache
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._own: Final = OwnChanges()
        self._doing: Effects | None = None
        self._quiet: frozenset[Path] = frozenset()
        self._withdraw: Withdraw = lambda _path, _what: None
        cache.withdraw = self._withdrawn

    # --- the kernel's side

    def begin(self, withdraw: Withdraw) -> None:
        """From now on `withdraw` hears of what is not vouched for any more, but for what is so by time or trust."""
        with self._lock:
            self._withdraw = withdraw

    def vouches(self, path: Path, metadata: FileMetadata | None) -> bool:
        """See `MetadataCache.vouches`; never while the feed is not trusted."""
        with self._lock:
            now, trusted = self._now()
            return trusted and self._cache.vouches(path, metadata, now)

    @property
    def trust(self) -> int:
        """A number above 0 while the feed is trusted: another one each time that what was known became suspect."""
        with self._lock:
            return self._cache.generation if self._coherence.trusted(self._clock()) else 0

    def names(self) -> list[tuple[Path, list[bytes]]]:
        """All names that anything was ever known of, by directory, the deepest first."""
        with self._lock:
            nodes = self._cache.tree.nodes()
        return directories(nodes)  # not under the lock: it takes long, and a node stays where it is

    # --- the feed's side

    def follow(self, following: Following, asked_at: float) -> None:
        """The agent told where its feed is; all that is known from before is suspect."""
        with self._lock:
            same_numbers = following.epoch == self._coherence.moment.epoch
            until = self._own.followed(following.epoch)
            self._cache.doubt_everything(same_numbers=same_numbers, told_before=until)
            self._coherence.follow(following, asked_at)

    def lose(self) -> None:
        """What the agent said does not lead on: the feed is to be followed anew."""
        with self._lock:
            self._coherence.lose()

    def fetched(self, batch: ChangeBatch, asked_at: float) -> list[Applied]:
        """As `take`, for what the agent answered when it was asked at `asked_at`."""
        with self._lock:
            return [self._apply(each) for each in self._coherence.fetched(batch, asked_at)]

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Applied]:
        """A batch of the feed; gives the changes that have been applied by it, for whoever has copies."""
        with self._lock:
            return [self._apply(each) for each in self._coherence.take(batch, heard_at)]

    def _apply(self, numbered: Numbered) -> Applied:
        number, change = numbered
        now = self._clock()
        paths = (change.source, change.destination) if isinstance(change, Renamed) else (change.path,)
        before = tuple(self._cache.metadata(path, now, trusted=True) for path in paths)
        gone = isinstance(change, Changed) and change.metadata is None
        below = self._cache.below(paths[0], _MOST_BELOW) if gone else ()
        self._cache.apply(number, change, now)
        return Applied(change, before, below)

    def missing(self) -> Missing | None:
        """What to ask the agent for."""
        with self._lock:
            return self._coherence.missing(self._clock())

    @property
    def next_number(self) -> Missing:
        """What to ask the agent for to learn how far it is."""
        moment = self.moment
        return Missing(moment.epoch, moment.number + 1)

    @property
    def state(self) -> State:
        """Whether there is a hole in what we know."""
        with self._lock:
            return self._coherence.state

    @property
    def silent(self) -> bool:
        """Whether the feed is to be followed anew, having said nothing for long."""
        with self._lock:
            return self._coherence.silent(self._clock())

    @property
    def trusted_until(self) -> float:
        """See `Coherence.trusted_until`."""
        with self._lock:
            return self._coherence.trusted_until

    @property
    def moment(self) -> Moment:
        """The last change that is known."""
        with self._lock:
            return self._coherence.moment

    # --- reading: everything that is given is sure, but for `metadata`, which says so

    def metadata(self, path: Path) -> Known | None:
        """What is known of `path`."""
        with self._lock:
            now, trusted = self._now()
            return self._cache.metadata(path, now, trusted=trusted)

    def covered(self, path: Path) -> FileMetadata | None:
        """The attributes of `path` where the feed tells of every change of them, and is trusted."""
        with self._lock:
            now, trusted = self._now()
            known = self._cache.metadata(path, now, trusted=trusted) if trusted else None
            if known is None or known.suspect or self._cache.as_of(path) == UNKNOWN:
                return None
            return known.metadata

    def standing(self, path: Path) -> Standing:
        """How things are with `path`, for who wants to be told."""
        with self._lock:
            now, trusted = self._now()
            known = self._cache.metadata(path, now, trusted=trusted)
            moment = self._coherence.moment
            return Standing(
                metadata=known.metadata if known is not None else None,
                sure=known is not None and not known.suspect,
                covered=self._cache.as_of(path) != UNKNOWN,
                listed=self._cache.listing(path, now, trusted=trusted) is not None,
                trusted=trusted,
                moment=moment,
                heard_at=self._coherence.heard_at if moment.epoch else None,
            )

    def listing(self, path: Path, after: bytes = b"", most: int = sys.maxsize) -> list[tuple[bytes, bytes]] | None:
        """Names in a directory, see `MetadataCache.listing`."""
        with self._lock:
            now, trusted = self._now()
            return self._cache.listing(path, now, trusted=trusted, after=after, limit=most)

    def target(self, path: Path) -> bytes | None:
        """What a symbolic link says."""
        with self._lock:
            now, trusted = self._now()
            return self._cache.target(path, now, trusted=trusted)

    def xattr(self, path: Path, name: bytes) -> tuple[bytes | None] | None:
        """See `MetadataCache.xattr`."""
        with self._lock:
            now, trusted = self._now()
            return self._cache.xattr(path, name, now, trusted=trusted)

    def xattr_names(self, path: Path) -> tuple[bytes, ...] | None:
        """The names of all extended attributes."""
        with self._lock:
            now, trusted = self._now()
            return self._cache.xattr_names(path, now, trusted=trusted)

    def unverified(self, path: Path, window: range, first: bytes | None = None) -> Unverified:
        """See `metadata_suspects.unverified`."""
        with self._lock:
            return unverified(self._cache, path, self._clock(), window, first)

    # --- kept from one mount to the next

    @property
    def learnt(self) -> int:
        """How often something was learnt: as long as it is the same, what is known is."""
        return self._cache.learnt

    def part(self, path: Path, window: range) -> Part:
        """See `snapshot.part`."""
        with self._lock:
            return part(self._cache, path, window)

    def restore(self, record: KeptDirectory) -> None:
        """See `snapshot.restore`."""
        with self._lock:
            restore(self._cache, record)

    # --- learning from answers

    def asking(self, path: Path | None = None) -> Asked:
        """To be taken before a question is asked, and given back with what is learnt from its answer."""
        with self._lock:
            change_time = None if path is None else self._cache.change_time(path)
            return Asked(self._own.count, self._clock(), self._coherence.moment, change_time)

    def changing(self, paths: Iterable[Path]) -> Asked:
        """As `asking`, before `paths` are changed."""
        with self._lock:
            files = tuple(map(self._cache.file, paths))
            return Asked(self._own.count, self._clock(), self._coherence.moment, files=files)

    def learn(self, path: Path, metadata: FileMetadata | None, as_of: Moment | None, asked: Asked) -> None:
        """Attributes of `path`, or that there is no such file: this only where the feed covers it."""
        with self._lock:
            number = self._judged(path, as_of, asked)
            if number is None or (metadata is None and number == UNKNOWN) or self._is_of_before(metadata, as_of, asked):
                # Newer than what is known or older, nobody can say; but what was seen may not seem to go back.
                self._cache.doubt(path, self._number_before(as_of))
                if number is None or metadata is not None:
                    self._withdraw(path, UNSURE)  # the kernel is about to hear of it all the same
            else:
                self._cache.keep(path, metadata, number, asked.at)

    def learn_file(self, metadata: FileMetadata) -> None:
        """Attributes of a file that was asked for by a handle, whatever names it has."""
        with self._lock:
            self._cache.doubt_other_names(pack(metadata) or ABSENT)

    def learn_verified(self, known: Unverified, verified: Verified, as_of: Moment | None, asked: Asked) -> None:
        """What the agent said of what was `known`."""
        with self._lock:
            as_of = as_of if verified.covered else None
            listing = self._judged(known.path, as_of, asked, listing=True)
            for name, packed in known.names:
                path = (*known.path, name)
                number = self._judged(path, as_of, asked) if listing is None else listing
                if number is None or self._own.overtook_file(file_key(packed), asked.changes):
                    continue
                if name not in verified.changed:
                    self._cache.confirm(path, packed, number, asked.at)
                elif (metadata := verified.changed[name]) is not None or number != UNKNOWN:
                    self._cache.keep(path, metadata, number, asked.at)
            if known.whole and verified.complete and listing is not None and listing != UNKNOWN:
                self._cache.confirm_listing(known.path, verified.appeared, listing, asked.at)
            changed = [(name, metadata) for name, metadata in verified.changed.items() if metadata is not None]
            self._doubt_overtaken(known.path, [*changed, *verified.appeared], as_of, asked)

    def learn_listing(
        self, path: Path, entries: Entries, as_of: Moment | None, asked: Asked, *, whole: bool = True
    ) -> None:
        """Names in the directory `path`, all of them if it is the `whole`; only where the feed covers it."""
        with self._lock:
            number = self._judged(path, as_of, asked, listing=True)
            if number is not None and number != UNKNOWN:
                keep = self._cache.keep_listing if whole else self._cache.keep_names
                keep(path, entries, number, asked.at)
                self._doubt_overtaken(path, entries, as_of, asked)
            elif whole:
                self._cache.contradict(path, entries, self._number_before(as_of))

    def learn_target(self, path: Path, target: bytes, as_of: Moment | None, asked: Asked) -> None:
        """What a symbolic link says."""
        with self._lock:
            number = self._judged(path, as_of, asked)
            if number is not None:
                self._cache.keep_target(path, target, number, settled=self._settled(path, number, asked))

    def learn_xattr(self, path: Path, name: bytes, value: bytes | None, as_of: Moment | None, asked: Asked) -> None:
        """The value of an extended attribute, None when it is absent."""
        with self._lock:
            number = self._judged(path, as_of, asked)
            if number is not None:
                self._cache.keep_xattr(path, name, value, number, settled=self._settled(path, number, asked))

    def learn_xattr_names(self, path: Path, names: tuple[bytes, ...], as_of: Moment | None, asked: Asked) -> None:
        """The names of all extended attributes."""
        with self._lock:
            number = self._judged(path, as_of, asked)
            if number is not None:
                self._cache.keep_xattr_names(path, names, number, settled=self._settled(path, number, asked))

    def changed(self, effects: Effects, as_of: Moment | None, asked: Asked) -> None:
        """One of our own changes is done, or has failed in a way that leaves open what it did."""
        with self._lock:
            self._coherence.heard_of(as_of, self._clock())
            paths = [path for path, _ in effects.facts]
            paths += [] if effects.absent is None else [effects.absent]
            numbers = {path: self._judged(path, as_of, asked) for path in paths}
            files = effects.reached(asked.files)
            self._own.add(effects, files)
            before = self._number_before(as_of)
            if before == UNKNOWN and as_of is not None:
                self._own.unfollowed(as_of)
            self._doing = effects
            self._quiet = frozenset() if effects.failed else frozenset(path for path, _ in effects.touched)
            now, trusted = self._now()
            Settlement(self._cache, before, now, trusted=trusted).settle(effects, files, numbers)
            self._doing = None
            if effects.moved:
                for path in effects.gone:
                    self._withdraw(path, UNSURE)

    # --- with the lock held

    def _now(self) -> tuple[float, bool]:
        now = self._clock()
        return now, self._coherence.trusted(now)

    def _withdrawn(self, path: Path, what: Withdrawal) -> None:
        """Pass on what the cache says, but for what the kernel did itself; and it took along what it moved."""
        done = self._doing
        if done is None:
            self._withdraw(path, what)
            return
        if path not in self._quiet:
            self._withdraw(path, what)
        if done.moved:
            for here, there in (done.gone, done.gone[::-1]):
                if path[: len(here)] == here:
                    self._withdraw(there + path[len(here) :], what)

    def _judged(self, path: Path, as_of: Moment | None, asked: Asked, *, listing: bool = False) -> int | None:
        """The number that an answer may be kept as of; None: not at all."""
        self._coherence.heard_of(as_of, self._clock())
        overtook = self._own.overtook_listing if listing else self._own.overtook
        file = b"" if listing else self._cache.file(path)
        if overtook(path, asked.changes) or self._own.overtook_file(file, asked.changes):
            return None
        allowed = self._coherence.may_keep_listing if listing else self._coherence.may_keep
        if as_of is None:
            # It was looked up after what had been told by then; whether before what was told since, nobody can say, nor
            # whether before another epoch came to be followed.
            if asked.heard == self._coherence.moment:
                return UNKNOWN
            return UNKNOWN if allowed(path, asked.heard) else None
        return as_of.number if allowed(path, as_of) else None

    def _is_of_before(self, metadata: FileMetadata | None, as_of: Moment | None, asked: Asked) -> bool:
        """Whether a file that was asked for has changed since under another name: by us, or as the feed told."""
        if metadata is None:
            return False
        file = file_key_of(metadata.volume, metadata.inode)
        heard = self._number_before(asked.heard) if as_of is None else UNKNOWN
        return self._own.overtook_file(file, asked.changes) or self._cache.was_told_of(file, heard)

    def _doubt_overtaken(self, path: Path, entries: Entries, as_of: Moment | None, asked: Asked) -> None:
        for name, metadata in entries:
            if self._is_of_before(metadata, as_of, asked):
                self._cache.doubt((*path, name), self._number_before(as_of))

    def _settled(self, path: Path, number: int, asked: Asked) -> bool:
        """Whether an answer goes with the change time that is known: it is not of before, if that was known already."""
        known = asked.change_time
        return number != UNKNOWN and known is not None and known == self._cache.change_time(path)

    def _number_before(self, as_of: Moment | None) -> int:
        """The number that the feed had reached before our change was answered, if it is of this epoch."""
        if as_of is None or self._coherence.state is State.LOST or as_of.epoch != self._coherence.moment.epoch:
            return UNKNOWN
        return as_of.number
