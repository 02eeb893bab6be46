"""A pair of ends that shake hands without a wire, with a seeded source of randomness."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from peer.errors import HandshakeRefused
from peer.session.initiator import Initiator
from peer.session.primitives import KeyPair
from peer.session.prologue import prologue
from peer.session.responder import Responder
from peer.session.session import Session


@dataclass
class World:
    """An agent that knows `clients` by their keys, and the initiators that talk to it."""

    generate: Callable[[int], bytes]
    agent_keys: KeyPair = field(init=False)
    clients: dict[str, KeyPair] = field(default_factory=dict)
    responder: Responder = field(init=False)
    after_identify: Callable[[], None] = lambda: None
    """What happens at the agent just after it recognised a client."""

    def __post_init__(self) -> None:
        self.agent_keys = KeyPair.generate(self.generate)
        self.clients["laptop"] = KeyPair.generate(self.generate)
        self.responder = Responder(
            self.agent_keys.private,
            lambda claimed_id: prologue(1, claimed_id, "server"),
            self.identify,
            self.generate,
            lock=threading.Lock,
        )

    def identify(self, claimed_id: str, static_key: bytes) -> None:
        if claimed_id not in self.clients or self.clients[claimed_id].public != static_key:
            raise HandshakeRefused(f"{claimed_id} is not trusted with that key")
        self.after_identify()

    def initiator(self, peer_id: str = "laptop", *, version: int = 1) -> Initiator:
        keys = self.clients.setdefault(peer_id, KeyPair.generate(self.generate))
        return Initiator(
            keys.private,
            self.agent_keys.public,
            prologue(version, peer_id, "server"),
            self.generate,
            lock=threading.Lock,
        )

    def shake(self, initiator: Initiator, now: float = 0.0, peer_id: str = "laptop") -> tuple[Session, Session]:
        """A whole handshake at one moment: the session at the initiator and at the responder."""
        local_index, message = initiator.start(now)
        theirs, response = self.responder.accept(peer_id, local_index, message, now)
        return initiator.finish(local_index, theirs.local_index, response, now), theirs


@pytest.fixture
def world() -> World:
    return World(random.Random(b"session").randbytes)


@pytest.fixture
def pair(world: World) -> tuple[Session, Session]:
    """Both ends of one session born at 0."""
    return world.shake(world.initiator())
