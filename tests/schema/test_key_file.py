from __future__ import annotations

import os
import stat

import pytest

from schema.identity import encode_key, peer_id
from schema.key_file import KeyFileError, Secrets, encode_key_file, read_key_file, write_key_file

SECRETS = Secrets(peer_id("laptop"), bytes(range(32)), bytes(range(32, 64)))
BROKER = Secrets(peer_id("relay"), bytes(range(32)))


@pytest.mark.parametrize("secrets", [SECRETS, BROKER])
def test_a_key_file_reads_back_and_is_private_whatever_the_umask(tmp_path, secrets):
    path = tmp_path / "a.key"
    before = os.umask(0)
    try:
        write_key_file(path, secrets)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == secrets


def test_a_key_file_is_never_overwritten_nor_written_through_a_link(tmp_path):
    path = tmp_path / "a.key"
    write_key_file(path, SECRETS)
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    for taken in (path, tmp_path / "link.key"):
        with pytest.raises(KeyFileError, match="never overwritten"):
            write_key_file(taken, BROKER)
    assert read_key_file(path) == SECRETS
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_file_in_a_directory_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(KeyFileError, match=r"cannot be written: No such file or directory"):
        write_key_file(tmp_path / "missing" / "a.key", SECRETS)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_file_that_others_may_touch_is_refused_with_the_remedy(tmp_path, mode):
    path = tmp_path / "a.key"
    write_key_file(path, SECRETS)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_key_file(path)


def test_stricter_modes_are_fine(tmp_path):
    path = tmp_path / "a.key"
    write_key_file(path, SECRETS)
    path.chmod(0o400)
    assert read_key_file(path) == SECRETS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(tmp_path):
    path = tmp_path / "a.key"
    write_key_file(path, SECRETS)
    os.chown(path, 12345, -1)
    with pytest.raises(KeyFileError, match="belongs to user 12345"):
        read_key_file(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo.key", 0o600)
    for path in (tmp_path / "missing.key", tmp_path / "fifo.key", tmp_path):
        with pytest.raises(KeyFileError, match=str(path)):
            read_key_file(path)


@pytest.mark.parametrize(
    "change",
    [
        ("version = 1", "version = 9"),
        ("laptop", "Lap Top"),
        ('"\n', "\n"),
        ("transport_secret = ", "transport_secrets = "),
        ("transport_secret = ", 'transport_secret = "'),
        (encode_key(SECRETS.transport_secret), encode_key(SECRETS.transport_secret[:31])),
        (encode_key(SECRETS.identity_secret), "Z" + encode_key(SECRETS.identity_secret)),
    ],
)
def test_no_complaint_about_a_key_file_shows_its_secrets(tmp_path, change):
    path = tmp_path / "a.key"
    write_key_file(path, SECRETS)
    text = encode_key_file(SECRETS)
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(KeyFileError) as refused:
        read_key_file(path)
    whole = repr(refused.value) + repr(refused.value.__cause__) + str(refused.value)
    for secret in (SECRETS.transport_secret, SECRETS.identity_secret):
        assert encode_key(secret)[:8] not in whole


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.key"
    path.touch(mode=0o600)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(KeyFileError, match="not plain text"):
        read_key_file(path)


def test_the_repr_of_secrets_shows_the_id_only():
    assert repr(SECRETS) == "Secrets(id='laptop')"
