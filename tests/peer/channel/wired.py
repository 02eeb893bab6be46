"""A real broker on loopback, a real agent and real clients, all in one process; only the files are played."""

from __future__ import annotations

import dataclasses
import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from nacl.bindings import crypto_scalarmult_base

from broker.config import BrokerTable, Limits, MetricsTable, Pair, SecurityTable, Settings
from broker.server import Server
from peer.certificates import OwnKeys
from peer.channel.packing import Padding
from peer.channel.requester import Patience, Requester
from peer.channel.requester_core import RequesterCore
from peer.channel.responder import ClientKey, Quotas, Responder
from peer.errors import UnknownClient
from peer.link.lane import Dialing
from peer.link.request_link import RequestLink
from peer.session.initiator import Initiator
from peer.session.prologue import prologue
from peer.session.responder import Responder as Sessions
from schema.attributes import FileMetadata
from schema.envelope import Address
from schema.identity import Certificate, PeerId, PublicKey, encode_certificate, encode_key, fingerprint
from schema.replies import AnyReply, Done, Metadata, OpenedFile
from schema.requests import AnyRequest, Caller, GetMetadata, OpenFile

PATIENCE = 15.0
"""Seconds after which something that should have happened has not."""
ME = Caller(1000, 1000)
STAT = GetMetadata((b"etc", b"hosts"))
METADATA = Metadata(FileMetadata(7, 0o100644, 1, 0, 0, 3, 8, 4096, 66, 0, 1, 2, 3))


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request that reached the handler, to be answered by the test."""

    client: ClientKey
    number: int
    request: AnyRequest
    answer: Callable[[AnyReply], None]


class Played:
    """A handler that answers `GetMetadata` and closing at once, and leaves the rest to the test."""

    def __init__(self) -> None:
        self.asked: queue.Queue[Asked] = queue.Queue()
        self.gone: queue.Queue[ClientKey] = queue.Queue()

    def perform(
        self,
        client: ClientKey,
        request_id: int,
        request: AnyRequest,
        caller: Caller,
        answer: Callable[[AnyReply], None],
    ) -> None:
        if isinstance(request, GetMetadata):
            answer(METADATA)
            return
        self.asked.put(Asked(client, request_id, request, answer))
        if request_id == 0:
            answer(Done())

    def client_gone(self, client: ClientKey) -> None:
        self.gone.put(client)

    def next(self) -> Asked:
        """The next request that is left to the test."""
        return self.asked.get(timeout=PATIENCE)


class Trust:
    """The clients that an agent trusts."""

    def __init__(self, keys: dict[str, OwnKeys]) -> None:
        self.trusted = {name: own.certificate.identity_key for name, own in keys.items()}

    def refresh(self, now: float) -> None: ...

    def identify(self, peer: str, static_key: bytes) -> None:
        if self.trusted.get(peer) != static_key:
            raise UnknownClient(f"{peer} is not trusted")


def new_keys(name: str) -> OwnKeys:
    transport, identity = secrets.token_bytes(32), secrets.token_bytes(32)
    certificate = Certificate(
        PeerId(name), PublicKey(crypto_scalarmult_base(transport)), PublicKey(crypto_scalarmult_base(identity))
    )
    return OwnKeys(certificate, transport, identity)


class Wired:
    """The peers `laptop`, `phone` and `stranger`, and the agent `server`, which the first two are paired with."""

    def __init__(self, home: Path) -> None:
        self.keys = {name: new_keys(name) for name in ("laptop", "phone", "stranger", "server", "relay")}
        self.authorized = home / "authorized"
        self.authorized.mkdir()
        for name in ("laptop", "phone", "stranger", "server"):
            self.authorize(name)
        key_file = home / "relay.key"
        secret = encode_key(self.keys["relay"].transport_secret)
        key_file.write_text(f'version = 1\nid = "relay"\ntransport_secret = "{secret}"\n')
        key_file.chmod(0o600)
        self.settings = Settings(
            BrokerTable("relay", "tcp://127.0.0.1:*"),
            SecurityTable(key_file, self.authorized),
            (Pair("laptop", "server"), Pair("phone", "server")),
            Limits(heartbeat_seconds=1.0),
            MetricsTable(""),
        )
        self.broker: Server | None = None
        self.trust = Trust({name: self.keys[name] for name in ("laptop", "phone")})
        self.handler = Played()
        self.responder: Responder | None = None
        self._agent_link: RequestLink | None = None
        self._links: list[RequestLink] = []

    def authorize(self, name: str) -> None:
        (self.authorized / f"{name}.cert").write_text(encode_certificate(self.keys[name].certificate))

    def revoke(self, name: str) -> None:
        (self.authorized / f"{name}.cert").unlink()

    def start_broker(self, **limits: object) -> None:
        """Start it, on the ports that it had before if it ran before."""
        changed = msgspec.structs.replace(self.settings.limits, **limits)
        self.settings = msgspec.structs.replace(self.settings, limits=changed)
        self.broker = Server(self.settings)
        self.settings = msgspec.structs.replace(self.settings, broker=BrokerTable("relay", *self.broker.endpoints))
        self.broker.start()

    def stop_broker(self) -> None:
        if self.broker is not None:
            self.broker.stop()
            self.broker = None

    def dialing(self, name: str) -> Dialing:
        own = self.keys[name]
        return Dialing(
            endpoint=self.settings.broker.bind,
            relay_key=self.keys["relay"].certificate.transport_key,
            public_key=own.certificate.transport_key,
            secret_key=own.transport_secret,
        )

    def link(self, name: str, instance: int, lanes: int = 3) -> RequestLink:
        link = RequestLink(self.dialing(name), instance=instance, lanes=lanes)
        self._links.append(link)
        return link

    def start_agent(self, quotas: Quotas | None = None, padding: Padding = Padding.NONE) -> Responder:
        link = self.link("server", secrets.randbits(62) + 1)
        own = self.keys["server"]
        sessions = Sessions(
            own.identity_secret,
            lambda client: prologue(1, client, "server"),
            self.trust.identify,
            secrets.token_bytes,
            lock=threading.Lock,
        )
        self.responder = Responder(
            link,
            sessions,
            self.handler,
            fingerprint=fingerprint(own.certificate.identity_key or b""),
            rights=self.trust,
            quotas=quotas or Quotas(threads=4),
            padding=padding,
        )
        self._agent_link = link
        link.start(self.responder)
        assert link.wait_registered(PATIENCE if self.broker is not None else 0.0) or self.broker is None
        return self.responder

    def stop_agent(self) -> None:
        """End the agent's program, as a crash would."""
        if self._agent_link is not None and self.responder is not None:
            self._links.remove(self._agent_link)
            self._agent_link.stop()
            self.responder.drain(0)
            self._agent_link = self.responder = None

    def client(
        self,
        name: str = "laptop",
        *,
        patience: Patience | None = None,
        abandoned: Callable[[AnyRequest], bool] = lambda _: False,
        agent_key: bytes | None = None,
        resend_after: float = 1.0,
    ) -> Requester:
        instance = secrets.randbits(62) + 1
        link = self.link(name, instance)
        own = self.keys[name]
        initiator = Initiator(
            own.identity_secret,
            agent_key or self.keys["server"].certificate.identity_key or b"",
            prologue(1, name, "server"),
            secrets.token_bytes,
            lock=threading.Lock,
        )
        core = RequesterCore(initiator, instance=instance, resend_after=resend_after)
        requester = Requester(
            link,
            core,
            Address(PeerId("server")),
            patience=patience or Patience(PATIENCE, PATIENCE),
            abandoned=abandoned,
        )
        link.start(requester)
        return requester

    def close(self) -> None:
        self.stop_agent()
        for link in self._links:
            link.stop()
        self.stop_broker()


def asking(call: Callable[[], object]) -> queue.Queue[object]:
    """Make `call` on a thread of its own: where its result, or what it raised, will be."""
    result: queue.Queue[object] = queue.Queue()

    def work() -> None:
        try:
            result.put(call())
        except Exception as error:
            result.put(error)

    threading.Thread(target=work, daemon=True).start()
    return result


def opened(handle: int) -> OpenedFile:
    return OpenedFile(handle, METADATA.metadata)


OPEN = OpenFile((b"a",), 0)
