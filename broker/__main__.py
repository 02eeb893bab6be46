"""The command line of the broker.

The one rule: whatever keeps it from running is one sentence on standard error and exit code 2, never a traceback.
"""

from __future__ import annotations

import resource
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from broker import config
from broker.errors import BrokerError, StartupError
from broker.key_file import read_key_file
from broker.server import Server
from schema.log_lines import LogTable, log_to

_HELP = """Run the RemoteFS broker (the relay) that CONFIG.toml describes.

It carries sealed messages between clients and agents that have its leave, and can read none of them. It listens on
three ports in a row (requests, change feeds in, change feeds out), and tells its health at /health and /metrics.

\b
A configuration, with every table there is:
    [broker]
    id = "relay"
    bind = "tcp://*:7420"          # feeds follow: 7421 in, 7422 out
  \b
    [security]                     # paths count from this file's directory
    key_file = "relay.key"         # made by keygen, mode 0600
    authorized = "authorized"      # one NAME.cert for each peer; delete it to revoke
  \b
    [[pairs]]                      # who may talk to whom; one table for each pair
    client = "laptop"
    agent = "server"
  \b
    [limits]                       # each peer, sustained
    messages_per_second = 50000
    bytes_per_second = 1000000000
  \b
    [metrics]
    address = "127.0.0.1:9420"     # "" is off
  \b
    [log]
    format = "plain"               # or "json"
    level = "info"

Changes in the authorized directory take effect within two seconds; changes in this file at the next start. SIGTERM
and SIGINT stop the broker; peers wait for it and register again by themselves.
"""


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("configuration", metavar="CONFIG.toml", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether the configuration and the key file can be used.")
def main(configuration: Path, check: bool) -> None:
    """Read the configuration, then run until a signal says to stop."""
    try:
        settings = config.load(configuration)
        key = read_key_file(settings.security.key_file, settings.broker.id)
        if check:
            click.echo(f"{configuration}: good; {key.certificate.id} is {key.certificate.fingerprint}")
            return
        _set_up_logs(settings.log)
        _raise_descriptor_limit()
        server = Server(settings, key)
    except BrokerError as error:
        click.echo(f"broker: {error}", err=True)
        sys.exit(2)
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    try:
        server.run(stop)
    except BrokerError as error:
        click.echo(f"broker: {error}", err=True)
        sys.exit(1)


def _raise_descriptor_limit() -> None:
    """Every connection is a descriptor, and the usual soft limit of 1,024 was made for select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _set_up_logs(table: LogTable) -> None:
    try:
        log_to(table, "broker")
    except OSError as error:
        raise StartupError(f"log.file: {table.file} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    main(prog_name="python -m broker")
