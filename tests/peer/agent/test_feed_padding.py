"""What the relay can tell from the lengths of a change feed."""

from __future__ import annotations

import pytest

from peer.channel.packing import Padding
from peer.session.primitives import TAG_SIZE
from tests.peer.agent.feed_world import World

_COUNTER = 8


@pytest.fixture
def padded(dispatcher, export):
    world = World(dispatcher, export, padding=Padding.POWERS)
    yield world
    world.watcher.stop()


def test_with_padding_a_batch_has_one_of_few_lengths(padded):
    padded.start()
    reader = padded.follow()
    for number in range(40):
        name = padded.export / ("n" * (1 + 6 * number))
        name.touch()
        reader.wait_for_path(padded.path(name.name))
    lengths = {len(body) - _COUNTER - TAG_SIZE for _, body in padded.shelf.published}
    assert lengths <= {1 << power for power in range(8, 20)}
