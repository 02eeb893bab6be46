"""Which questions verify what is suspect, and what their answers mean. Sans-IO.

The one rule: from the top down, a few thousand names a question, and never more than an agent takes. A directory of
which all names were known is asked about by one fingerprint, and name by name only if that differs. One with more names
than a question takes is verified name by name: whether these are all is asked when somebody lists it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from peer.mount.coherent_cache import CoherentCache
from peer.mount.knowledge import Asked
from peer.mount.metadata_node import verifiable
from peer.mount.metadata_suspects import Unverified, Verified
from schema.attributes import FileMetadata
from schema.fingerprints import SALT_SIZE, fingerprint, fingerprint_of_all
from schema.known_names import KnownDirectory, KnownName
from schema.limits import MAX_COMPARED, MAX_PAGE_ENTRIES
from schema.replies import VerifiedMetadata
from schema.requests import VerifyMetadata

Path = tuple[bytes, ...]

QUESTION_BYTES: Final = 256 * 1024
"""Bytes of names and paths in one question, about."""
FEW: Final = 4
"""With so few names, what another question would cost if one differs is more than what their fingerprints do."""
_NAMED_BYTES: Final = 12
_DIRECTORIES: Final = 1024
"""Directories in one question, and those that are looked into for it without finding anything to ask."""


class _Place(NamedTuple):
    """Where a walk is to go: a directory, from how many names on; `again` because it is not what it was."""

    path: Path
    start: int = 0
    again: bool = False


class _Known(NamedTuple):
    """What a question is about: names one by one, or all names of a directory `compared` at once."""

    found: Unverified
    compared: bool = False

    @property
    def weight(self) -> int:
        """Bytes in a question, about."""
        names = 0 if self.compared else sum(len(name) + _NAMED_BYTES for name, _ in self.found.names)
        return sum(map(len, self.found.path)) + names


class Question(NamedTuple):
    """What to ask the agent, and what it is about."""

    request: VerifyMetadata
    known: list[_Known]
    asked: Asked


class BulkVerification:
    """Verifies `cache`. `random(n)` gives n bytes that nobody can know beforehand. Thread-safe but for the walk.

    A directory of up to `few` names is asked about name by name at once.
    """

    def __init__(self, cache: CoherentCache, random: Callable[[int], bytes], *, few: int = FEW) -> None:
        self._cache: Final = cache
        self._random: Final = random
        self._few: Final = few
        self._waiting: deque[_Place] = deque()
        self.uncovered = False
        """Whether the agent said, since the walk began, that something is not under watch: perhaps it is later."""

    def begin(self, top: Path) -> None:
        """Walk all that is known at and below `top`, beginning anew."""
        self._waiting = deque([_Place(top)])
        self.uncovered = False

    @property
    def walking(self) -> bool:
        """Whether `next` has more to look at."""
        return bool(self._waiting)

    def next(self) -> Question | None:
        """The walk's next question; None: none yet (`walking`), or none any more."""
        known: list[_Known] = []
        compared = named = size = 0
        for _ in range(_DIRECTORIES):
            if not self._waiting:
                break
            place = self._waiting[0]
            each = self._look(place)
            found, count = each.found, len(each.found.names)
            compared += count if each.compared else 0
            named += 0 if each.compared else count
            size += each.weight
            if known and (compared > MAX_COMPARED or named > MAX_PAGE_ENTRIES or size > QUESTION_BYTES):
                break
            self._waiting.popleft()
            if not place.again:
                self._waiting.extend(_Place((*place.path, name)) for name in found.below)
            if found.more:
                self._waiting.appendleft(place._replace(start=place.start + MAX_PAGE_ENTRIES))
            if count or found.whole:
                known.append(each)
        return self._question(known) if known else None

    def about(self, path: Path) -> Question | None:
        """A question about `path` and what else is suspect in its directory; None if it is none that is known."""
        if not path:
            return None
        found = self._cache.unverified(path[:-1], range(MAX_PAGE_ENTRIES), path[-1])
        return self._question([_Known(found)]) if found.names else None

    def about_names(self, path: Path) -> Question | None:
        """A question about the directory `path`, if it is known what was in it."""
        found = self._cache.unverified(path, range(MAX_PAGE_ENTRIES))
        return self._question([_Known(found)]) if found.whole else None

    def answered(self, question: Question, answer: VerifiedMetadata) -> None:
        """Learn what the agent said."""
        changed: dict[int, FileMetadata | None] = {each.index: each.metadata for each in answer.changed}
        appeared: dict[int, list[tuple[bytes, FileMetadata]]] = {}
        for other in answer.appeared:
            appeared.setdefault(other.directory, []).append((other.name, other.metadata))
        start = 0
        for number, ((known, compared), said) in enumerate(zip(question.known, answer.directories, strict=True)):
            self.uncovered = self.uncovered or (said.found and not said.covered)
            end = start if compared else start + len(known.names)
            if compared and said.found and not said.complete:
                self._waiting.append(_Place(known.path, again=True))
            elif said.found:
                verified = Verified(
                    {known.names[index - start][0]: changed[index] for index in range(start, end) if index in changed},
                    appeared.get(number, ()),
                    said.covered,
                    said.complete,
                )
                self._cache.learn_verified(known, verified, answer.as_of, question.asked)
            start = end

    def _look(self, place: _Place) -> _Known:
        if not place.again and not place.start:
            found = self._cache.unverified(place.path, range(MAX_COMPARED))
            if found.whole and len(found.names) > self._few:
                return _Known(found, compared=True)
        return _Known(self._cache.unverified(place.path, range(place.start, place.start + MAX_PAGE_ENTRIES)))

    def _question(self, known: list[_Known]) -> Question:
        asked = self._cache.asking()
        salt = self._random(SALT_SIZE)
        names = tuple(
            KnownName(name, fingerprint(verifiable(packed), salt) if packed else None)
            for each in known
            if not each.compared
            for name, packed in each.found.names
        )
        directories = tuple(_as_asked(each, salt) for each in known)
        return Question(VerifyMetadata(salt, directories, names), known, asked)


def _as_asked(known: _Known, salt: bytes) -> KnownDirectory:
    found = known.found
    if not known.compared:
        return KnownDirectory(found.path, len(found.names), found.whole)
    entries = sorted((name, verifiable(packed)) for name, packed in found.names)
    return KnownDirectory(found.path, len(entries), fingerprint=fingerprint_of_all(entries, salt))
