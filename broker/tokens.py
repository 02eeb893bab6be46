"""Session tokens: a short-lived proof that the sender of an envelope registered with this very broker process.

The one rule: a token is good for one holder only, and only until it expires.

They are found by hashing 16 unguessable bytes into a dict. That is safe against timing: Python hashes bytes with a
random key of the process, so how long a wrong guess takes says nothing about how near it came; and the connection it
comes over is authenticated by CURVE and must be the holder's own anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple, Protocol

from schema.envelope import NO_TOKEN, TOKEN_SIZE


class Issued(NamedTuple):
    """A token and how many seconds it has to live."""

    token: bytes
    expires_in: float


class TokenStore(Protocol):
    """Where tokens are kept. The one here is in memory: when the broker restarts, its peers register again."""

    def issue(self, holder: Hashable, now: float) -> Issued:
        """A token for `holder`, with at least half of its life before it. Earlier ones stay good until they expire."""

    def admits(self, token: bytes, holder: Hashable, now: float) -> bool:
        """Is `token` one of this `holder`, and not expired?"""

    def forget(self, holder: Hashable) -> None:
        """None of `holder`'s tokens is good any more."""

    def sweep(self, now: float) -> None:
        """Free the memory of expired tokens."""

    def __len__(self) -> int:
        """Tokens held now."""


class MemoryTokenStore:
    """Tokens in two dicts. A new one is made only when the newest has lived half of its life: no holder has over 3."""

    def __init__(self, lifetime: float, random: Callable[[int], bytes]) -> None:
        """`lifetime` in seconds; `random(n)` gives n random bytes."""
        self._lifetime: Final = lifetime
        self._random = random
        self._grants: dict[bytes, tuple[Hashable, float]] = {}
        self._by_holder: dict[Hashable, list[bytes]] = {}

    def issue(self, holder: Hashable, now: float) -> Issued:
        """See `TokenStore.issue`."""
        held = self._by_holder.get(holder, [])
        if held:
            left = self._grants[held[-1]][1] - now
            if left >= self._lifetime / 2:
                return Issued(held[-1], left)
        self._drop_expired(holder, now)
        token = self._random(TOKEN_SIZE)
        while token == NO_TOKEN or token in self._grants:
            token = self._random(TOKEN_SIZE)
        self._grants[token] = (holder, now + self._lifetime)
        self._by_holder.setdefault(holder, []).append(token)
        return Issued(token, self._lifetime)

    def admits(self, token: bytes, holder: Hashable, now: float) -> bool:
        """See `TokenStore.admits`."""
        grant = self._grants.get(token)
        return grant is not None and grant[0] is holder and now < grant[1]

    def forget(self, holder: Hashable) -> None:
        """See `TokenStore.forget`."""
        for token in self._by_holder.pop(holder, ()):
            del self._grants[token]

    def sweep(self, now: float) -> None:
        """See `TokenStore.sweep`."""
        for holder in list(self._by_holder):
            self._drop_expired(holder, now)

    def __len__(self) -> int:
        return len(self._grants)

    def _drop_expired(self, holder: Hashable, now: float) -> None:
        held = self._by_holder.get(holder, [])
        kept = [token for token in held if now < self._grants[token][1]]
        for token in held:
            if token not in kept:
                del self._grants[token]
        if kept:
            self._by_holder[holder] = kept
        else:
            self._by_holder.pop(holder, None)
