"""Worlds in which mounts restart with what they knew, and mounts that believe it unasked, which the model notices.

A seed that fails is run again by `python -m pytest tests/simulation/coherence --seed N`; more of them by `--worlds N`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from peer.mount.bulk_verification import BulkVerification, Question
from peer.mount.coherent_cache import CoherentCache
from peer.mount.kept_metadata.records import KeptDirectory
from peer.mount.metadata_cache import MetadataCache
from peer.mount.metadata_node import NEVER, unpack
from peer.mount.metadata_tree import Path
from schema.replies import VerifiedMetadata
from tests.simulation.coherence.client import Client
from tests.simulation.coherence.restarts import RestartingWorld

pytestmark = pytest.mark.timeout(300)  # hundreds of worlds, on a machine that has other things to do

WORLDS = 100
ENOUGH = 600
"""Worlds within which a broken part must show."""


def test_every_answer_is_explained_across_restarts(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed", default=None)
    worlds = request.config.getoption("--worlds", default=None) or WORLDS
    confirmed = 0
    for each in range(worlds) if seed is None else [seed]:
        world = RestartingWorld(each)
        try:
            world.run()
        except AssertionError as error:
            pytest.fail(f"in the world with seed {each} (run it again with --seed {each}): {error}")
        confirmed += world.confirmed
    assert confirmed or seed is not None, "nothing was ever verified"


def _notices(worlds: int = ENOUGH, **broken: Callable[[Client, KeptDirectory], None]) -> bool:
    for seed in range(worlds):
        try:
            RestartingWorld(seed, **broken).run()
        except AssertionError:
            return True
    return False


def test_the_model_notices_who_believes_what_was_kept() -> None:
    def believe(client: Client, record: KeptDirectory) -> None:
        for kept in record.names:
            path = (*record.path, kept.name)
            client.known.learn(path, unpack(kept.packed), None, client.known.asking())

    assert _notices(restore=believe)


def test_the_model_notices_who_believes_what_was_verified_whatever_changed_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn_verified = CoherentCache.learn_verified

    def unjudged(cache: CoherentCache, *arguments: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(cache, "_judged", lambda path, as_of, asked, listing=False: as_of.number, raising=True)
            learn_verified(cache, *arguments)

    monkeypatch.setattr(CoherentCache, "learn_verified", unjudged)
    assert _notices()


def _nothing_changed(question: Question, answer: VerifiedMetadata) -> VerifiedMetadata:
    return replace(answer, changed=())


def _nothing_removed(question: Question, answer: VerifiedMetadata) -> VerifiedMetadata:
    return replace(answer, changed=tuple(each for each in answer.changed if each.metadata is not None))


def _nothing_appeared(question: Question, answer: VerifiedMetadata) -> VerifiedMetadata:
    return replace(answer, appeared=())


def _all_the_same(question: Question, answer: VerifiedMetadata) -> VerifiedMetadata:
    said = zip(question.known, answer.directories, strict=True)
    return replace(
        answer, directories=tuple(replace(each, complete=True) if of.compared else each for of, each in said)
    )


def _all_in_the_first_name(question: Question, answer: VerifiedMetadata) -> VerifiedMetadata:
    return replace(answer, changed=tuple(replace(each, index=0) for each in answer.changed[:1]))


@pytest.mark.parametrize(
    "misheard", [_nothing_changed, _nothing_removed, _nothing_appeared, _all_the_same, _all_in_the_first_name]
)
def test_the_model_notices_who_mishears_what_was_verified(
    misheard: Callable[[Question, VerifiedMetadata], VerifiedMetadata], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = BulkVerification.answered

    def mishear(walk: BulkVerification, question: Question, answer: VerifiedMetadata) -> None:
        answered(walk, question, misheard(question, answer))

    monkeypatch.setattr(BulkVerification, "answered", mishear)
    assert _notices(WORLDS)


def test_the_model_notices_who_calls_a_listing_whole_that_lost_a_name_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    confirm_listing = MetadataCache.confirm_listing

    def whole(cache: MetadataCache, path: Path, *arguments: Any) -> None:
        node = cache.tree.find(path)
        if node is not None and node.details is not None:
            node.details.complete, node.details.names_generation = True, NEVER
        confirm_listing(cache, path, *arguments)

    monkeypatch.setattr(MetadataCache, "confirm_listing", whole)
    assert _notices()
