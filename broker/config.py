"""The broker's configuration: one TOML file, read once into frozen structs.

The one rule: whatever is wrong with the file is said at start, in one sentence that names the file and the key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import msgspec

from broker.errors import ConfigurationError
from schema.identity import IdentityError, PeerId, peer_id
from schema.limits import MAX_MESSAGE
from schema.log_lines import LogTable
from schema.settings import SettingsError, read_settings, split_address

_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
_Bytes = Annotated[int, msgspec.Meta(ge=4096, le=2**40)]
_Seconds = Annotated[float, msgspec.Meta(ge=0.05, le=86_400)]

_ENDPOINT: Final = re.compile(r"tcp://(?P<host>\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>\*|\d{1,5})")
_MAX_PORT: Final = 65_535


class BrokerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[broker]``: who this relay is and where it listens (``tcp://HOST:PORT``, HOST ``*`` for every address)."""

    id: str
    bind: str = "tcp://*:7420"
    """The request plane."""
    feed_in: str = ""
    """Where agents publish their change feeds; by default one port above `bind`."""
    feed_out: str = ""
    """Where clients subscribe to them; by default two ports above `bind`."""


class SecurityTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[security]``: relative paths count from the directory of the configuration file."""

    key_file: Path
    """The relay's own secret key, mode 0600."""
    authorized: Path
    """Directory of ``*.cert``: the peers that may connect. It is read again whenever it changes."""


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[pairs]]``: one client and one agent that may talk to each other."""

    client: str
    agent: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[limits]``: what one peer, one route and the whole relay may take. Sizes in bytes, times in seconds."""

    max_message_bytes: Annotated[int, msgspec.Meta(ge=4096, le=64 * 1024 * 1024)] = MAX_MESSAGE
    """One body. A frame more than a kilobyte larger closes the connection before it is read."""
    messages_per_second: _Count = 50_000
    """Per peer, sustained."""
    bytes_per_second: _Bytes = 1_000_000_000
    """Per peer, sustained."""
    burst_seconds: _Seconds = 2.0
    """A peer that was quiet may send this many seconds' worth at once."""
    max_instances: _Count = 64
    """Running programs (mounts, agents) of one peer at a time."""
    max_topics: _Count = 64
    """Change feeds of one agent that are remembered, live ones included."""
    socket_queue: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Messages that ZeroMQ holds for one connection before the spool is used."""
    feed_queue: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 512
    """Publications held for one subscriber; a slower one misses some, notices the gap and asks its agent."""
    spool_route_messages: _Count = 1024
    spool_route_bytes: _Bytes = 32 * 1024 * 1024
    """Spooled for one connection; past it the sender is told CONGESTED."""
    spool_total_bytes: _Bytes = 256 * 1024 * 1024
    """Spooled altogether: this bounds the relay's memory."""
    spool_seconds: _Seconds = 5.0
    """What could not be delivered for this long is dropped; the sender sends it again."""
    token_seconds: _Seconds = 300.0
    """Life of a session token; it is renewed at half of it."""
    heartbeat_seconds: _Seconds = 5.0
    """A peer instance that was silent for three of these is gone."""
    handshake_seconds: _Seconds = 5.0
    """A connection that has not shown an authorised key for this long is closed; the peer may try again."""


class MetricsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[metrics]``: HOST:PORT of ``/metrics`` (Prometheus) and ``/health`` (JSON); empty is off."""

    address: str = "127.0.0.1:9420"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration file of a broker."""

    broker: BrokerTable
    security: SecurityTable
    pairs: tuple[Pair, ...] = ()
    limits: Limits = Limits()
    metrics: MetricsTable = MetricsTable()
    log: LogTable = LogTable()

    @property
    def peer_pairs(self) -> frozenset[tuple[PeerId, PeerId]]:
        """(client, agent) of every pair."""
        return frozenset((PeerId(pair.client), PeerId(pair.agent)) for pair in self.pairs)

    @property
    def endpoints(self) -> tuple[str, str, str]:
        """Where to bind: requests, feed in, feed out."""
        return (
            self.broker.bind,
            self.broker.feed_in or _following(self.broker.bind, 1),
            self.broker.feed_out or _following(self.broker.bind, 2),
        )


def load(path: Path) -> Settings:
    """Read, complete and check the configuration file `path`. Raises `ConfigurationError`."""
    try:
        raw = read_settings(path, Settings)
    except SettingsError as error:
        raise ConfigurationError(str(error)) from error
    try:
        _check(raw)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    home = path.resolve().parent
    return msgspec.structs.replace(
        raw,
        security=SecurityTable(_below(home, raw.security.key_file), _below(home, raw.security.authorized)),
        log=msgspec.structs.replace(raw.log, file=_below(home, raw.log.file) if raw.log.file else None),
    )


def _below(home: Path, path: Path) -> Path:
    return home / path.expanduser()


def _check(settings: Settings) -> None:
    _check_id("broker.id", settings.broker.id)
    for index, pair in enumerate(settings.pairs):
        _check_id(f"pairs[{index}].client", pair.client)
        _check_id(f"pairs[{index}].agent", pair.agent)
        if pair.client == pair.agent:
            raise ValueError(f"pairs[{index}]: {pair.client!r} cannot be paired with itself")
    for key in ("bind", "feed_in", "feed_out"):
        endpoint: str = getattr(settings.broker, key)
        found = _ENDPOINT.fullmatch(endpoint)
        if key == "bind" or endpoint:
            if found is None:
                raise ValueError(f"broker.{key}: {endpoint!r} is not tcp://HOST:PORT (HOST * is every address)")
            last = 2 if key == "bind" and not (settings.broker.feed_in and settings.broker.feed_out) else 0
            if found["port"] != "*" and int(found["port"]) + last > _MAX_PORT:
                raise ValueError(f"broker.{key}: {endpoint!r}: there is no port past {_MAX_PORT}")
    if settings.metrics.address:
        try:
            split_address(settings.metrics.address)
        except ValueError as error:
            raise ValueError(f"metrics.address: {error}, such as 127.0.0.1:9420; empty is off") from error
    if settings.limits.spool_route_bytes < settings.limits.max_message_bytes:
        raise ValueError("limits.spool_route_bytes must hold at least one message of limits.max_message_bytes")


def _check_id(key: str, text: str) -> None:
    try:
        peer_id(text)
    except IdentityError as error:
        raise ValueError(f"{key}: {error}") from error


def _following(endpoint: str, by: int) -> str:
    """The endpoint `by` ports above; a port chosen by the system (``*`` or 0) stays one chosen by the system."""
    head, _, port = endpoint.rpartition(":")
    return endpoint if port in ("*", "0") else f"{head}:{int(port) + by}"
