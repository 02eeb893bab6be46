"""The command line of the mount: one directory, or all of a client's settings.

The one rule: whatever keeps it from mounting is one sentence on standard error, never a traceback: exit code 2 when
the settings or keys are to be mended, 1 when the agent, the broker or the mount point does not let us.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click
import platformdirs

from peer.config import ClientSettings, Remote, parse_remote, read_client
from peer.errors import CertificateRefused, KeyRefused, PeerError, UnknownPeer
from peer.mount.process_group import ProcessGroup
from schema.log_lines import log_to
from schema.settings import SettingsError

DEFAULT_SETTINGS: Final = Path(platformdirs.user_config_dir("remotefs"), "client.toml")

_HELP = f"""Mount the directory /remote/path of AGENT at LOCAL; without arguments, all mount_points of the settings.

It runs in the foreground until it is unmounted (fusermount3 -u LOCAL, or remotefs umount LOCAL) or told to stop
(SIGTERM, SIGINT), and then leaves no mount behind.

\b
Settings, by default in {DEFAULT_SETTINGS}:
    [client]
    id = "laptop"
    relay_url = "tcp://relay.example.org:7420"
    mount_points = [{{ remote_path = "server:/srv/src", local_path = "~/src" }}]
  \b
    [security]                        # paths count from this file's directory
    key_file = "laptop.key"           # made by: remotefs keygen laptop
    cert_file = "laptop.cert"         # give this one to the relay and to the agent
    relay_cert = "relay.cert"         # the relay's certificate: any other is refused
    trusted = "trusted"               # the agents' certificates: remotefs trust server.cert --into trusted
  \b
    [mount]
    identity = "map"                  # or "preserve": uid, gid and mode pass through
    symlinks = "as-is"                # or "contain": show no target outside the mount
"""


@click.command(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.argument("remote", metavar="[AGENT:/remote/path", required=False)
@click.argument("local", metavar="LOCAL]", required=False, type=click.Path(path_type=Path))
@click.option(
    "-c",
    "--config",
    "settings_file",
    metavar="CLIENT.toml",
    type=click.Path(path_type=Path),
    default=DEFAULT_SETTINGS,
    help="The settings of this client.",
)
def main(remote: str | None, local: Path | None, settings_file: Path) -> None:
    """Mount one directory, or start a process for each of the settings' mount points and look after them."""
    if (remote is None) != (local is None):
        raise click.UsageError("give both AGENT:/remote/path and LOCAL, or neither to mount what the settings say")
    try:
        settings = read_client(settings_file)
        log_to(settings.log, "peer")
    except (SettingsError, OSError) as error:
        _fail(error, 2)
    if remote is not None and local is not None:
        _mount_one(settings, remote, local)
    else:
        _mount_all(settings, settings_file)


def _mount_one(settings: ClientSettings, remote: str, local: Path) -> None:
    # libfuse is loaded only in the process that mounts.
    from peer.mount.remote_mount import mount_directory  # noqa: PLC0415

    try:
        mount_directory(settings, parse_remote(remote, settings.client.agent), local)
    except (KeyRefused, CertificateRefused, UnknownPeer, ValueError) as error:
        _fail(error, 2)
    except PeerError as error:
        _fail(error, 1)
    _end()


def _end() -> NoReturn:
    """End now: everything of ours has been brought to its end, in order.

    A thread that is in the middle of a system call, or of libfuse, would hold up the interpreter's own way of ending.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _mount_all(settings: ClientSettings, settings_file: Path) -> None:
    if not settings.mounts:
        _fail(f"{settings_file}: client.mount_points names nothing to mount, and no AGENT:/remote/path was given", 2)
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    commands = {
        str(local): [sys.executable, "-m", "peer.mount", "--config", str(settings_file), _text(remote), str(local)]
        for remote, local in settings.mounts
    }
    if not ProcessGroup(commands).run(stop):
        sys.exit(1)


def _text(remote: Remote) -> str:
    return f"{remote.agent}:{os.fsdecode(b'/' + b'/'.join(remote.path))}"


def _fail(error: object, code: int) -> NoReturn:
    click.echo(f"mount: {error}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m peer.mount")
