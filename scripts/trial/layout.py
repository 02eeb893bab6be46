"""Where a trial installation keeps its things, and the keys and settings that it writes there.

The one rule: keys are made once and kept; settings are written anew at each start, from the arguments alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.certificates import CERTIFICATE_SUFFIX, KEY_SUFFIX, certificate_of, generate, pin, write_certificate
from peer.config import read_client
from schema.identity import peer_id
from schema.key_file import read_key_file, write_key_file
from scripts.trial.errors import TrialError

RELAY, SERVER, LAPTOP = "relay", "server", "laptop"
DEFAULT_PORT: Final = 7420
PORTS: Final = 4
"""The request plane, the two change-feed planes, and metrics, in this order from the port on."""

_SAMPLE: Final = """This file lies in the directory that the agent exports:
    {export}
and you see it through the mount, over a relay that cannot read it:
    {mount}
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories and files of one trial installation below `home`."""

    home: Path

    @property
    def export(self) -> Path:
        """What is exported when nothing else is named."""
        return self.home / "export"

    @property
    def mount(self) -> Path:
        """Where it is mounted when nothing else is named."""
        return self.home / "mount"

    @property
    def config(self) -> Path:
        """Settings files."""
        return self.home / "config"

    @property
    def keys(self) -> Path:
        """Key files and certificates."""
        return self.home / "keys"

    @property
    def log(self) -> Path:
        """Log files."""
        return self.home / "log"

    @property
    def run(self) -> Path:
        """Socket and pid file of supervisord, and our lock."""
        return self.home / "run"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord is told what to do."""
        return self.run / "supervisor.sock"

    @property
    def supervisord_conf(self) -> Path:
        """The project's own, put here by scripts/quickstart."""
        return self.home / "supervisord.conf"

    @property
    def settings_files(self) -> tuple[Path, Path, Path]:
        """Of the broker, the agent and the mount."""
        return (self.config / "broker.toml", self.config / "agent.toml", self.config / "client.toml")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a trial installation shows where."""

    export: Path
    mount: Path
    port: int


def make_directories(layout: Layout) -> None:
    """Make what is missing below the home, which only its owner may enter."""
    layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (layout.config, layout.keys, layout.log, layout.run):
        directory.mkdir(mode=0o700, exist_ok=True)


def write_all(layout: Layout, plan: Plan) -> None:
    """Keys for the three peers unless they are there, whom each of them trusts, and their settings."""
    for name in (RELAY, SERVER, LAPTOP):
        key_file = layout.keys / f"{name}{KEY_SUFFIX}"
        if not key_file.exists():
            write_key_file(key_file, generate(peer_id(name), broker=name == RELAY))
        own = certificate_of(read_key_file(key_file))
        write_certificate(layout.keys / f"{name}{CERTIFICATE_SUFFIX}", own)
        for other in _TRUSTED_BY[name]:
            directory = layout.config / other
            directory.mkdir(exist_ok=True)
            pin(own, directory, replace=True)
    for path, text in zip(layout.settings_files, _settings(layout, plan), strict=True):
        path.write_text(text, encoding="utf-8")


def write_sample(layout: Layout, mount: Path) -> None:
    """Something to look at in an export of our own."""
    layout.export.mkdir(exist_ok=True)
    readme = layout.export / "README.txt"
    if not readme.exists():
        readme.write_text(_SAMPLE.format(export=layout.export, mount=mount), encoding="utf-8")


def written_plan(layout: Layout) -> Plan:
    """What the settings written last say. Raises `SettingsError` when there are none."""
    settings = read_client(layout.settings_files[2])
    remote, mount = settings.mounts[0]
    export = Path(os.fsdecode(b"/" + b"/".join(remote.path)))
    return Plan(export, mount, int(settings.client.relay_url.rpartition(":")[2]))


_TRUSTED_BY: Final = {
    RELAY: (),
    SERVER: ("authorized", "trusted-by-laptop"),
    LAPTOP: ("authorized", "trusted-by-server"),
}


def _settings(layout: Layout, plan: Plan) -> tuple[str, str, str]:
    broker = f"""# The relay of this trial: reached from this machine only.
[broker]
id = "{RELAY}"
bind = "tcp://127.0.0.1:{plan.port}"

[security]
key_file = {_text(layout.keys / (RELAY + KEY_SUFFIX))}
authorized = "authorized"

[[pairs]]
client = "{LAPTOP}"
agent = "{SERVER}"

[metrics]
address = "127.0.0.1:{plan.port + PORTS - 1}"
"""
    agent = f"""# The machine that has the files.
[agent]
id = "{SERVER}"
relay_url = "tcp://127.0.0.1:{plan.port}"

[access]
allowed_paths = [{_text(plan.export)}]
{_security(layout, SERVER)}
[audit]
file = {_text(layout.log / "audit.jsonl")}
"""
    client = f"""# The machine that mounts them.
[client]
id = "{LAPTOP}"
relay_url = "tcp://127.0.0.1:{plan.port}"
agent = "{SERVER}"
mount_points = [{{ remote_path = {_text(plan.export)}, local_path = {_text(plan.mount)} }}]
{_security(layout, LAPTOP)}
[cache]
directory = {_text(layout.home / "cache")}
"""
    return broker, agent, client


def _security(layout: Layout, name: str) -> str:
    return f"""
[security]
key_file = {_text(layout.keys / (name + KEY_SUFFIX))}
cert_file = {_text(layout.keys / (name + CERTIFICATE_SUFFIX))}
relay_cert = {_text(layout.keys / (RELAY + CERTIFICATE_SUFFIX))}
trusted = "trusted-by-{name}"
"""


def _text(path: Path) -> str:
    """`path` as a TOML string. Raises `TrialError` for a name that no settings file can hold."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise TrialError(f"{os.fsencode(path)!r} is not UTF-8, so no settings file can name it") from None
    return json.dumps(str(path), ensure_ascii=False).replace("\x7f", "\\u007f")
