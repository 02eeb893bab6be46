from __future__ import annotations

import pytest

from peer.errors import AuthenticationFailed
from peer.mount.block_store.layout import OVERHEAD, SALT_SIZE
from peer.mount.block_store.sealing import Sealer
from peer.session.primitives import AesCipher, Cipher
from schema.attributes import FileVersion
from tests.peer.mount.block_store.shop import REALM, SECRET, VOLUME, file_version

SALT = bytes(range(1, SALT_SIZE + 1))
BLOCK = b"forty-two bytes that nobody else may read."


def sealed_version(secret=SECRET, realm=REALM, volume=VOLUME, version=None, cipher=AesCipher):
    return Sealer(secret, realm, cipher).version(volume, version or file_version(42))


def opened(version, slot, index=3):
    target = bytearray(len(slot) - OVERHEAD)
    version.open(index, memoryview(slot), memoryview(target))
    return bytes(target)


SLOT = SALT + sealed_version().seal(3, SALT, BLOCK)

OTHERS = {
    "secret": sealed_version(secret=bytes(32)),
    "realm": sealed_version(realm=b"another agent"),
    "volume": sealed_version(volume=VOLUME + 1),
    "inode": sealed_version(version=FileVersion(8, 42, 1_000, 2_000)),
    "size": sealed_version(version=FileVersion(7, 43, 1_000, 2_000)),
    "mtime": sealed_version(version=FileVersion(7, 42, -1_000, 2_000)),
    "ctime": sealed_version(version=FileVersion(7, 42, 1_000, 2_001)),
    "cipher": sealed_version(cipher=Cipher),
}


def test_what_was_sealed_opens():
    assert opened(sealed_version(), SLOT) == BLOCK
    assert BLOCK not in SLOT


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_nothing_opens_elsewhere_and_every_name_differs(other):
    with pytest.raises(AuthenticationFailed):
        opened(other, SLOT)
    assert other.container(0) != sealed_version().container(0)


def test_a_block_opens_in_its_own_position_only():
    for index in (0, 2, 4, 2**40):
        with pytest.raises(AuthenticationFailed):
            opened(sealed_version(), SLOT, index)


def test_every_single_altered_byte_is_noticed_and_no_plaintext_gets_out():
    for position in range(len(SLOT)):
        altered = bytearray(SLOT)
        altered[position] ^= 0x10
        target = bytearray(b"x" * len(BLOCK))
        with pytest.raises(AuthenticationFailed):
            sealed_version().open(3, memoryview(altered), memoryview(target))
        assert target == bytes(len(BLOCK))


def test_each_salt_gives_a_key_of_its_own():
    version = sealed_version()
    assert version.seal(3, SALT, BLOCK) != version.seal(3, SALT[::-1], BLOCK)


def test_segments_have_names_of_their_own_that_say_nothing():
    names = {sealed_version().container(segment) for segment in range(100)}
    assert len(names) == 100
    assert {len(name) for name in names} == {40}


def test_numbers_do_not_run_together():
    first = sealed_version(volume=1, version=FileVersion(23, 4, 5, 6))
    assert first.container(0) != sealed_version(volume=12, version=FileVersion(3, 4, 5, 6)).container(0)


def test_a_secret_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short", REALM, Cipher)
