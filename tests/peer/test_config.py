from __future__ import annotations

from pathlib import Path

import pytest

from peer.config import parse_remote, read_agent, read_client
from schema.settings import SettingsError

SECURITY = """
[security]
key_file = "laptop.key"
cert_file = "~/laptop.cert"
relay_cert = "/etc/relay.cert"
trusted = "trusted"
"""
CLIENT = """
[client]
id = "laptop"
relay_url = "tcp://relay.example:7420"
mount_points = [{ remote_path = "server:/srv/data", local_path = "data" }]
"""
AGENT = """
[agent]
id = "server"
relay_url = "tcp://[::1]:7420"
[access]
allowed_paths = ["export"]
"""


@pytest.fixture
def write(tmp_path):
    """Write a settings file and give its path; the directory has a subdirectory ``export``."""
    (tmp_path / "export" / "sub").mkdir(parents=True)

    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write


def test_a_short_client_file_is_enough_and_its_paths_count_from_it(write, tmp_path):
    settings = read_client(write(CLIENT + SECURITY))
    assert settings.id == "laptop"
    assert settings.security.key_file == tmp_path / "laptop.key"
    assert settings.security.cert_file == Path.home() / "laptop.cert"
    assert settings.security.relay_cert == Path("/etc/relay.cert")
    assert settings.relay == ("tcp://relay.example:7420", "tcp://relay.example:7421", "tcp://relay.example:7422")
    assert settings.mounts == ((("server", (b"srv", b"data")), tmp_path / "data"),)
    assert (settings.mount.identity, settings.mount.symlinks, settings.mount.allow_other) == ("map", "as-is", False)


def test_a_short_agent_file_is_enough(write, tmp_path):
    settings = read_agent(write(AGENT + SECURITY))
    assert settings.id == "server"
    assert settings.relay.requests == "tcp://[::1]:7420"
    assert settings.relay.feed_in == "tcp://[::1]:7421"
    assert settings.access.allowed_paths == (tmp_path / "export",)
    assert settings.clients == ()
    assert settings.audit.file is None


def test_every_table_of_a_client_is_read(write, tmp_path):
    text = """
[client]
id = "laptop"
relay_url = "tcp://10.0.0.1:443"
agent = "server"
mount_points = [
    { remote_path = "/a", local_path = "/mnt/a" },
    { remote_path = "/b", local_path = "/mnt/b", agent = "other" },
    { remote_path = "third:/", local_path = "/mnt/c" },
]
[cache]
directory = "cache"
max_size_gb = 0.5
ttl_seconds = 5
[mount]
identity = "preserve"
symlinks = "contain"
allow_other = true
attribute_seconds = 0
[network]
socks_proxy = "proxy.corp:1080"
lanes = 1
padding = "powers"
feed_in_port = 1
feed_out_port = 2
[timeouts]
metadata = 5
data = 10.5
[log]
format = "json"
level = "debug"
file = "log/mount.log"
"""
    settings = read_client(write(text + SECURITY))
    assert [remote.agent for remote, _ in settings.mounts] == ["server", "other", "third"]
    assert settings.mounts[2][0].path == ()
    assert settings.cache.directory == tmp_path / "cache"
    assert (settings.timeouts.metadata, settings.timeouts.data) == (5.0, 10.5)
    assert settings.relay.feed_in == "tcp://10.0.0.1:1"
    assert settings.relay.feed_out == "tcp://10.0.0.1:2"
    assert settings.network.socks_proxy == "proxy.corp:1080"
    assert settings.log.file == tmp_path / "log" / "mount.log"


def test_client_rules_narrow_an_agent(write, tmp_path):
    text = """
[[clients]]
id = "laptop"
allowed_paths = ["export/sub"]
read_only = true
[[clients]]
id = "desk"
preserve_identity = false
[limits]
threads = 4
"""
    laptop, desk = read_agent(write(AGENT + SECURITY + text)).clients
    assert laptop.allowed_paths == (tmp_path / "export" / "sub",)
    assert (laptop.read_only, laptop.preserve_identity) == (True, None)
    assert (desk.allowed_paths, desk.preserve_identity) == (None, False)


