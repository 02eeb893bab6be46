"""The store against a dictionary: whatever happens to it, it says what was put or that it does not know."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from peer.mount.block_store.layout import BLOCK_SIZE, SLOT_SIZE
from tests.peer.mount.block_store.shop import VOLUME, Shop, content, file_version, put_back

SIZES = [0, 1, 4056, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE - 7]
VERSIONS = [file_version(size, ctime=ctime) for size in SIZES for ctime in (10, 11)]
CONTENTS = {version: content(version.size, seed) for seed, version in enumerate(VERSIONS)}
VERSION = st.sampled_from(VERSIONS)


class AgainstADictionary(RuleBasedStateMachine):
    """`certain` holds the blocks that must be there, `possible` those that may be: nobody can know after a kill."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.shop = Shop(self.folder / "blocks")
        self.stores = [self.shop.open(), self.shop.open()]
        self.certain = {version: set() for version in VERSIONS}
        self.contents = dict(CONTENTS)

    def teardown(self):
        self.shop.close()
        shutil.rmtree(self.folder)

    @rule(version=VERSION, which=st.integers(0, 1), data=st.data())
    def write(self, version, which, data):
        blocks = -(-version.size // BLOCK_SIZE)
        first = data.draw(st.integers(0, max(blocks - 1, 0)))
        last = data.draw(st.integers(first, blocks))
        piece = self.contents[version][first * BLOCK_SIZE : last * BLOCK_SIZE]
        assert self.stores[which].write(version, VOLUME, first, piece)
        self.certain[version] |= set(range(first, last))

    @rule(version=VERSION, which=st.integers(0, 1), offset=st.integers(0, 3 * BLOCK_SIZE), size=st.integers(0, 2**19))
    def read(self, version, which, offset, size):
        found = self.stores[which].read(version, VOLUME, offset, size)
        expected = self.contents[version][offset : offset + size]
        wanted = range(offset // BLOCK_SIZE, -(-(offset + len(expected)) // BLOCK_SIZE)) if expected else range(0)
        if set(wanted) <= self.certain[version]:
            assert found == expected
        else:
            assert found is None

    @rule(which=st.integers(0, 1))
    def open_again(self, which):
        self.stores[which] = self.shop.reopen(self.stores[which])

    @rule(version=VERSION, which=st.integers(0, 1))
    def forget(self, version, which):
        self.stores[which].forget(version, VOLUME)
        self.certain[version] = set()

    @rule(version=VERSION, which=st.integers(0, 1), seed=st.integers(0, 2**32), data=st.data())
    def be_killed_while_writing(self, version, which, seed, data):
        """A prefix of the slot, or any of its pages, got to the disk; the rest is what was there before."""
        blocks = -(-version.size // BLOCK_SIZE)
        if not blocks:
            return
        index = data.draw(st.integers(0, blocks - 1))
        paths = {path: path.read_bytes() for path in self.shop.containers()}
        piece = self.contents[version][index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        self.stores[which].write(version, VOLUME, index, piece)
        for path in self.shop.containers():
            after, before = path.read_bytes(), paths.get(path, b"")
            if after != before:
                put_back(path, torn(before, after, index * SLOT_SIZE, random.Random(seed)))
        # Whole or not: the store finds out, and from then on it is certain.
        found = self.stores[1 - which].read(version, VOLUME, index * BLOCK_SIZE, BLOCK_SIZE)
        assert found is None or found == piece
        self.certain[version] -= {index}
        if found is not None:
            self.certain[version] |= {index}

    @rule(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), number=st.integers(0))
    def a_bit_flips(self, position, bit, number):
        paths = self.shop.containers()
        if not paths:
            return
        path = paths[number % len(paths)]
        found = bytearray(path.read_bytes())
        found[int(position * len(found))] ^= 1 << bit
        put_back(path, found)
        # Reading everything finds the block that does not open; one at most may have got lost, and none appeared.
        lost = 0
        for version, certain in self.certain.items():
            for index in range(-(-version.size // BLOCK_SIZE)):
                found = self.stores[0].read(version, VOLUME, index * BLOCK_SIZE, BLOCK_SIZE)
                if index in certain and found is None:
                    lost += 1
                    certain.remove(index)
                elif index in certain:
                    assert found == self.contents[version][index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
                else:
                    assert found is None
        assert lost <= 1

    @invariant()
    def what_it_says_of_itself_is_so(self):
        if not hasattr(self, "certain"):
            return
        for version in VERSIONS[::3]:
            blocks = range(-(-version.size // BLOCK_SIZE))
            lacking = self.stores[0].missing(version, VOLUME, 0, version.size)
            assert [index for gap in lacking for index in gap] == sorted(set(blocks) - self.certain[version])
            assert self.stores[1].complete(version, VOLUME) == (not lacking)


def torn(before, after, start, chance):
    """What a file holds whose write from `start` on was cut short, or whose pages went to the disk in any order."""
    before = before.ljust(len(after), b"\0")
    if chance.random() < 0.5:
        cut = chance.randrange(start, len(after) + 1)
        return after[:cut] + before[cut:]
    pages = [after if chance.random() < 0.5 else before for _ in range(len(after) // 4096 + 1)]
    return b"".join(page[i * 4096 : (i + 1) * 4096] for i, page in enumerate(pages))


AgainstADictionary.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestAgainstADictionary = AgainstADictionary.TestCase
