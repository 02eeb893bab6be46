"""The part of `scripts/quickstart` that runs once everything is installed: start the trial, show it, or stop it.

The one rule: what runs is left alone, however often this is started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from peer.errors import PeerError
from schema.key_file import KeyFileError
from schema.settings import SettingsError
from scripts.trial.checks import check_directories, check_fuse, check_home, check_ports
from scripts.trial.errors import StartFailed, TrialError
from scripts.trial.layout import (
    DEFAULT_PORT,
    PORTS,
    Layout,
    Plan,
    make_directories,
    write_all,
    write_sample,
    written_plan,
)
from scripts.trial.programs import Programs

_LIST_TIMEOUT: Final = 20.0
_LAST_PORT: Final = 65_536 - PORTS


@click.command()
@click.argument("export", required=False, type=click.Path(path_type=Path))
@click.argument("mount", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, _LAST_PORT))
@click.option("--stop", is_flag=True)
@click.option("--home", type=click.Path(path_type=Path), required=True)
def main(export: Path | None, mount: Path | None, port: int | None, home: Path, *, stop: bool) -> None:
    """Start the trial below HOME, or stop it; scripts/quickstart --help says the rest."""
    layout = Layout(home.absolute())
    try:
        with _alone(layout):
            if stop:
                _stop(layout)
            else:
                _start(layout, export, mount, port)
    except (TrialError, PeerError, KeyFileError, SettingsError) as error:
        raise click.ClickException(str(error)) from error


def _start(layout: Layout, export: Path | None, mount: Path | None, port: int | None) -> None:
    programs = Programs(layout)
    running = programs.running()
    usual = written_plan(layout) if running else Plan(layout.export, layout.mount, DEFAULT_PORT)
    # No symbolic links: the agent follows none, and the kernel lists mounts without them.
    plan = Plan(
        export=Path(os.path.realpath(export or usual.export)),
        mount=Path(os.path.realpath(mount or usual.mount)),
        port=port or usual.port,
    )
    if running:
        if plan != usual:
            raise TrialError(
                f"it is running already, with {usual.export} at {usual.mount} on port {usual.port}: "
                "stop it first with --stop"
            )
        click.echo("It is running already.")
    else:
        _prepare(layout, plan, programs)
    try:
        programs.start(plan.mount)
    except StartFailed:
        programs.stop(plan.mount)
        raise
    _show(layout, plan)


def _prepare(layout: Layout, plan: Plan, programs: Programs) -> None:
    check_fuse()
    check_home(layout)
    programs.stop(None)  # what outlived a supervisord that was killed would hold the ports
    write_sample(layout, plan.mount)
    check_directories(plan)
    check_ports(plan.port)
    write_all(layout, plan)


def _stop(layout: Layout) -> None:
    try:
        mount = written_plan(layout).mount
    except SettingsError:
        mount = None  # it was never started
    click.echo("Stopped." if Programs(layout).stop(mount) else "Nothing was running.")


def _show(layout: Layout, plan: Plan) -> None:
    listing = subprocess.run(
        ["ls", "-la", "--", plan.mount], capture_output=True, text=True, timeout=_LIST_TIMEOUT, check=False
    )
    click.echo(f"{plan.export} is mounted at {plan.mount}:\n")
    click.echo(listing.stdout)
    elsewhere = f"REMOTEFS_HOME={shlex.quote(str(layout.home))} " if "REMOTEFS_HOME" in os.environ else ""
    click.echo(f"Try:   cp /etc/services {shlex.quote(str(plan.mount))} && ls -l {shlex.quote(str(plan.export))}")
    click.echo(f"Logs:  {layout.log}")
    click.echo(f"Stop:  {elsewhere}scripts/quickstart --stop")


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One quickstart at a time for one home."""
    make_directories(layout)
    with (layout.run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrialError(f"another quickstart is at work in {layout.home}: wait for it") from None
        yield


if __name__ == "__main__":
    main(prog_name="scripts/quickstart")