def test_settings_are_frozen(write):
    with pytest.raises(AttributeError):
        read_client(write(CLIENT + SECURITY)).client.id = "other"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CLIENT.replace("relay_url", "relay_ulr"), r"'relay_ulr' in \[client\]; did you mean 'relay_url'"),
        (CLIENT + "[cach]\n", r"'cach' in the top level; did you mean 'cache'"),
        (CLIENT.replace("remote_path", "remotepath"), r"mount_points.*did you mean 'remote_path'"),
        (CLIENT.replace('"laptop"', "7"), "client.id: Expected `str`, got `int`"),
        (CLIENT.replace("laptop", "Lap top"), "'Lap top' is not a peer id"),
        (
            CLIENT.replace("tcp://relay.example:7420", "relay.example"),
            "relay_url: 'relay.example' is not tcp://HOST:PORT",
        ),
        (CLIENT.replace(":7420", ":70000"), "is not tcp://HOST:PORT"),
        (CLIENT.replace(":7420", ":0"), "is not tcp://HOST:PORT"),
        (CLIENT.replace(":7420", ":65534"), "network.feed_in_port and network.feed_out_port"),
        (CLIENT.replace("server:/srv/data", "/srv/data"), r"mount_points\[0\].remote_path: '/srv/data' names no agent"),
        (CLIENT.replace("server:/srv/data", "server:data"), "'data' is not an absolute path"),
        (CLIENT.replace("server:/srv/data", "server:/srv/../data"), "not a file name"),
        (CLIENT.replace("server:/srv/data", "Server:/srv"), "'Server' is not a peer id"),
        (CLIENT.replace('"data"', '""'), "Expected a path"),
        (CLIENT + '[mount]\nidentity = "mapped"\n', "mount.identity: Invalid enum value 'mapped'"),
        (CLIENT + "[mount]\nallow_other = 1\n", "mount.allow_other: Expected `bool`"),
        (CLIENT + "[network]\nlanes = 99\n", "network.lanes"),
        (CLIENT + '[network]\nsocks_proxy = "proxy"\n', "socks_proxy: 'proxy' is not HOST:PORT"),
        (CLIENT + "[timeouts]\ndata = 0\n", "timeouts.data"),
        (CLIENT + "[timeouts]\ndata = nan\n", "timeouts.data"),
        (CLIENT + "[cache]\nmax_size_gb = -1\n", "cache.max_size_gb"),
        ("[client]\nid = 'laptop'\n", "client: Object missing required field `relay_url`"),
        ("[client", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_client_file_is_said_with_file_and_key(write, text, complaint):
    path = write(text + SECURITY)
    with pytest.raises(SettingsError, match=complaint) as refused:
        read_client(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_two_mount_points_in_one_place_are_refused(write):
    text = CLIENT.replace(
        "mount_points = [", 'mount_points = [{ remote_path = "server:/x", local_path = "./sub/../data" }, '
    )
    with pytest.raises(SettingsError, match=r"mount_points\[1\].local_path: .* is a mount point already"):
        read_client(write(text + SECURITY))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (AGENT.replace('"export"', '"exports"'), r"access.allowed_paths\[0\]: .*/exports is not a directory"),
        (AGENT.replace('"export"', '"settings.toml"'), "is not a directory"),
        (AGENT.replace('"export"', '"export/.."'), r"must not hold '\.\.'"),
        (AGENT.replace('["export"]', "[]"), "access.allowed_paths"),
        (AGENT + 'read_only_paths = ["/etc"]\n', r"read_only_paths\[0\]: /etc is not within access.allowed_paths"),
        (AGENT + 'read_only_paths = ["export/../x"]\n', "is not within"),
        (AGENT + "[[clients]]\nid = '-'\n", "'-' is not a peer id"),
        (AGENT + "[[clients]]\nid = 'a'\n[[clients]]\nid = 'a'\n", r"clients\[1\].id: there is another entry for 'a'"),
        (
            AGENT + "[[clients]]\nid = 'a'\nallowed_paths = ['/']\n",
            r"clients\[0\].allowed_paths\[0\]: / is not within access.allowed_paths",
        ),
        (AGENT + "[[clients]]\nid = 'a'\nread_onyl = true\n", "did you mean 'read_only'"),
        (AGENT + "[limits]\nthreads = 0\n", "limits.threads"),
        (AGENT + "[audit]\nkeep = 0\n", "audit.keep"),
    ],
)
def test_what_is_wrong_with_an_agent_file_is_said_with_file_and_key(write, text, complaint):
    path = write(text + SECURITY)
    with pytest.raises(SettingsError, match=complaint) as refused:
        read_agent(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_said(tmp_path):
    for read in (read_client, read_agent):
        with pytest.raises(SettingsError, match=r"missing.toml: no such file"):
            read(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("text", "agent", "path"),
    [
        ("server:/srv/data", "server", (b"srv", b"data")),
        ("/srv//data/", "usual", (b"srv", b"data")),
        ("server:/", "server", ()),
        ("/with:colon", "usual", (b"with:colon",)),
        ("server:/with:colon", "server", (b"with:colon",)),
        ("server:/caf\u00e9", "server", (b"caf\xc3\xa9",)),
        ("server:/\udcff", "server", (b"\xff",)),
    ],
)
def test_a_remote_directory_is_an_agent_and_components(text, agent, path):
    assert parse_remote(text, "usual") == (agent, path)


@pytest.mark.parametrize(
    "text", ["", "server", "server:", ":/x", "/x", "server:relative", "server:/" + "n" * 256, "a:/\0"]
)
def test_what_is_no_remote_directory_is_refused(text):
    with pytest.raises(ValueError, match="."):
        parse_remote(text)
