"""The directory of certificates, and what a change of it means."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from broker.admission import Admission, AuthorizedDirectory, user_id_of
from schema.identity import Certificate, encode_certificate
from tests.broker.worlds import PAIRS, certificate


def put(directory: Path, one: Certificate, name: str = "") -> Path:
    path = directory / f"{name or one.id}.cert"
    path.write_text(encode_certificate(one))
    return path


@pytest.fixture
def admission() -> Admission:
    return Admission(PAIRS)


def test_keys_lead_to_users_and_users_to_peers(admission: Admission) -> None:
    laptop = certificate("laptop")
    admission.admit_only([laptop])
    assert admission.user_of_key(laptop.transport_key) == user_id_of(laptop)
    assert admission.peers[user_id_of(laptop)] == "laptop"
    assert admission.user_of_key(bytes(32)) is None
    assert admission.user_of_key(b"") is None


def test_a_user_is_one_key_of_one_peer() -> None:
    assert len({user_id_of(certificate(name, key)) for name in ("laptop", "phone") for key in (0, 1)}) == 4


def test_pairs_have_a_direction(admission: Admission) -> None:
    client, agent = PAIRS[0]
    assert admission.paired(client, agent)
    assert not admission.paired(agent, client)
    assert admission.agents == {"nas", "server"}


def test_who_lost_its_certificate_or_changed_its_key_is_revoked(admission: Admission) -> None:
    admission.admit_only(certificate(name) for name in ("laptop", "phone", "nas"))
    assert admission.admit_only([certificate("laptop"), certificate("phone", 1)]) == {"phone", "nas"}
    assert sorted(admission.peers.values()) == ["laptop", "phone"]
    assert admission.admit_only([]) == {"laptop", "phone"}
    assert admission.peers == {}


def test_a_second_certificate_with_one_id_or_key_is_refused(
    admission: Admission, caplog: pytest.LogCaptureFixture
) -> None:
    laptop = certificate("laptop")
    twin = Certificate(certificate("phone").id, laptop.transport_key)
    admission.admit_only([laptop, certificate("laptop", 1), twin])
    assert admission.peers == {user_id_of(laptop): "laptop"}
    assert "a second certificate for laptop is refused" in caplog.text
    assert "the certificate of phone is refused: its transport key is that of laptop" in caplog.text


def test_the_directory_is_read_when_it_changed_and_not_otherwise(tmp_path: Path) -> None:
    put(tmp_path, certificate("laptop"))
    directory = AuthorizedDirectory(tmp_path)
    assert directory.changed() == [certificate("laptop")]
    assert directory.changed() is None
    phone = put(tmp_path, certificate("phone"))
    assert directory.changed() == [certificate("laptop"), certificate("phone")]
    replaced = put(tmp_path, certificate("phone", 1))
    os.utime(replaced, ns=(1, 1))
    assert directory.changed() == [certificate("laptop"), certificate("phone", 1)]
    phone.unlink()
    assert directory.changed() == [certificate("laptop")]
    assert directory.changed() is None


def test_a_file_that_is_no_certificate_is_skipped_and_the_others_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, certificate("laptop"))
    (tmp_path / "a.cert").write_text("version = 1")
    (tmp_path / "b.cert").write_bytes(b"\xff\xfe")
    (tmp_path / "c.cert").mkdir()
    os.mkfifo(tmp_path / "d.cert")
    (tmp_path / "e.cert").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f.cert").write_text("version = 1\n" + "#" * 100_000)
    (tmp_path / "g.cert").write_text(encode_certificate(certificate("phone")).replace("phone", "../phone"))
    (tmp_path / "notes.txt").write_text("not looked at")
    assert AuthorizedDirectory(tmp_path).changed() == [certificate("laptop")]
    for name in ("a.cert", "b.cert", "f.cert", "g.cert"):
        assert f"{name} is skipped" in caplog.text
    assert "notes" not in caplog.text


def test_a_directory_that_is_gone_admits_nobody(tmp_path: Path) -> None:
    home = tmp_path / "authorized"
    home.mkdir()
    path = put(home, certificate("laptop"))
    directory = AuthorizedDirectory(home)
    directory.changed()
    path.unlink()
    home.rmdir()
    assert directory.changed() == []
    assert directory.changed() is None


def test_a_directory_that_cannot_be_listed_changes_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, certificate("laptop"))
    directory = AuthorizedDirectory(tmp_path)
    directory.changed()

    def fails(_path: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", fails)
        assert directory.changed() is None
        assert directory.changed() is None
    assert caplog.text.count("Input/output error") == 1
    assert directory.changed() is None


def test_no_key_is_ever_logged(admission: Admission, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    laptop = certificate("laptop")
    admission.admit_only([laptop])
    admission.admit_only([])
    text = encode_certificate(laptop)
    key = text.split('transport_key = "')[1].split('"')[0]
    assert "laptop is authorised" in caplog.text
    assert key not in caplog.text
