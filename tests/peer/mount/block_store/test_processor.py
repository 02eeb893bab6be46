"""The cipher follows from what the processor says of itself; what another cipher or version sealed is a miss."""

from __future__ import annotations

import hashlib
import os

import pytest

from peer.mount.block_store import sealing
from peer.mount.block_store.layout import BLOCK_SIZE, SALT_SIZE
from peer.mount.block_store.processor import best_cipher
from peer.session.primitives import AesCipher, Cipher, encrypt
from tests.peer.mount.block_store.shop import REALM, SECRET, VOLUME, content, file_version

SIZE = 3 * BLOCK_SIZE
INFO = {
    "x86-64": ("processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq ssse3 aes avx2\nbugs\t\t:\n", AesCipher),
    "x86-64 without AES": ("processor\t: 0\nflags\t\t: fpu sse2 pclmulqdq vaes_none\n", Cipher),
    "a virtual machine that hides it": ("flags\t\t: fpu sse2 aes\n", Cipher),
    "ARM": ("processor\t: 0\nFeatures\t: fp asimd aes pmull sha1 crc32\n", AesCipher),
    "Raspberry Pi 4": ("processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n", Cipher),
    "something else": ("cpu model: aes pclmulqdq\n", Cipher),
    "nothing": ("", Cipher),
}


@pytest.mark.parametrize(("text", "cipher"), INFO.values(), ids=INFO)
def test_the_cipher_is_what_the_processor_has_instructions_for(tmp_path, text, cipher):
    (tmp_path / "cpuinfo").write_text(text)
    assert best_cipher(str(tmp_path / "cpuinfo")) is cipher


def test_without_a_word_from_the_kernel_it_is_the_one_that_needs_nothing(tmp_path):
    assert best_cipher(str(tmp_path / "absent")) is Cipher


@pytest.mark.parametrize("cipher", [Cipher, AesCipher])
def test_a_store_keeps_with_either(shop, cipher):
    store = shop.open(cipher=cipher)
    assert store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)


def test_what_the_other_cipher_sealed_is_a_miss_and_neither_refused_nor_overwritten(shop):
    first, second = shop.open(cipher=Cipher), shop.open(cipher=AesCipher)
    first.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert second.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert not second.complete(file_version(SIZE), VOLUME)
    assert second.statistics().refused == 0
    second.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert first.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)
    assert len(shop.containers()) == 2


class OfVersion02:
    """A container as it was sealed before the cipher was part of the keys."""

    def __init__(self, directory, version):
        identity = b"%d/%d/%d/%d/%d" % (VOLUME, version.inode, version.size, version.mtime_ns, version.ctime_ns)
        names = hashlib.blake2b(REALM, key=SECRET, person=b"remotefs-names").digest()
        contents = hashlib.blake2b(REALM, key=SECRET, person=b"remotefs-content").digest()
        file_key = hashlib.blake2b(identity, digest_size=32, key=contents).digest()
        name = hashlib.blake2b(identity + b"/0", digest_size=sealing.NAME_SIZE, key=names).hexdigest()
        self.path = directory / name[:2] / name[2:]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            for index in range(version.size // BLOCK_SIZE):
                salt = os.urandom(SALT_SIZE)
                key = hashlib.blake2b(salt, digest_size=32, key=file_key).digest()
                file.write(salt + encrypt(key, 0, index.to_bytes(8, "little"), bytes(BLOCK_SIZE)))


def test_what_an_older_version_sealed_is_a_miss_and_goes_first_when_room_is_needed(shop):
    shop.directory.mkdir(mode=0o700)
    old = OfVersion02(shop.directory, file_version(SIZE))
    os.utime(old.path, (1_000_000_000, 1_000_000_000))
    store = shop.open(max_bytes=8 << 20)
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) is None
    assert store.missing(file_version(SIZE), VOLUME, 0, SIZE) == [range(3)]
    assert store.statistics().refused == 0
    assert store.write(file_version(SIZE), VOLUME, 0, content(SIZE))
    assert store.read(file_version(SIZE), VOLUME, 0, SIZE) == content(SIZE)
    for inode in range(100, 1000):
        store.write(file_version(SIZE, inode=inode), VOLUME, 0, content(SIZE))
        if not old.path.exists():
            return
    pytest.fail("it is there still")
