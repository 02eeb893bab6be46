from __future__ import annotations

import os
import stat

import pytest

from peer.certificates import (
    MAX_CERTIFICATE_SIZE,
    certificate_of,
    generate,
    pin,
    read_certificate,
    read_own_keys,
    read_relay_key,
    write_certificate,
)
from peer.errors import CertificateRefused, KeyRefused
from schema.identity import encode_certificate, peer_id
from schema.key_file import Secrets, write_key_file

LAPTOP = peer_id("laptop")


@pytest.fixture
def own(tmp_path):
    """Key file and certificate of ``laptop``, and the secrets in them."""
    secrets = generate(LAPTOP)
    write_key_file(tmp_path / "laptop.key", secrets)
    write_certificate(tmp_path / "laptop.cert", certificate_of(secrets))
    return tmp_path / "laptop.key", tmp_path / "laptop.cert", secrets


def test_own_keys_are_read_back_and_their_public_half_is_the_certificate(own):
    key_file, cert_file, secrets = own
    keys = read_own_keys(key_file, cert_file, LAPTOP)
    assert keys.certificate == read_certificate(cert_file) == certificate_of(secrets)
    assert (keys.transport_secret, keys.identity_secret) == (secrets.transport_secret, secrets.identity_secret)


def test_public_keys_are_those_of_rfc_7748():
    # RFC 7748 section 6.1, Alice.
    secret = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    made = certificate_of(Secrets(LAPTOP, secret, secret))
    assert made.transport_key == made.identity_key == public


def test_two_peers_never_get_the_same_keys():
    made = [generate(LAPTOP) for _ in range(3)]
    assert len({key for each in made for key in (each.transport_secret, each.identity_secret)}) == 6


def test_no_repr_shows_a_secret(own):
    key_file, cert_file, secrets = own
    shown = repr(secrets) + repr(read_own_keys(key_file, cert_file, LAPTOP))
    for secret in (secrets.transport_secret, secrets.identity_secret):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert repr(secret)[2:12] not in shown


def test_a_relay_has_no_identity_key_and_is_no_peer(tmp_path):
    relay = generate(peer_id("relay"), broker=True)
    assert certificate_of(relay).identity_key is None
    write_key_file(tmp_path / "relay.key", relay)
    write_certificate(tmp_path / "relay.cert", certificate_of(relay))
    assert read_relay_key(tmp_path / "relay.cert") == certificate_of(relay).transport_key
    with pytest.raises(KeyRefused, match="no identity key"):
        read_own_keys(tmp_path / "relay.key", tmp_path / "relay.cert", peer_id("relay"))


def test_keys_of_another_id_than_the_settings_name_are_refused(own):
    key_file, cert_file, _ = own
    with pytest.raises(KeyRefused, match="holds the keys of 'laptop', but the settings say that this is 'desk'"):
        read_own_keys(key_file, cert_file, peer_id("desk"))


def test_a_certificate_that_does_not_belong_to_the_key_is_refused_with_both_fingerprints(own):
    key_file, cert_file, secrets = own
    other = certificate_of(generate(LAPTOP))
    write_certificate(cert_file, other)
    with pytest.raises(CertificateRefused, match="do not belong together") as refused:
        read_own_keys(key_file, cert_file, LAPTOP)
    assert other.fingerprint in str(refused.value)
    assert certificate_of(secrets).fingerprint in str(refused.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a RemoteFS certificate"),
        (b"\xff\xfe", "not plain text"),
        (b"x" * (MAX_CERTIFICATE_SIZE + 1), "bytes"),
        (b'version = 2\nid = "a"\ntransport_key = ""\n', "version 2 is not known"),
        (b'version = 1\nid = "../a"\ntransport_key = "AAAA"\n', "is not|a key has"),
        (b'version = 1\nid = "a"\ntransport_key = "AAAA"\n', "32 bytes"),
        (b'version = 1\nid = "a"\ntransport_key = "AAAA"\nextra = 1\n', "extra"),
    ],
)
def test_what_is_no_certificate_is_refused_and_named(tmp_path, content, complaint):
    path = tmp_path / "bad.cert"
    path.write_bytes(content)
    with pytest.raises(CertificateRefused, match=complaint) as refused:
        read_certificate(path)
    assert str(path) in str(refused.value)


def test_a_missing_certificate_a_directory_and_a_fifo_are_refused_at_once(tmp_path):
    (tmp_path / "directory.cert").mkdir()
    os.mkfifo(tmp_path / "fifo.cert")
    for name in ("missing.cert", "directory.cert", "fifo.cert"):
        with pytest.raises(CertificateRefused, match=name):
            read_certificate(tmp_path / name)


def test_certificate_files_are_replaced_in_one_step(own, tmp_path):
    _, cert_file, _ = own
    before = cert_file.stat().st_ino
    write_certificate(cert_file, certificate_of(generate(LAPTOP)))
    assert cert_file.stat().st_ino != before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_certificate_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "taken.cert").mkdir()
    with pytest.raises(CertificateRefused, match="cannot be written"):
        write_certificate(tmp_path / "taken.cert", certificate_of(generate(LAPTOP)))
    assert [path.name for path in tmp_path.iterdir()] == ["taken.cert"]


def test_pinning_is_by_id_and_never_replaces_another_key_unasked(tmp_path):
    first, second = (certificate_of(generate(LAPTOP)) for _ in range(2))
    path = pin(first, tmp_path)
    assert (path.name, read_certificate(path)) == ("laptop.cert", first)
    assert pin(first, tmp_path) == path
    with pytest.raises(CertificateRefused, match="another key is pinned for laptop") as refused:
        pin(second, tmp_path)
    assert first.fingerprint in str(refused.value)
    assert second.fingerprint in str(refused.value)
    assert read_certificate(path) == first
    pin(second, tmp_path, replace=True)
    assert read_certificate(path) == second


def test_certificates_are_readable_by_others(own):
    _, cert_file, secrets = own
    assert stat.S_IMODE(cert_file.stat().st_mode) & 0o444 == 0o444
    text = cert_file.read_text()
    assert text == encode_certificate(certificate_of(secrets))
