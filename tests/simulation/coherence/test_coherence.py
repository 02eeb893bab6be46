"""The model of coherence.md: hundreds of seeded worlds, and parts that are broken on purpose to see the model fail.

A seed that fails is run again by `python -m pytest tests/simulation/coherence --seed N`; more of them by `--worlds N`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from peer.mount.cached_filesystem import CachedFileSystem
from peer.mount.coherence import Coherence, Missing, Numbered
from peer.mount.coherent_cache import CoherentCache
from peer.mount.feed_follower import FeedFollower
from peer.mount.knowledge import Applied
from peer.mount.metadata_cache import MetadataCache
from peer.mount.recent_changes import Path
from peer.mount.withdrawals import EVERYTHING, Withdrawal
from schema.attributes import FileMetadata
from schema.changes import ChangeBatch, Moment, Renamed
from schema.requests import CreateDir, SetMetadata
from tests.simulation.coherence.client import GRACE, Client
from tests.simulation.coherence.long_writes import LongWrites
from tests.simulation.coherence.world import World

pytestmark = pytest.mark.timeout(300)  # hundreds of worlds, on a machine that has other things to do

WORLDS = 400
"""Those that are run by default; within as many, a broken part must show."""


def _run(seed: int) -> str:
    try:
        return World(seed).run()
    except AssertionError as error:
        pytest.fail(f"in the world with seed {seed} (run it again with --seed {seed}): {error}")


def test_every_answer_is_explained(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    worlds = request.config.getoption("--worlds", default=None) or WORLDS
    for each in range(worlds) if seed is None else [seed]:
        _run(each)


def test_one_seed_is_one_world() -> None:
    assert _run(7) == _run(7)
    assert _run(7) != _run(8)


class _WithoutAsOf(Coherence):
    """A late answer is believed."""

    def may_keep(self, path: Path, as_of: Moment) -> bool:
        return True

    def may_keep_listing(self, path: Path, as_of: Moment) -> bool:
        return True


class _WithoutGaps(Coherence):
    """What comes is applied; what does not come is not missed."""

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Numbered]:
        if batch.first > self._next and batch.epoch == self._epoch:
            self._next = batch.first
        return super().take(batch, heard_at)

    def heard_of(self, as_of: Moment | None, now: float) -> None:
        return

    def missing(self, now: float) -> Missing | None:
        return None


class _WithoutEpochs(Coherence):
    """That changes were lost is not noticed: the new numbers are taken for the old ones' sequel."""

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Numbered]:
        if batch.epoch > self._epoch and self.state.value != "lost":
            self._epoch, self._next, self._known = batch.epoch, batch.first, batch.first - 1
            self._early.clear()
            self._recent.clear(floor=batch.first - 1)
        return super().take(batch, heard_at)

    def heard_of(self, as_of: Moment | None, now: float) -> None:
        if as_of is not None and as_of.epoch == self._epoch:
            super().heard_of(as_of, now)


class _WithoutClock(Coherence):
    """A batch is as old as the relay says, which holds it back as it likes."""

    def answered(self, sent: float, asked_at: float) -> None:
        self._clock_gaps = (math.inf, math.inf)


class _AsTheyCome(Coherence):
    """What came early is applied before what it had to wait for."""

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Numbered]:
        ready = super().take(batch, heard_at)
        latest = range(batch.first, batch.first + len(batch.changes))
        return _renumbered(ready, sorted(ready, key=lambda each: each.number in latest))


class _Backwards(Coherence):
    """What is to be applied now is applied in the opposite order."""

    def take(self, batch: ChangeBatch, heard_at: float) -> list[Numbered]:
        ready = super().take(batch, heard_at)
        return _renumbered(ready, ready[::-1])


def _renumbered(ready: list[Numbered], changes: list[Numbered]) -> list[Numbered]:
    """`changes` under the numbers of `ready`: with its own, a change could come in any order and hide nothing newer."""
    return [Numbered(at.number, each.change) for at, each in zip(ready, changes, strict=True)]


class _KernelFirst(FeedFollower):
    """The kernel is told before the cache, and not after."""

    def heard(self, batch: ChangeBatch, heard_at: float) -> None:
        cache = self._known._cache
        withdraw = cache.withdraw
        for change in batch.changes:
            for path in (change.source, change.destination) if isinstance(change, Renamed) else (change.path,):
                withdraw(path, EVERYTHING)
            self._told(Applied(change, ()))
        with _deaf(cache):
            self._known.take(batch, heard_at)


