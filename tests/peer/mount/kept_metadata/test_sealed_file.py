"""The sealed file: all that was written, or an error; and nothing in it that can be read."""

from __future__ import annotations

import os

import pytest

from peer.errors import KeptDataRefused
from peer.mount.kept_metadata.sealed_file import SALT_SIZE, SealedFile

SECRET, MAGIC = b"k" * 32, b"TESTfil1"
PIECES = [b"first", b"", b"the third piece of them"]


@pytest.fixture
def file(tmp_path):
    return SealedFile(tmp_path / "below" / "name", SECRET, MAGIC, 1000)


def other(file, secret=SECRET, magic=MAGIC):
    return SealedFile(file.path, secret, magic, 1000)


@pytest.mark.parametrize("pieces", [PIECES, PIECES[:1], [b""]])
def test_what_is_written_is_read(file, pieces):
    file.write(pieces)
    assert list(file.read()) == pieces
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.path.parent) == [file.path.name]


def test_nothing_written_is_one_empty_piece(file):
    file.write([])
    assert list(file.read()) == [b""]


def test_a_name_that_is_not_there_is_said_so(file):
    with pytest.raises(FileNotFoundError):
        list(file.read())


def test_nothing_in_it_can_be_read(file):
    file.write([b"a secret name" * 10])
    content = file.path.read_bytes()
    assert b"secret" not in content
    file.write([b"a secret name" * 10])
    assert file.path.read_bytes()[len(MAGIC) :] != content[len(MAGIC) :]


def test_every_cut_and_every_flipped_byte_is_noticed(file):
    file.write(PIECES)
    content = file.path.read_bytes()
    for length in range(len(content)):
        file.path.write_bytes(content[:length])
        with pytest.raises(KeptDataRefused):
            list(file.read())
    for at in range(len(content)):
        bent = bytearray(content)
        bent[at] ^= 0x40
        file.path.write_bytes(bent)
        with pytest.raises(KeptDataRefused):
            list(file.read())
    file.path.write_bytes(content + b"\0\0\0\x10" + bytes(16))
    with pytest.raises(KeptDataRefused):
        list(file.read())


def test_pieces_cannot_change_places_or_files(file):
    file.write([b"one", b"two", b"end"])
    content = file.path.read_bytes()
    head, size = len(MAGIC) + SALT_SIZE, 4 + 3 + 16
    one, two, end = (content[head + n * size :][:size] for n in range(3))
    for forged in (two + one + end, one + end, one + two + two + end, end):
        file.path.write_bytes(content[:head] + forged)
        with pytest.raises(KeptDataRefused):
            list(file.read())
    file.write([b"one", b"two", b"end"])
    later = file.path.read_bytes()
    file.path.write_bytes(later[: head + size] + content[head + size :])
    with pytest.raises(KeptDataRefused):
        list(file.read())


def test_only_its_own_key_and_kind_open_it(file):
    file.write(PIECES)
    for stranger in (other(file, secret=b"x" * 32), other(file, magic=b"TESTfil2")):
        with pytest.raises(KeptDataRefused):
            list(stranger.read())


def test_a_writer_that_fails_leaves_what_was_there(file):
    def broken():
        yield b"some"
        raise RuntimeError

    file.write(PIECES)
    with pytest.raises(RuntimeError):
        file.write(broken())
    assert list(file.read()) == PIECES
    assert os.listdir(file.path.parent) == [file.path.name]


def test_a_link_or_a_fifo_in_its_place_leads_nowhere(file, tmp_path):
    file.write(PIECES)
    elsewhere = tmp_path / "elsewhere"
    file.path.rename(elsewhere)
    file.path.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic"):
        list(file.read())
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(KeptDataRefused):
        list(file.read())


def test_drafts_of_writers_that_were_killed_go(file):
    file.write(PIECES)
    old, new = (file.path.with_name(f"{file.path.name}.{end}") for end in ("old", "new"))
    for draft in (old, new):
        draft.write_bytes(b"")
    os.utime(old, (1, 1))
    file.drop_drafts(1000.0)
    assert not old.exists()
    assert new.exists()
    assert list(file.read()) == PIECES
