"""Which questions verify what is suspect, and what their answers mean. Sans-IO.

The one rule: from the top down, a few thousand names a question, and never more than an agent takes. A directory of
more names than that is verified name by name: whether these are all is asked when somebody lists it.
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
from schema.fingerprints import SALT_SIZE, fingerprint
from schema.known_names import KnownDirectory, KnownName
from schema.limits import MAX_PAGE_ENTRIES
from schema.replies import VerifiedMetadata
from schema.requests import VerifyMetadata

Path = tuple[bytes, ...]

QUESTION_BYTES: Final = 256 * 1024
"""Bytes of names and paths in one question, about."""
_DIRECTORIES: Final = 1024
"""Directories in one question, and those that are looked into for it without finding anything to ask."""


class Question(NamedTuple):
    """What to ask the agent, and what it is about."""

    request: VerifyMetadata
    known: list[Unverified]
    asked: Asked


class BulkVerification:
    """Verifies `cache`. `random(n)` gives n bytes that nobody can know beforehand. Thread-safe but for the walk."""

    def __init__(self, cache: CoherentCache, random: Callable[[int], bytes]) -> None:
        self._cache: Final = cache
        self._random: Final = random
        self._waiting: deque[tuple[Path, int]] = deque()

    def begin(self, top: Path) -> None:
        """Walk all that is known at and below `top`, beginning anew."""
        self._waiting = deque([(top, 0)])

    @property
    def walking(self) -> bool:
        """Whether `next` has more to look at."""
        return bool(self._waiting)

    def next(self) -> Question | None:
        """The walk's next question; None: none yet (`walking`), or none any more."""
        known: list[Unverified] = []
        names = size = 0
        for _ in range(_DIRECTORIES):
            if not self._waiting:
                break
            path, start = self._waiting[0]
            found = self._cache.unverified(path, range(start, start + MAX_PAGE_ENTRIES))
            weight = sum(map(len, path)) + sum(len(name) for name, _ in found.names)
            if known and (names + len(found.names) > MAX_PAGE_ENTRIES or size + weight > QUESTION_BYTES):
                break
            self._waiting.popleft()
            self._waiting.extend(((*path, name), 0) for name in found.below)
            if found.more:
                self._waiting.appendleft((path, start + MAX_PAGE_ENTRIES))
            if found.names or found.whole:
                known.append(found)
                names += len(found.names)
                size += weight
        return self._question(known) if known else None

    def about(self, path: Path) -> Question | None:
        """A question about `path` and what else is suspect in its directory; None if it is none that is known."""
        if not path:
            return None
        found = self._cache.unverified(path[:-1], range(MAX_PAGE_ENTRIES), path[-1])
        return self._question([found]) if found.names else None

    def about_names(self, path: Path) -> Question | None:
        """A question about the directory `path`, if it is known what was in it."""
        found = self._cache.unverified(path, range(MAX_PAGE_ENTRIES))
        return self._question([found]) if found.whole else None

    def answered(self, question: Question, answer: VerifiedMetadata) -> None:
        """Learn what the agent said."""
        changed: dict[int, FileMetadata | None] = {each.index: each.metadata for each in answer.changed}
        appeared: dict[int, list[tuple[bytes, FileMetadata]]] = {}
        for other in answer.appeared:
            appeared.setdefault(other.directory, []).append((other.name, other.metadata))
        start = 0
        for number, (known, said) in enumerate(zip(question.known, answer.directories, strict=True)):
            end = start + len(known.names)
            if said.found:
                verified = Verified(
                    {known.names[index - start][0]: changed[index] for index in range(start, end) if index in changed},
                    appeared.get(number, ()),
                    said.covered,
                    said.complete,
                )
                self._cache.learn_verified(known, verified, answer.as_of, question.asked)
            start = end

    def _question(self, known: list[Unverified]) -> Question:
        asked = self._cache.asking()
        salt = self._random(SALT_SIZE)
        names = tuple(
            KnownName(name, fingerprint(verifiable(packed), salt) if packed else None)
            for each in known
            for name, packed in each.names
        )
        directories = tuple(KnownDirectory(each.path, len(each.names), each.whole) for each in known)
        return Question(VerifyMetadata(salt, directories, names), known, asked)
