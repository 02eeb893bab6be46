from __future__ import annotations

import logging
import os

import pytest

from peer.certificates import certificate_of, generate, pin, write_certificate
from peer.errors import CertificateRefused, ClientKeyChanged, HandshakeRefused, UnknownClient, UnknownPeer
from peer.pinned_peers import REFRESH_INTERVAL, PinnedPeers
from schema.identity import fingerprint, peer_id

LAPTOP, DESK = peer_id("laptop"), peer_id("desk")


def new_certificate(name=LAPTOP):
    return certificate_of(generate(name))


def test_a_pinned_peer_is_known_by_its_identity_key(tmp_path):
    laptop = new_certificate()
    pin(laptop, tmp_path)
    pinned = PinnedPeers(tmp_path)
    assert len(pinned) == 1
    assert pinned.identity_key_of("laptop") == laptop.identity_key
    assert pinned.trusts("laptop", laptop.identity_key)
    pinned.identify("laptop", laptop.identity_key)


def test_an_unknown_peer_is_refused_with_its_fingerprint_and_what_to_do(tmp_path):
    pinned = PinnedPeers(tmp_path)
    stranger = new_certificate(DESK)
    with pytest.raises(UnknownClient, match="remotefs trust desk.cert --into") as refused:
        pinned.identify("desk", stranger.identity_key)
    assert fingerprint(stranger.identity_key) in str(refused.value)
    assert isinstance(refused.value, HandshakeRefused)
    with pytest.raises(UnknownPeer):
        pinned.identity_key_of("desk")


def test_a_changed_key_is_refused_with_both_fingerprints(tmp_path):
    laptop, impostor = new_certificate(), new_certificate()
    pin(laptop, tmp_path)
    with pytest.raises(ClientKeyChanged, match="expected .* seen .*--replace") as refused:
        PinnedPeers(tmp_path).identify("laptop", impostor.identity_key)
    assert fingerprint(laptop.identity_key) in str(refused.value)
    assert fingerprint(impostor.identity_key) in str(refused.value)


def test_the_key_of_one_peer_does_not_do_for_another(tmp_path):
    laptop, desk = new_certificate(), new_certificate(DESK)
    pin(laptop, tmp_path)
    pin(desk, tmp_path)
    pinned = PinnedPeers(tmp_path)
    with pytest.raises(ClientKeyChanged):
        pinned.identify("desk", laptop.identity_key)
    assert not pinned.trusts("desk", laptop.identity_key)


def test_deleting_replacing_and_adding_are_noticed_at_the_next_look(tmp_path):
    laptop, desk = new_certificate(), new_certificate(DESK)
    path = pin(laptop, tmp_path)
    pinned = PinnedPeers(tmp_path)
    assert pinned.refresh(10.0) == frozenset()
    pin(desk, tmp_path)
    assert pinned.refresh(20.0) == frozenset()  # nobody lost anything
    assert pinned.trusts("desk", desk.identity_key)
    other = new_certificate()
    pin(other, tmp_path, replace=True)
    assert pinned.refresh(30.0) == {"laptop"}
    assert pinned.trusts("laptop", other.identity_key)
    assert not pinned.trusts("laptop", laptop.identity_key)
    path.unlink()
    assert pinned.refresh(40.0) == {"laptop"}
    assert not pinned.trusts("laptop", other.identity_key)


def test_the_directory_is_looked_at_once_in_an_interval(tmp_path):
    path = pin(new_certificate(), tmp_path)
    pinned = PinnedPeers(tmp_path)
    pinned.refresh(100.0)
    path.unlink()
    assert pinned.refresh(100.0 + REFRESH_INTERVAL * 0.9) == frozenset()
    assert pinned.refresh(100.0 + REFRESH_INTERVAL) == {"laptop"}


def test_an_edit_that_keeps_size_and_modification_time_is_noticed(tmp_path):
    laptop, other = new_certificate(), new_certificate()
    path = pin(laptop, tmp_path)
    pinned = PinnedPeers(tmp_path)
    before = path.stat()
    write_certificate(path, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert pinned.refresh(10.0) == {"laptop"}


def test_a_directory_that_vanishes_trusts_nobody_and_one_that_was_never_there_is_an_error(tmp_path, caplog):
    directory = tmp_path / "trusted"
    with pytest.raises(CertificateRefused, match="trusted: cannot be read"):
        PinnedPeers(directory)
    directory.mkdir()
    laptop = new_certificate()
    pin(laptop, directory)
    pinned = PinnedPeers(directory)
    directory.rename(tmp_path / "away")
    with caplog.at_level(logging.ERROR):
        assert pinned.refresh(10.0) == {"laptop"}
    assert "nobody is trusted" in caplog.text
    (tmp_path / "away").rename(directory)
    assert pinned.refresh(20.0) == frozenset()
    assert pinned.trusts("laptop", laptop.identity_key)


def test_a_bad_certificate_is_skipped_and_the_others_count(tmp_path, caplog):
    desk = new_certificate(DESK)
    pin(desk, tmp_path)
    (tmp_path / "broken.cert").write_text("version = ")
    (tmp_path / "loop.cert").symlink_to("loop.cert")
    write_certificate(tmp_path / "relay.cert", certificate_of(generate(peer_id("relay"), broker=True)))
    (tmp_path / "laptop.cert.bak").write_text("not looked at")
    with caplog.at_level(logging.ERROR):
        pinned = PinnedPeers(tmp_path)
    assert len(pinned) == 1
    for name in ("broken.cert", "loop.cert", "relay.cert"):
        assert name in caplog.text
    with pytest.raises(UnknownPeer):
        pinned.identity_key_of("relay")


def test_of_two_certificates_for_one_id_the_first_by_name_counts(tmp_path, caplog):
    first, second = new_certificate(), new_certificate()
    write_certificate(tmp_path / "a.cert", first)
    write_certificate(tmp_path / "b.cert", second)
    pinned = PinnedPeers(tmp_path)
    assert pinned.identity_key_of("laptop") == first.identity_key
    assert "b.cert: another file has a certificate of laptop already" in caplog.text