@contextlib.contextmanager
def _deaf(cache: MetadataCache) -> Iterator[None]:
    """The kernel is told nothing."""
    withdraw, cache.withdraw = cache.withdraw, lambda _path, _what: None
    try:
        yield
    finally:
        cache.withdraw = withdraw


_apply = MetadataCache.apply


def _without_pages(cache: MetadataCache, *arguments: Any) -> None:
    """The kernel keeps the pages of a file whose times it knows."""
    withdraw = cache.withdraw
    cache.withdraw = lambda path, what: withdraw(path, what) if what != Withdrawal.PAGES else None
    try:
        _apply(cache, *arguments)
    finally:
        cache.withdraw = withdraw


def _notice(make: Callable[[int], World] = World) -> bool:
    """Whether as many worlds as are run by default notice that something is broken."""
    for seed in range(WORLDS):
        try:
            make(seed).run()
        except AssertionError:
            return True
    return False


def _quietly(cache: MetadataCache, method: Callable[..., object]) -> Callable[..., object]:
    def quietly(*arguments: object, **keywords: object) -> object:
        with _deaf(cache):
            return method(*arguments, **keywords)

    return quietly


def _hold_back(world: World) -> None:
    """The relay delivers all of the feed in order, each word as long after the last one as it should be, but late."""
    client, path = world.clients[0], (b"a",)
    world.calm = True  # nothing else happens
    world.remote.write(CreateDir(path, mode=0o755))
    client.follower.step()
    client.look(path)
    for seconds in range(30):
        world.now += 1.0
        if seconds == 14:
            world.remote.write(SetMetadata(path, mode=0o700))
        world.remote.notice()
        world.remote.heartbeat()
        world.carry()
        if seconds > 10:
            client.follower.heard(client.inbox.pop(0), world.now)
            client.look(path)


def test_a_feed_that_is_held_back_is_not_believed() -> None:
    _hold_back(World(0))
    with pytest.raises(AssertionError, match="is not explained"):
        _hold_back(World(0, lambda: _WithoutClock(grace=GRACE)))


@pytest.mark.parametrize(
    ("coherence", "follower"),
    [
        pytest.param(_WithoutAsOf, FeedFollower, id="the as_of rule removed"),
        pytest.param(_WithoutGaps, FeedFollower, id="gaps ignored"),
        pytest.param(_WithoutEpochs, FeedFollower, id="overflow ignored"),
        pytest.param(_AsTheyCome, FeedFollower, id="changes applied as they come"),
        pytest.param(_Backwards, FeedFollower, id="the order of changes swapped"),
        pytest.param(Coherence, _KernelFirst, id="the kernel before the cache"),
    ],
)
def test_the_model_notices(coherence: type[Coherence], follower: type[FeedFollower]) -> None:
    assert _notice(lambda seed: World(seed, lambda: coherence(grace=GRACE), follower))


@pytest.mark.parametrize("step", ["learn_node", "doubt_node", "forget_node", "_change"])
def test_the_model_notices_what_the_kernel_is_not_told(step: str) -> None:
    """Each step of the cache that takes a word back."""

    def quiet(seed: int) -> World:
        world = World(seed)
        for client in world.clients:
            cache = client.known._cache
            setattr(cache, step, _quietly(cache, getattr(cache, step)))
        return world

    assert _notice(quiet)


@pytest.mark.parametrize(
    ("room", "method", "broken"),
    [
        pytest.param(LongWrites, "is_written", lambda *_: False, id="a version named while somebody writes"),
        pytest.param(MetadataCache, "apply", _without_pages, id="pages kept that the feed tells of"),
        pytest.param(
            Client, "lost", lambda client: client.kernel.forget_everything(), id="pages kept over a lost feed"
        ),
    ],
)
def test_the_model_notices_who_takes_times_for_contents(
    room: type, method: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, method, broken)
    assert _notice()


def _believed(known: CoherentCache, path: Path) -> FileMetadata | None:
    """What is suspect is taken for sure."""
    found = known.metadata(path)
    return found.metadata if found is not None else None


def _of_path(files: CachedFileSystem, handle: int) -> FileMetadata | None:
    path = files._handles.path(handle)
    return _believed(files._known, path) if path is not None else None


@pytest.mark.parametrize(
    ("room", "method", "broken"),
    [
        pytest.param(CoherentCache, "covered", _believed, id="opened here though it is suspect"),
        pytest.param(CachedFileSystem, "_of_handle", _of_path, id="read here though it is suspect"),
    ],
)
def test_the_model_notices_what_is_stale(
    room: type, method: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, method, broken)
    assert _notice()
