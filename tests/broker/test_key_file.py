"""The broker's own key: the one the configuration names, never shown. The form of the file is tested with `schema`."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from broker.errors import KeyFileError
from broker.key_file import read_key_file
from schema.identity import peer_id
from schema.key_file import Secrets, write_key_file

SECRET = bytes(range(32))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "relay.key"
    write_key_file(path, Secrets(peer_id("relay"), SECRET))
    return path


def test_the_public_half_is_the_one_that_curve_uses(tmp_path: Path) -> None:
    public85, secret85 = zmq.curve_keypair()
    write_key_file(tmp_path / "a.key", Secrets(peer_id("relay"), z85.decode(secret85)))
    key = read_key_file(tmp_path / "a.key", "relay")
    assert key.certificate.transport_key == z85.decode(public85)
    assert key.secret == z85.decode(secret85)
    assert key.certificate.identity_key is None


def test_a_peers_identity_secret_does_not_come_along(tmp_path: Path) -> None:
    write_key_file(tmp_path / "a.key", Secrets(peer_id("relay"), SECRET, bytes(32)))
    assert read_key_file(tmp_path / "a.key", "relay").certificate.identity_key is None


def test_a_file_that_others_may_use_is_refused(file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"mode 0640.*chmod 600"):
        read_key_file(file, "relay")


def test_a_missing_file_is_the_brokers_own_kind_of_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such key file"):
        read_key_file(tmp_path / "nothing", "relay")


def test_the_key_of_another_is_refused(file: Path) -> None:
    with pytest.raises(KeyFileError, match=r"the key of 'relay', but the configuration says broker.id = 'other'"):
        read_key_file(file, "other")


def test_the_key_does_not_show_its_secret(file: Path) -> None:
    key = read_key_file(file, "relay")
    for shown in (repr(key), str(key), f"{key}"):
        assert "SHA256:" in shown
        assert repr(SECRET)[2:20] not in shown
