"""A whole installation in one directory: keys, certificates, settings, and the three true programs as processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from peer.certificates import certificate_of, generate, pin, read_certificate, write_certificate
from schema.identity import Certificate, peer_id
from schema.key_file import write_key_file
from tests.stack.ports import reserved_ports
from tests.stack.processes import PATIENCE, Program

RELAY, SERVER, LAPTOP, DESKTOP = "relay", "server", "laptop", "desktop"
FAULTS = ("Traceback", "unexpected failure", "a fault of the agent's own")
"""What no log may hold, whatever a test did."""

Table = Mapping[str, object]


@dataclass(frozen=True)
class Mounted:
    """A mount of the export, and the process behind it."""

    path: Path
    program: Program

    @property
    def is_there(self) -> bool:
        return f" {self.path} " in Path("/proc/self/mountinfo").read_text()

    def kill(self) -> None:
        """SIGKILL the program and take away what the kernel keeps of the mount."""
        self.program.kill()
        self.detach()

    def detach(self) -> None:
        """Take the mount away, in use or not, whatever its program does."""
        command = ["umount", "-l"] if os.getuid() == 0 else ["fusermount3", "-u", "-z"]
        subprocess.run([*command, self.path], check=True, timeout=PATIENCE)


class Stack:
    """One relay, one agent `server` that exports `export`, and clients `laptop` and `desktop`; nothing runs yet.

    As root the agent preserves identities, and so do the mounts; otherwise everything is the present user's.
    """

    def __init__(self, home: Path, port: int) -> None:
        """`port` is the first of four in a row."""
        self.home = home
        self.export = home / "export"
        self.config = home / "config"
        self.preserves = os.getuid() == 0
        self.port = port
        self.relay_host = "127.0.0.1"
        """What agents and clients are told that are configured from now on."""
        self._numbers = itertools.count(1)
        self._mounts: list[Mounted] = []
        for directory in (self.export, self.config, self.config / "authorized"):
            directory.mkdir()
        for name in (RELAY, SERVER, LAPTOP, DESKTOP):
            self.make_keys(name)
        for client in (LAPTOP, DESKTOP):
            self.trust(client, SERVER)
            self.trust(SERVER, client)
            self.authorize(client)
        self.authorize(SERVER)
        self.broker = self._program("broker", "broker", self.config / "broker.toml")
        self.agent = self._program("agent", "peer.agent", self.config / "agent.toml")
        self.orders = home / "orders"
        """What a lying broker is to do; see `lying_broker`."""
        self.write_broker()
        self.write_agent()
        for client in (LAPTOP, DESKTOP):
            self.write_client(client)

    # Keys and trust.

    def make_keys(self, name: str) -> None:
        """New keys for a peer; what others have pinned of it stays as it was."""
        own = generate(peer_id(name), broker=name == RELAY)
        key_file = self.config / f"{name}.key"
        key_file.unlink(missing_ok=True)
        write_key_file(key_file, own)
        write_certificate(self.config / f"{name}.cert", certificate_of(own))

    def trusted_by(self, who: str, whom: str) -> Path:
        """Where `who` has pinned the certificate of `whom`; deleting it revokes."""
        return self.config / f"{who}-trusts" / f"{whom}.cert"

    def trust(self, who: str, whom: str) -> None:
        directory = self.trusted_by(who, whom).parent
        directory.mkdir(exist_ok=True)
        pin(self._certificate(whom), directory, replace=True)

    def authorized(self, whom: str) -> Path:
        """The certificate of `whom` in the broker's directory."""
        return self.config / "authorized" / f"{whom}.cert"

    def authorize(self, whom: str) -> None:
        pin(self._certificate(whom), self.config / "authorized", replace=True)

    # Settings.

    def write_broker(self, *, pairs: tuple[str, ...] = (LAPTOP, DESKTOP), **limits: object) -> None:
        """`pairs` are the clients that may talk to the agent."""
        self._write(
            "broker",
            {
                "broker": {"id": RELAY, "bind": f"tcp://127.0.0.1:{self.port}"},
                "security": {"key_file": f"{RELAY}.key", "authorized": "authorized"},
                "limits": limits,
                "metrics": {"address": ""},
            },
            pairs=[{"client": client, "agent": SERVER} for client in pairs],
        )

    def write_agent(
        self,
        *,
        exports: tuple[Path, ...] = (),
        limits: Table | None = None,
        feed: Table | None = None,
        network: Table | None = None,
        **access: object,
    ) -> None:
        """`exports` are directories beside `export`."""
        self._write(
            "agent",
            {
                "agent": {"id": SERVER, "relay_url": f"tcp://{self.relay_host}:{self.port}"},
                "access": {
                    "allowed_paths": [str(self.export), *map(str, exports)],
                    "preserve_identity": self.preserves,
                    **access,
                },
                "security": self._security(SERVER),
                "limits": limits or {},
                "feed": feed or {},
                "network": network or {},
                "metrics": {"address": self.metrics},
                "audit": {"file": str(self.audit)},
            },
        )

    def write_client(
        self,
        name: str,
        *,
        timeouts: Table | None = None,
        cache: Table | None = None,
        network: Table | None = None,
        **mount: object,
    ) -> None:
        """Opens trust the feed, unless `cache` says otherwise: whether it is quick to ask is the machine's affair."""
        self._write(
            name,
            {
                "client": {"id": name, "relay_url": f"tcp://{self.relay_host}:{self.port}", "agent": SERVER},
                "security": self._security(name),
                "mount": {
                    "identity": "preserve" if self.preserves else "map",
                    "allow_other": self.preserves,
                    **mount,
                },
                "cache": {"directory": str(self.home / f"{name}-cache"), "open": "feed", **(cache or {})},
                "timeouts": timeouts or {},
                "network": network or {},
            },
        )

    @property
    def metrics(self) -> str:
        """Where the agent counts what it is asked."""
        return f"127.0.0.1:{self.port + 3}"

    @property
    def audit(self) -> Path:
        """The agent's audit log: JSON lines, in the order in which operations ended."""
        return self.home / "audit.jsonl"

    # Programs.

    def start(self) -> None:
        self.start_broker()
        self.start_agent()

    def let_the_broker_lie(self) -> None:
        """When it is started, do what `orders` say to the change feed."""
        self.orders.touch()
        command = [sys.executable, "-m", "tests.stack.lying_broker", self.config / "broker.toml", self.orders]
        self.broker = Program("broker", command, self.home / "broker.log")

    def start_broker(self) -> None:
        self.broker.start()
        self.broker.wait_for("listens on")

    def start_agent(self) -> None:
        self.agent.start()
        self.agent.wait_for("registered with the broker")

    def mount(self, client: str = LAPTOP, *, remote: Path | None = None) -> Mounted:
        """A new mount of `remote`, by default the export."""
        mounted = self.begin_mount(client, remote=remote)
        mounted.program.wait_for(lambda: mounted.is_there)
        return mounted

    def begin_mount(self, client: str = LAPTOP, *, remote: Path | None = None, local: Path | None = None) -> Mounted:
        """As `mount`, without waiting for it; at `local`, by default a new directory."""
        number = next(self._numbers)
        if local is None:
            local = self.home / f"mount-{number}"
            local.mkdir()
        command = ("-c", self.config / f"{client}.toml", f"{SERVER}:{remote or self.export}", local)
        mounted = Mounted(local, self._program(f"mount-{number}", "peer.mount", *command))
        self._mounts.append(mounted)
        mounted.program.start()
        return mounted

    def refused(self, client: str = LAPTOP, *, remote: Path | None = None, local: Path | None = None) -> str:
        """Try to mount, and be refused: the one sentence that its user sees."""
        mounted = self.begin_mount(client, remote=remote, local=local)
        assert mounted.program.ended() in (1, 2), mounted.program.said
        assert not mounted.is_there
        sentences = [line for line in mounted.program.said.splitlines() if line.startswith("mount: ")]
        assert len(sentences) == 1, mounted.program.said
        return sentences[0]

    @property
    def programs(self) -> list[Program]:
        return [*(mounted.program for mounted in self._mounts), self.agent, self.broker]

    def close(self) -> None:
        """Stop everything, mounts first. Fails for a program that does not stop, a mount that stays, a logged fault."""
        trouble = []
        for program in self.programs:
            try:
                program.stop()
            except AssertionError as error:
                trouble.append(str(error))
        for mounted in self._mounts:
            if mounted.is_there:
                trouble.append(f"{mounted.path} is still mounted")
                mounted.detach()
        for program in self.programs:
            trouble += [f"{fault} in the log of {program.name}" for fault in FAULTS if fault in program.said]
        assert not trouble, "; ".join(trouble)

    # Inside.

    def _program(self, name: str, module: str, *arguments: object) -> Program:
        return Program(name, [sys.executable, "-m", module, *map(str, arguments)], self.home / f"{name}.log")

    def _certificate(self, name: str) -> Certificate:
        return read_certificate(self.config / f"{name}.cert")

    def _security(self, name: str) -> Table:
        return {
            "key_file": f"{name}.key",
            "cert_file": f"{name}.cert",
            "relay_cert": f"{RELAY}.cert",
            "trusted": f"{name}-trusts",
        }

    def _write(self, name: str, tables: Mapping[str, Table], *, pairs: list[Table] | None = None) -> None:
        text = "".join(f"[{key}]\n{_keys(table)}\n" for key, table in tables.items())
        text += "".join(f"[[pairs]]\n{_keys(pair)}\n" for pair in pairs or ())
        (self.config / f"{name}.toml").write_text(text)


@contextlib.contextmanager
def stack_in(home: Path) -> Iterator[Stack]:
    """A stack that is closed in the end; its logs are printed for pytest to show when a test failed."""
    with reserved_ports() as port:
        stack = Stack(home, port)
        try:
            yield stack
        finally:
            try:
                stack.close()
            finally:
                for program in stack.programs:
                    print(f"--- {program.name}\n{program.said[-4000:]}")


def _keys(table: Table) -> str:
    # Strings, numbers, booleans and lists of them are the same in JSON and TOML.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
