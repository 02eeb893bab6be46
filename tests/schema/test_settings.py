"""A settings error names the file, the key, and what to write instead."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from schema.settings import SettingsError, read_settings, split_address


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remote_path: str
    local_path: Path


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    relay_url: str
    seconds: float = 1.0
    mount_points: tuple[Point, ...] = ()
    key_file: Path | None = None


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client: Table
    cache: Table | None = None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "client.toml"


def read(file: Path, text: str) -> Whole:
    file.write_text(text, encoding="utf-8")
    return read_settings(file, Whole)


def test_what_is_written_is_read(file: Path) -> None:
    whole = read(file, '[client]\nrelay_url = "tcp://relay:1"\nseconds = 2\n')
    assert whole == Whole(Table("tcp://relay:1", 2.0))


@pytest.mark.parametrize(
    ("written", "meant"),
    [("keys/a.key", "{here}/keys/a.key"), ("/etc/a.key", "/etc/a.key"), ("~/a.key", "{home}/a.key")],
)
def test_paths_count_from_the_file_and_from_home(
    file: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    whole = read(file, f'[client]\nrelay_url = ""\nkey_file = "{written}"\n')
    assert whole.client.key_file == Path(meant.format(here=file.parent, home="/home/someone"))


POINTS = '[client]\nrelay_url = ""\nmount_points = [{remote_path = "s:/a", local_path = "/b"}, '


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[client]\nrelay_ulr = "x"\n', "unknown key 'relay_ulr' in [client]; did you mean 'relay_url'?"),
        ('[clint]\nrelay_url = "x"\n', "unknown key 'clint' in the top level; did you mean 'client'?"),
        ('[client]\nrelay_url = ""\nxyz = 1\n', "unknown key 'xyz' in [client]; known here: key_file, mount_points,"),
        ('[cache]\nrelay_ulr = ""\n[client]\nrelay_url = ""\n', "unknown key 'relay_ulr' in [cache]; did you mean"),
        (POINTS + '{remote_pth = "x"}]\n', "unknown key 'remote_pth' in [client.mount_points[1]]; did you mean"),
        (POINTS + "{}]\n", "client.mount_points[1]: "),
        ("[client]\nrelay_url = 5\n", "client.relay_url: Expected `str`, got `int`"),
        ('[client]\nrelay_url = ""\nseconds = "x"\n', "client.seconds: Expected `float`, got `str`"),
        ('[client]\nrelay_url = ""\nkey_file = 5\n', "client.key_file: "),
        ('[client]\nrelay_url = ""\nkey_file = ""\n', "client.key_file: Expected a path"),
        ("[client]\n", "client: Object missing required field `relay_url`"),
        ("", "Object missing required field `client`"),
        ("[client\n", "not valid TOML"),
        ("client = 5\n", "client: Expected `object`, got `int`"),
    ],
)
def test_what_is_wrong_is_said(file: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(file, text)
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert complaint in message
    assert "\n" not in message.strip()


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        read_settings(file, Whole)


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read_settings(tmp_path, Whole)


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b'[client]\nrelay_url = "\xff"\n')
    with pytest.raises(SettingsError, match="not UTF-8 text"):
        read_settings(file, Whole)


def test_a_home_that_nobody_has(file: Path) -> None:
    with pytest.raises(SettingsError, match="home directory that is not known"):
        read(file, '[client]\nrelay_url = ""\nkey_file = "~nobody-of-that-name/x"\n')
    assert os.path.exists(file)


def test_addresses_are_split_at_the_port() -> None:
    assert split_address("127.0.0.1:9420") == ("127.0.0.1", 9420)
    assert split_address("[::1]:0") == ("::1", 0)
    for wrong in ("", ":80", "host", "host:", "host:x", "a b:80", "host:80:90", "[::1:80"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            split_address(wrong)
