"""The settings of a client and of an agent: one TOML file each, read once into frozen structs.

Every path is absolute here: ``~`` is the home directory, a relative path counts from the directory of its file. Sizes
are in bytes and times in seconds unless the name says otherwise. `docs/configuration.md` is the reference.

The one rule: what a settings file gets wrong is said at start, in one sentence that names the file and the key.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import platformdirs

from schema.identity import IdentityError, PeerId, peer_id
from schema.limits import MAX_LANES
from schema.log_lines import LogTable
from schema.paths import PathError, parse
from schema.settings import SettingsError, read_settings, split_address

_Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]
_CacheSeconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Bytes = Annotated[int, msgspec.Meta(ge=1024 * 1024, le=2**40)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]

_RELAY_URL: Final = re.compile(r"tcp://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>[1-9]\d{0,4})")
_PROXY: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):[1-9]\d{0,4}")
_LAST_PORT: Final = 65_535
_FEED_IN, _FEED_OUT = 1, 2
"""Ports above the relay's request port where agents publish their change feeds, and where clients subscribe."""


class Relay(NamedTuple):
    """Where the relay is: ZeroMQ endpoints of its request plane and of its change-feed planes."""

    requests: str
    feed_in: str
    """Agents publish here."""
    feed_out: str
    """Clients subscribe here."""


class Remote(NamedTuple):
    """A directory of an agent: absolute components from the agent's ``/``."""

    agent: PeerId
    path: tuple[bytes, ...]


class SecurityTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[security]``: our own keys, and the keys that we pin."""

    key_file: Path
    """Our secret keys, mode 0600."""
    cert_file: Path
    """Our certificate; it must belong to `key_file`."""
    relay_cert: Path
    """The relay's certificate: any other relay is refused."""
    trusted: Path
    """Directory of ``*.cert``: the agents that a client talks to, the clients that an agent serves."""


class NetworkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[network]``."""

    socks_proxy: str = ""
    """HOST:PORT of a SOCKS5 proxy on the way to the relay; empty is none."""
    lanes: Annotated[int, msgspec.Meta(ge=1, le=MAX_LANES)] = 4
    """Connections to the relay. The first is for what is small and urgent, bulk data takes the others."""
    padding: Literal["none", "powers"] = "none"
    """``powers`` fills every message up to a power of two, so that the relay learns less from lengths."""
    feed_in_port: _Port | None = None
    """Port of the relay where agents publish; by default the one after that of relay_url."""
    feed_out_port: _Port | None = None
    """Port of the relay where clients subscribe; by default the second after that of relay_url."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if self.socks_proxy and not _PROXY.fullmatch(self.socks_proxy):
            raise ValueError(f"socks_proxy: {self.socks_proxy!r} is not HOST:PORT")


class MountPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``client.mount_points``."""

    remote_path: str
    """``/path`` on the client's default agent, or ``AGENT:/path``."""
    local_path: Path
    agent: str = ""
    """The agent, when it is neither the default one nor named in `remote_path`."""


class ClientTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[client]``."""

    id: str
    relay_url: str
    """``tcp://HOST:PORT`` of the relay's request plane."""
    agent: str = ""
    """The agent of mount points that name none."""
    mount_points: tuple[MountPoint, ...] = ()

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        _check_id("id", self.id)
        _split_relay_url(self.relay_url)
        if self.agent:
            _check_id("agent", self.agent)
        for index, point in enumerate(self.mount_points):
            try:
                parse_remote(point.remote_path, point.agent or self.agent)
            except ValueError as error:
                raise ValueError(f"mount_points[{index}].remote_path: {error}") from error
        taken = [os.path.normpath(point.local_path) for point in self.mount_points]
        for index, path in enumerate(taken):
            if path in taken[:index]:
                raise ValueError(f"mount_points[{index}].local_path: {path} is a mount point already")


class CacheTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[cache]``: what is kept of remote files on this machine's disk."""

    directory: Path | None = None
    """Several mounts may share it. By default it is below the user's cache directory."""
    max_size_gb: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 10.0
    """Of file contents, in 10^9 bytes; 0 keeps none, and nothing of names and attributes either."""
    open: Literal["auto", "feed", "ask"] = "auto"
    """``ask``: the agent opens all files. ``feed``: one that nobody changes is opened here while the feed vouches for
    it. ``auto``: the same, but the agent is asked whether it has changed where that is quick."""
    ttl_seconds: _CacheSeconds = 3600.0
    """After so long, even what the change feed tells of is asked for again."""

    @property
    def place(self) -> Path:
        """The directory to use."""
        return self.directory or Path(platformdirs.user_cache_dir("remotefs"))


class MountTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[mount]``: how the remote files look here."""

    identity: Literal["map", "preserve"] = "map"
    """``map``: the agent's user appears as the mounting user. ``preserve``: uid, gid and mode pass through."""
    symlinks: Literal["as-is", "contain"] = "as-is"
    """``contain`` refuses to show the target of a link that leads out of the mount."""
    allow_other: bool = False
    """Let other users of this machine in, as the option of mount.fuse3(8)."""
    wake_watchers: bool = True
    """Tell programs that watch the mount with inotify(7) of changes made on the remote machine."""
    attribute_seconds: _CacheSeconds = 1.0
    """How long the kernel may answer for attributes and names without asking."""


class TimeoutsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[timeouts]``: seconds until an operation that gets no answer fails with ETIMEDOUT."""

    metadata: _Seconds = 20.0
    """Operations on names and attributes."""
    data: _Seconds = 60.0
    """Operations that move data."""


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole settings file of a client."""

    client: ClientTable
    security: SecurityTable
    cache: CacheTable = CacheTable()
    mount: MountTable = MountTable()
    network: NetworkTable = NetworkTable()
    timeouts: TimeoutsTable = TimeoutsTable()
    log: LogTable = LogTable()

    @property
    def id(self) -> PeerId:
        """This client."""
        return PeerId(self.client.id)

    @property
    def relay(self) -> Relay:
        """Where its relay is."""
        return _relay(self.client.relay_url, self.network)

    @property
    def mounts(self) -> tuple[tuple[Remote, Path], ...]:
        """Each mount point: the remote directory, and where it appears here."""
        return tuple(
            (parse_remote(point.remote_path, point.agent or self.client.agent), point.local_path)
            for point in self.client.mount_points
        )


class AgentTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[agent]``."""

    id: str
    relay_url: str
    """``tcp://HOST:PORT`` of the relay's request plane."""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        _check_id("id", self.id)
        _split_relay_url(self.relay_url)


class AccessTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[access]``: what clients may reach, all of them."""

    allowed_paths: Annotated[tuple[Path, ...], msgspec.Meta(min_length=1)]
    """The exported directories; nothing outside them is reached."""
    read_only_paths: tuple[Path, ...] = ()
    """At and below these nothing is changed."""
    preserve_identity: bool = False
    """Let clients act with their own uid and gid, which takes an agent that runs as root; else all is done as us."""


class ClientRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[clients]]``: one client that may do less, or act with its own identity; a key left out is as in [access]."""

    id: str
    allowed_paths: tuple[Path, ...] | None = None
    read_only: bool = False
    preserve_identity: bool | None = None

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        _check_id("id", self.id)


class LimitsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[limits]``: what clients may take of this machine."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=512)] = 16
    """Operations that are done at a time."""
    requests_waiting: _Count = 1024
    """Requests that wait for one of the threads; past it the client is told to wait."""
    bytes_waiting: _Bytes = 64 * 1024 * 1024
    """Bytes of those requests."""
    open_files: _Count = 8192
    """Open files and directories, of all clients together."""
    open_files_per_client: _Count = 2048
    """Open files of one running mount."""
    instances_per_client: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    """Running mounts of one client."""


class AuditTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[audit]``: who did what, as JSON lines; without `file` there is no audit log."""

    file: Path | None = None
    max_bytes: _Bytes = 64 * 1024 * 1024
    """The file is rotated at this size."""
    keep: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5
    """Rotated files that are kept."""


class MetricsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[metrics]``: HOST:PORT where an agent tells Prometheus what it does; empty is off."""

    address: str = ""

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if self.address:
            split_address(self.address)


class FeedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[feed]``: telling clients of changes as they happen."""

    heartbeat_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 2.0
    """Seconds between two words of the feed while nothing changes; clients doubt it after three without one."""


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole settings file of an agent."""

    agent: AgentTable
    access: AccessTable
    security: SecurityTable
    clients: tuple[ClientRule, ...] = ()
    limits: LimitsTable = LimitsTable()
    audit: AuditTable = AuditTable()
    feed: FeedTable = FeedTable()
    metrics: MetricsTable = MetricsTable()
    network: NetworkTable = NetworkTable()
    log: LogTable = LogTable()

    @property
    def id(self) -> PeerId:
        """This agent."""
        return PeerId(self.agent.id)

    @property
    def relay(self) -> Relay:
        """Where its relay is."""
        return _relay(self.agent.relay_url, self.network)


def read_client(path: Path) -> ClientSettings:
    """Read the settings of a client. Raises `SettingsError`."""
    settings = read_settings(path, ClientSettings)
    _check_ports(path, "client", settings.client.relay_url, settings.network)
    return settings


def read_agent(path: Path) -> AgentSettings:
    """Read the settings of an agent; the directories that it exports must be there. Raises `SettingsError`."""
    settings = read_settings(path, AgentSettings)
    _check_ports(path, "agent", settings.agent.relay_url, settings.network)
    exports = settings.access.allowed_paths
    for index, export in enumerate(exports):
        if ".." in export.parts:
            raise SettingsError(f"{path}: access.allowed_paths[{index}]: {export} must not hold '..'")
        if not export.is_dir():
            raise SettingsError(f"{path}: access.allowed_paths[{index}]: {export} is not a directory")
    for index, read_only in enumerate(settings.access.read_only_paths):
        _check_within(path, f"access.read_only_paths[{index}]", read_only, exports)
    for index, rule in enumerate(settings.clients):
        if rule.id in (other.id for other in settings.clients[:index]):
            raise SettingsError(f"{path}: clients[{index}].id: there is another entry for {rule.id!r}")
        for at, allowed in enumerate(rule.allowed_paths or ()):
            _check_within(path, f"clients[{index}].allowed_paths[{at}]", allowed, exports)
    return settings


def parse_remote(text: str, default_agent: str = "") -> Remote:
    """``AGENT:/path``, or ``/path`` on `default_agent`. Raises `ValueError` saying what is missing."""
    agent, colon, path = text.partition(":")
    if not colon or "/" in agent:
        agent, path = default_agent, text
    if not agent:
        raise ValueError(f"{text!r} names no agent: write AGENT:/path, or set the key agent")
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute path of the agent: write AGENT:/path")
    try:
        return Remote(peer_id(agent), parse(os.fsencode(path)))
    except (IdentityError, PathError) as error:
        raise ValueError(str(error)) from error


def _check_id(key: str, text: str) -> None:
    try:
        peer_id(text)
    except IdentityError as error:
        raise ValueError(f"{key}: {error}") from error


def _split_relay_url(url: str) -> tuple[str, int]:
    found = _RELAY_URL.fullmatch(url)
    if found is None or int(found["port"]) > _LAST_PORT:
        raise ValueError(f"relay_url: {url!r} is not tcp://HOST:PORT")
    return found["host"], int(found["port"])


def _relay(url: str, network: NetworkTable) -> Relay:
    host, port = _split_relay_url(url)
    return Relay(
        requests=url,
        feed_in=f"tcp://{host}:{network.feed_in_port or port + _FEED_IN}",
        feed_out=f"tcp://{host}:{network.feed_out_port or port + _FEED_OUT}",
    )


def _check_ports(path: Path, table: str, url: str, network: NetworkTable) -> None:
    _, port = _split_relay_url(url)
    last = max(network.feed_in_port or port + _FEED_IN, network.feed_out_port or port + _FEED_OUT)
    if last > _LAST_PORT:
        raise SettingsError(
            f"{path}: {table}.relay_url: the change-feed ports would follow {port}, past {_LAST_PORT}: "
            "give network.feed_in_port and network.feed_out_port"
        )


def _check_within(path: Path, key: str, wanted: Path, exports: tuple[Path, ...]) -> None:
    if ".." in wanted.parts or not any(wanted.is_relative_to(export) for export in exports):
        raise SettingsError(f"{path}: {key}: {wanted} is not within access.allowed_paths")
