"""The console command `remotefs`: the three programs, and the keys that they trust each other by.

The one rule: a program is imported only when it is run, so that a relay needs nothing that only a mount needs.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

import click

from peer.certificates import (
    CERTIFICATE_SUFFIX,
    KEY_SUFFIX,
    certificate_of,
    generate,
    pin,
    read_certificate,
    write_certificate,
)
from peer.errors import PeerError
from schema.identity import Certificate, IdentityError, PeerId, fingerprint, peer_id
from schema.key_file import KeyFileError, write_key_file

_UMOUNT_TIMEOUT: Final = 30.0
"""Seconds that fusermount3 may take."""


class _Programs(click.Group):
    """A group whose three programs are looked up in their own packages, and shown in this order."""

    programs: Final = {
        "broker": ("broker.__main__", "Run the relay that joins clients and agents."),
        "agent": ("peer.agent.__main__", "Serve directories of this machine to clients."),
        "mount": ("peer.mount.__main__", "Mount directories of an agent here."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The programs first, then our own commands."""
        return [*self.programs, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of our own commands, or the `main` of a program."""
        if cmd_name not in self.programs:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(self.programs[cmd_name][0]).main
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.programs[cmd_name][0]}.main is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands without importing the programs."""
        rows = [(name, summary) for name, (_, summary) in self.programs.items()]
        rows += [(name, command.get_short_help_str(60)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _valid_id(_: click.Context, __: click.Parameter, value: str) -> PeerId:
    try:
        return peer_id(value)
    except IdentityError as error:
        raise click.BadParameter(str(error)) from error


@click.group(cls=_Programs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="remotefs", prog_name="remotefs")
def main() -> None:
    """A directory of another machine, mounted here through an untrusted relay and sealed end to end.

    \b
    Once, on each of the three machines:
      remotefs keygen relay --broker      on the relay
      remotefs keygen server              on the machine that has the files
      remotefs keygen laptop              on the machine that mounts them
    \b
    Give the .cert files to each other (never a .key file), compare fingerprints, and pin them:
      remotefs trust server.cert --into authorized     on the relay: who may connect
      remotefs trust laptop.cert --into authorized
      remotefs trust laptop.cert --into trusted        on the server: whom it serves
      remotefs trust server.cert --into trusted        on the laptop: whom it asks
    \b
    Then write the settings (broker.toml, agent.toml, client.toml) and run the programs; each one's
    --help shows an example of its settings.
    """  # noqa: D301 - click wants the character itself


@main.command(short_help="Make the keys of a program.")
@click.argument("id", callback=_valid_id)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to write ID.key and ID.cert; made if missing. Default: here.",
)
@click.option("--broker", is_flag=True, help="Keys of a relay: it takes no part in what is sealed end to end.")
def keygen(id: str, directory: Path, *, broker: bool) -> None:  # noqa: A002 - the name that --help shows
    """Make the keys of a program named ID, e.g. "laptop".

    Writes ID.key, which is secret and stays where it is (mode 0600), and ID.cert, which is public and made to be
    given to others. Neither is ever overwritten.

    Example: remotefs keygen laptop --directory ~/.config/remotefs
    """
    peer = PeerId(id)
    key_file, cert_file = directory / f"{peer}{KEY_SUFFIX}", directory / f"{peer}{CERTIFICATE_SUFFIX}"
    if cert_file.exists():
        raise click.ClickException(f"{cert_file}: there is a certificate already, and it is never overwritten")
    secrets = generate(peer, broker=broker)
    certificate = certificate_of(secrets)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_key_file(key_file, secrets)
        write_certificate(cert_file, certificate)
    except OSError as error:
        raise click.ClickException(f"{directory}: cannot be made: {error.strerror}") from error
    except (KeyFileError, PeerError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"secret       {key_file}  (stays here)")
    click.echo(f"certificate  {cert_file}  (give it to others)")
    _show(certificate)


@main.command(short_help="Pin the certificate of another.")
@click.argument("certificate", type=click.Path(path_type=Path))
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory named by security.authorized (a relay) or security.trusted (a client, an agent).",
)
@click.option("--replace", is_flag=True, help="Pin this key in place of another one that is pinned for the same id.")
def trust(certificate: Path, into: Path, *, replace: bool) -> None:
    """Trust the owner of CERTIFICATE: copy it into a directory of trusted ones, under its id.

    Compare the fingerprint with the one its owner sees (remotefs keygen showed it) before you rely on it. A running
    program takes notice within seconds. Deleting the file there ends the trust, as quickly.

    Example: remotefs trust laptop.cert --into /etc/remotefs/trusted
    """
    try:
        wanted = read_certificate(certificate)
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"{wanted.id}{CERTIFICATE_SUFFIX}"
        before = read_certificate(path) if replace and path.exists() else None
        pinned = pin(wanted, into, replace=replace)
    except OSError as error:
        raise click.ClickException(f"{into}: cannot be made: {error.strerror}") from error
    except PeerError as error:
        raise click.ClickException(str(error)) from error
    if before is not None and before != wanted:
        click.echo(f"replaced     {before.fingerprint}")
    click.echo(f"pinned       {wanted.id} in {pinned}")
    _show(wanted)


@main.command(short_help="Unmount a directory.")
@click.argument("mount_point", type=click.Path(path_type=Path))
@click.option(
    "--lazy", is_flag=True, help="Detach it now even if it is in use; it vanishes when the last user is done."
)
def umount(mount_point: Path, *, lazy: bool) -> None:
    """Unmount MOUNT_POINT. The program that serves it finishes what it has accepted and ends.

    Example: remotefs umount ~/data
    """
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        raise click.ClickException("fusermount3 is not installed: install the package fuse3")
    command = [program, "-u", *(["-z"] if lazy else []), "--", str(mount_point.absolute())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_UMOUNT_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise click.ClickException(f"{mount_point}: not unmounted after {_UMOUNT_TIMEOUT:.0f} s; try --lazy") from None
    if done.returncode != 0:
        why = done.stderr.strip().rpartition(": ")[2] or f"{program} ended with {done.returncode}"
        raise click.ClickException(f"{mount_point}: not unmounted: {why}")


def _show(certificate: Certificate) -> None:
    """What two people compare; refusals of a handshake name the identity key alone."""
    click.echo(f"fingerprint  {certificate.fingerprint}")
    if certificate.identity_key is not None:
        click.echo(f"identity key {fingerprint(certificate.identity_key)}")


if __name__ == "__main__":
    main()
