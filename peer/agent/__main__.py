"""The command line of the agent.

The one rule: whatever keeps it from serving is one sentence on standard error and exit code 2, never a traceback; told
to stop, it finishes what it has accepted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from peer.agent.access_policy import AccessRules, ClientRule
from peer.agent.audit import AuditLog
from peer.agent.dispatcher import Dispatcher, Limits
from peer.agent.feeding import FeedOutlet, watch_exports
from peer.agent.metrics import Sources, serve_metrics
from peer.certificates import read_own_keys, read_relay_key
from peer.channel.opening import new_instance, open_link, open_publisher, open_responder
from peer.channel.packing import Padding
from peer.channel.responder import Quotas
from peer.config import AgentSettings, read_agent
from peer.errors import PeerError
from peer.pinned_peers import PinnedPeers
from schema.log_lines import log_to
from schema.paths import parse
from schema.settings import SettingsError

_log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 10.0
"""How long accepted operations may take once the agent was told to stop."""

_HELP = """Serve the directories of this machine that AGENT.toml allows to the clients that it trusts.

Nothing outside allowed_paths is reached, by no name and no symbolic link. Clients come through a relay that cannot
read what they say. SIGTERM and SIGINT stop the agent once the operations that it has accepted are done.

\b
Settings:
    [agent]
    id = "server"
    relay_url = "tcp://relay.example.org:7420"
  \b
    [access]
    allowed_paths = ["/srv/src"]
    read_only_paths = ["/srv/src/vendor"]
  \b
    [security]                        # paths count from this file's directory
    key_file = "server.key"           # made by: remotefs keygen server
    cert_file = "server.cert"         # give this one to the relay and to the clients
    relay_cert = "relay.cert"         # the relay's certificate: any other is refused
    trusted = "trusted"               # the clients' certificates: remotefs trust laptop.cert --into trusted
  \b
    [audit]
    file = "audit.jsonl"              # who did what; without it there is no audit
  \b
    [metrics]
    address = "127.0.0.1:9421"        # for Prometheus; without it there are none

Certificates that are added or deleted take effect within two seconds, on live sessions too.
"""


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("settings_file", metavar="AGENT.toml", type=click.Path(path_type=Path))
def main(settings_file: Path) -> None:
    """Read the settings, then serve until a signal says to stop."""
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    try:
        settings = read_agent(settings_file)
        log_to(settings.log, "peer")
        _serve(settings, stop)
    except (SettingsError, PeerError) as error:
        _fail(error)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else error)


def _serve(settings: AgentSettings, stop: threading.Event) -> None:
    # Clients' open files are descriptors here, and the usual soft limit is for programs that use select(2).
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    security = settings.security
    keys = read_own_keys(security.key_file, security.cert_file, settings.id)
    relay_key = read_relay_key(security.relay_cert)
    pinned = PinnedPeers(security.trusted)
    if not len(pinned):
        _log.warning("%s holds no certificate: no client is trusted yet", security.trusted)
    with contextlib.ExitStack() as stack:
        audit = None
        if settings.audit.file is not None:
            audit = AuditLog(str(settings.audit.file), max_bytes=settings.audit.max_bytes, keep=settings.audit.keep)
            stack.callback(audit.close)
        limits = Limits(
            open_files_per_client=settings.limits.open_files_per_client, open_files=settings.limits.open_files
        )
        dispatcher = Dispatcher(_rules(settings), boot=secrets.randbits(63), audit=audit, limits=limits)
        stack.callback(dispatcher.close)
        link = open_link(keys, relay_key, settings.relay, settings.network, new_instance())
        stack.callback(link.stop)
        publisher = open_publisher(keys, relay_key, settings.relay, settings.network)
        stack.callback(publisher.stop)
        padding = Padding(settings.network.padding)
        watcher, feeds = watch_exports(
            dispatcher,
            FeedOutlet(link, publisher),
            heartbeat=settings.feed.heartbeat_seconds,
            key_of=pinned.key_of,
            random=secrets.token_bytes,
            padding=padding,
        )
        stack.callback(watcher.stop)
        if settings.metrics.address:
            sources = Sources(
                requests=dispatcher.tally.snapshot,
                open_files=lambda: dispatcher.open_files,
                watched=watcher.standing,
                feeds=feeds.counts,
                cache=dispatcher.cache.counts,
            )
            stack.callback(serve_metrics(settings.metrics.address, sources))
            _log.info("metrics are at %s", settings.metrics.address)
        watcher.start()
        quotas = Quotas(
            threads=settings.limits.threads,
            envelopes=settings.limits.requests_waiting,
            bytes=settings.limits.bytes_waiting,
            instances_per_client=settings.limits.instances_per_client,
        )
        responder = open_responder(keys, link, pinned, dispatcher, quotas=quotas, padding=padding)
        _log.info("%s serves %s", settings.id, ", ".join(map(str, settings.access.allowed_paths)))
        stop.wait()
        if not responder.drain(DRAIN_SECONDS):
            _log.warning("stopped with operations unfinished after %.0f s", DRAIN_SECONDS)


def _rules(settings: AgentSettings) -> AccessRules:
    return AccessRules(
        allowed_paths=_components(settings.access.allowed_paths),
        read_only_paths=_components(settings.access.read_only_paths),
        clients=tuple(
            ClientRule(
                id=rule.id,
                allowed_paths=None if rule.allowed_paths is None else _components(rule.allowed_paths),
                read_only=rule.read_only,
                preserve_identity=rule.preserve_identity,
            )
            for rule in settings.clients
        ),
        preserve_identity=settings.access.preserve_identity,
    )


def _components(paths: tuple[Path, ...]) -> tuple[tuple[bytes, ...], ...]:
    return tuple(parse(os.fsencode(path)) for path in paths)


def _fail(error: object) -> NoReturn:
    click.echo(f"agent: {error}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main(prog_name="python -m peer.agent")
