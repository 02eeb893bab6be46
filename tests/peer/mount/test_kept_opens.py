"""What was opened in one mount is remembered by the next, and by nobody else."""

from __future__ import annotations

import logging

import pytest

from peer.certificates import OwnKeys, certificate_of, generate
from peer.mount.kept_opens import KeptOpens, opens_kept_in
from peer.mount.quiet_files import QuietFile, QuietFiles
from schema.attributes import FileVersion
from schema.identity import peer_id


def own_keys():
    own = generate(peer_id("laptop"))
    return OwnKeys(certificate_of(own), own.transport_secret, own.identity_secret)


KEYS = own_keys()


def remembered(count, first=0):
    files = QuietFiles()
    files.restore(QuietFile(1, FileVersion(inode, 2, 3, 4), 5) for inode in range(first, first + count))
    return files


def kept(directory, files, *, keys=KEYS, agent=b"agent", path=(b"srv",), identity="map"):
    return KeptOpens(opens_kept_in(directory, keys, agent, path, identity), files)


@pytest.mark.parametrize("count", [1, 5000])
def test_the_next_mount_remembers_all_in_its_order(tmp_path, count):
    kept(tmp_path, remembered(count)).save()
    files = QuietFiles()
    kept(tmp_path, files).load()
    assert files.records() == remembered(count).records()


def test_what_is_remembered_by_now_counts_for_more(tmp_path):
    kept(tmp_path, remembered(10)).save()
    files = QuietFiles(entries=4)
    newer = QuietFile(1, FileVersion(9, 2, 3, 99), 6)
    files.restore([newer])
    kept(tmp_path, files).load()
    assert files.records() == [*remembered(3, first=6).records(), newer]


@pytest.mark.parametrize(
    "other", [{"keys": own_keys()}, {"agent": b"other"}, {"path": (b"home",)}, {"identity": "preserve"}]
)
def test_other_mounts_remember_nothing_of_it(tmp_path, other):
    kept(tmp_path, remembered(3)).save()
    files = QuietFiles()
    kept(tmp_path, files, **other).load()
    assert files.records() == []


def test_a_file_that_is_no_good_is_said_and_gone_without(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    kept(tmp_path, remembered(5000)).save()
    (file,) = tmp_path.iterdir()
    sealed = bytearray(file.read_bytes())
    sealed[-1] ^= 1
    file.write_bytes(sealed)
    files = QuietFiles()
    kept(tmp_path, files).load()
    assert files.records() == []
    assert "not kept" in caplog.text


def test_nothing_is_kept_of_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    kept(tmp_path, QuietFiles()).save()
    kept(tmp_path, QuietFiles()).load()
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""
