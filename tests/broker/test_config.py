"""The configuration file: what it may say, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.config import Limits, load
from broker.errors import ConfigurationError
from schema.limits import MAX_MESSAGE

MINIMAL = """
[broker]
id = "relay"
[security]
key_file = "relay.key"
authorized = "/etc/remotefs/authorized"
"""


def write(path: Path, text: str) -> Path:
    file = path / "broker.toml"
    file.write_text(text)
    return file


def test_little_is_needed_and_paths_count_from_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, MINIMAL))
    assert settings.security.key_file == tmp_path / "relay.key"
    assert settings.security.authorized == Path("/etc/remotefs/authorized")
    assert settings.endpoints == ("tcp://*:7420", "tcp://*:7421", "tcp://*:7422")
    assert settings.limits == Limits()
    assert settings.limits.max_message_bytes == MAX_MESSAGE
    assert settings.metrics.address == "127.0.0.1:9420"
    assert settings.peer_pairs == frozenset()


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = (
        MINIMAL.replace('id = "relay"', 'id = "relay"\nbind = "tcp://[::1]:80"\nfeed_out = "tcp://10.0.0.1:99"')
        + """
[[pairs]]
client = "laptop"
agent = "server"
[limits]
messages_per_second = 5
token_seconds = 60
[metrics]
address = ""
[log]
format = "json"
level = "debug"
file = "broker.log"
"""
    )
    settings = load(write(tmp_path, text))
    assert settings.endpoints == ("tcp://[::1]:80", "tcp://[::1]:81", "tcp://10.0.0.1:99")
    assert settings.peer_pairs == {("laptop", "server")}
    assert settings.limits.token_seconds == 60.0
    assert settings.log.file == tmp_path / "broker.log"


def test_a_port_chosen_by_the_system_is_so_for_all_three(tmp_path: Path) -> None:
    text = MINIMAL.replace('id = "relay"', 'id = "relay"\nbind = "tcp://127.0.0.1:*"')
    assert load(write(tmp_path, text)).endpoints == ("tcp://127.0.0.1:*",) * 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("key_file", "key_flie"), r"unknown key 'key_flie' in \[security\]; did you mean 'key_file'\?"),
        (('"relay"', "7"), "broker.id: Expected `str`, got `int`"),
        (('"relay"', '"Relay Nr 1"'), "broker.id: 'Relay Nr 1' is not a peer id"),
        (('id = "relay"', 'id = "relay"\nbind = "7420"'), "broker.bind: '7420' is not tcp://HOST:PORT"),
        (('id = "relay"', 'id = "relay"\nbind = "tcp://*:65535"'), "broker.bind: .* there is no port past 65535"),
        (('id = "relay"', 'id = "relay"\nfeed_in = "udp://*:1"'), "broker.feed_in: 'udp://.*' is not tcp://HOST:PORT"),
        (("[security]", "[security"), "not valid TOML"),
        (('key_file = "relay.key"\n', ""), "security: Object missing required field `key_file`"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    file = write(tmp_path, MINIMAL.replace(*change))
    with pytest.raises(ConfigurationError, match=says) as raised:
        load(file)
    assert str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[[pairs]]\nclient = "laptop"\nagent = "../x"', r"pairs\[0\]\.agent: '\.\./x' is not a peer id"),
        ('[[pairs]]\nclient = "a"\nagent = "b"\n[[pairs]]\nclient = "A"\nagent = "b"', r"pairs\[1\]\.client: 'A'"),
        ('[[pairs]]\nclient = "a"\nagent = "a"', r"pairs\[0\]: 'a' cannot be paired with itself"),
        ('[[pairs]]\nclient = "a"\nagnet = "a"', r"unknown key 'agnet' in \[pairs\[0\]\]; did you mean 'agent'"),
        ("[limits]\nmax_instances = 0", "limits.max_instances: Expected `int` >= 1"),
        ("[limits]\nspool_route_bytes = 5000", "limits.spool_route_bytes must hold at least one message"),
        ('[metrics]\naddress = "9420"', "metrics.address: '9420' is not HOST:PORT"),
        ('[metrics]\naddress = "localhost:99999"', "metrics.address: 'localhost:99999' is not HOST:PORT"),
        ('[log]\nformat = "xml"', "log.format: Invalid enum value 'xml'"),
    ],
)
def test_mistakes_in_the_other_tables(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(write(tmp_path, MINIMAL + more))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        load(tmp_path / "broker.toml")
