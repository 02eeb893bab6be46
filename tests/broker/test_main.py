"""The program: it starts, says what is wrong in one sentence, and stops when told."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from schema.identity import encode_key

KEY = f'version = 1\nid = "relay"\ntransport_secret = "{encode_key(bytes(range(32)))}"\n'
CONFIGURATION = """
[broker]
id = "relay"
bind = "tcp://127.0.0.1:*"
[security]
key_file = "relay.key"
authorized = "authorized"
[metrics]
address = "127.0.0.1:0"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "authorized").mkdir()
    key = tmp_path / "relay.key"
    key.write_text(KEY)
    key.chmod(0o600)
    file = tmp_path / "broker.toml"
    file.write_text(CONFIGURATION)
    return file


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    return line


def test_help_is_enough_to_begin_with() -> None:
    text = run("--help").stdout
    for word in ("[broker]", "[security]", "[[pairs]]", "key_file", "authorized", "--check", "/health", "SIGTERM"):
        assert word in text


def test_check_says_good_and_shows_the_fingerprint(configuration: Path) -> None:
    result = run(configuration, "--check")
    assert result.returncode == 0
    assert re.search(r"good; relay is SHA256:\S{43}", result.stdout)


def test_mistakes_are_one_sentence(configuration: Path) -> None:
    assert "no such file" in refused(configuration.with_name("other.toml"))
    (configuration.parent / "relay.key").chmod(0o644)
    assert "chmod 600" in refused(configuration)
    (configuration.parent / "relay.key").unlink()
    assert "no such key file" in refused(configuration, "--check")
    configuration.write_text(CONFIGURATION + "[limts]\n")
    assert "unknown key 'limts' in the top level; did you mean 'limits'?" in refused(configuration)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_it_is_told_to_stop(configuration: Path, number: signal.Signals) -> None:
    configuration.write_text(CONFIGURATION + '[log]\nformat = "json"\nfile = "log"\n')
    log = configuration.with_name("log")
    command = [sys.executable, "-m", "broker", str(configuration)]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + 20
            while not (log.exists() and "health" in log.read_text()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            line = next(line for line in log.read_text().splitlines() if "health" in line)
            address = json.loads(line)["message"].rsplit(" ", 1)[1]
            with urllib.request.urlopen(f"http://{address}/health", timeout=10) as answer:
                assert json.load(answer)["status"] == "ok"
            process.send_signal(number)
            assert process.wait(5) == 0
        finally:
            process.kill()
