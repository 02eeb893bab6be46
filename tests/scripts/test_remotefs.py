from __future__ import annotations

import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from peer.certificates import read_certificate
from schema.key_file import read_key_file
from scripts.remotefs import main

PROGRAMS = ("broker", "agent", "mount")


def run(*arguments):
    """Exit status and what was said, on both streams."""
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_keygen_writes_a_secret_and_a_certificate_and_shows_the_fingerprint(tmp_path):
    status, said = run("keygen", "laptop", "--directory", tmp_path / "new" / "keys")
    key_file, cert_file = (tmp_path / "new" / "keys" / name for name in ("laptop.key", "laptop.cert"))
    assert status == 0
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    certificate = read_certificate(cert_file)
    assert certificate.fingerprint in said
    assert certificate.identity_key is not None
    assert read_key_file(key_file).id == "laptop"
    for line in key_file.read_text().splitlines():
        if "secret =" in line:
            assert line.split('"')[1] not in said


def test_keygen_for_a_relay_makes_no_identity_key(tmp_path):
    assert run("keygen", "relay", "--broker", "--directory", tmp_path)[0] == 0
    assert read_key_file(tmp_path / "relay.key").identity_secret is None
    assert read_certificate(tmp_path / "relay.cert").identity_key is None


@pytest.mark.parametrize("left", ["laptop.key", "laptop.cert"])
def test_keygen_overwrites_neither_half(tmp_path, left):
    run("keygen", "laptop", "--directory", tmp_path)
    before = (tmp_path / left).read_bytes()
    for name in {"laptop.key", "laptop.cert"} - {left}:
        (tmp_path / name).unlink()
    status, said = run("keygen", "laptop", "--directory", tmp_path)
    assert (status, (tmp_path / left).read_bytes()) == (1, before)
    assert "never overwritten" in said
    assert [path.name for path in tmp_path.iterdir()] == [left]


def test_keygen_refuses_what_is_no_id(tmp_path):
    for bad in ("Laptop", "../x", "", "-x"):
        status, said = run("keygen", "--directory", tmp_path, "--", bad)
        assert status == 2
        assert "is not a peer id" in said
    assert list(tmp_path.iterdir()) == []


def test_trust_pins_a_certificate_under_its_id_and_shows_the_fingerprint(tmp_path):
    run("keygen", "laptop", "--directory", tmp_path)
    sent = (tmp_path / "laptop.cert").rename(tmp_path / "mail-attachment.txt")
    status, said = run("trust", sent, "--into", tmp_path / "trusted")
    pinned = read_certificate(tmp_path / "trusted" / "laptop.cert")
    assert status == 0
    assert pinned.fingerprint in said
    assert run("trust", sent, "--into", tmp_path / "trusted")[0] == 0


def test_trust_replaces_another_key_only_when_told_and_shows_both_fingerprints(tmp_path):
    certificates = []
    for place in ("old", "new"):
        run("keygen", "laptop", "--directory", tmp_path / place)
        certificates.append(read_certificate(tmp_path / place / "laptop.cert"))
    old, new = certificates
    run("trust", tmp_path / "old" / "laptop.cert", "--into", tmp_path)
    status, said = run("trust", tmp_path / "new" / "laptop.cert", "--into", tmp_path)
    assert status == 1
    assert old.fingerprint in said
    assert new.fingerprint in said
    assert read_certificate(tmp_path / "laptop.cert") == old
    status, said = run("trust", tmp_path / "new" / "laptop.cert", "--into", tmp_path, "--replace")
    assert status == 0
    assert old.fingerprint in said
    assert new.fingerprint in said
    assert read_certificate(tmp_path / "laptop.cert") == new


def test_trust_never_takes_a_secret_key_file(tmp_path):
    run("keygen", "laptop", "--directory", tmp_path)
    status, said = run("trust", tmp_path / "laptop.key", "--into", tmp_path / "trusted")
    assert status == 1
    assert "not a RemoteFS certificate" in said
    assert not (tmp_path / "trusted").exists()


def test_umount_of_what_is_no_mount_is_one_sentence(tmp_path):
    status, said = run("umount", tmp_path)
    assert status == 1
    assert said.startswith(f"Error: {tmp_path}: not unmounted: ")
    assert said.count("\n") == 1


def test_help_says_what_there_is_without_loading_the_programs():
    code = (
        "import sys; from click.testing import CliRunner; from scripts.remotefs import main\n"
        "print(CliRunner().invoke(main, ['--help']).output)\n"
        "assert not {'zmq', 'mfusepy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    for name in (*PROGRAMS, "keygen", "trust", "umount"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("command", [*PROGRAMS, "keygen", "trust", "umount"])
def test_every_help_is_enough_to_begin_with(command):
    status, said = run(command, "--help")
    assert status == 0
    assert "Usage:" in said
    assert len(said.splitlines()) > 8
    assert command in PROGRAMS or "Example:" in said


@pytest.mark.parametrize("module", ["broker", "peer.agent", "peer.mount"])
def test_a_program_is_a_module_too(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_settings_file_that_is_not_there_is_one_sentence_and_status_2(program, tmp_path):
    arguments = ["--config", tmp_path / "no.toml"] if program == "mount" else [tmp_path / "no.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.remotefs", program, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"{tmp_path / 'no.toml'}: no such file" in done.stderr
    assert "Traceback" not in done.stderr
