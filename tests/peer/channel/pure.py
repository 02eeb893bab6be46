"""Both cores of a channel without a wire: what one end sends is handed to the other by the test."""

from __future__ import annotations

import contextlib
import random

from peer.channel.pending_requests import PendingRequest
from peer.channel.requester_core import Outgoing, RequesterCore
from peer.channel.responder_core import Answer, ResponderCore, Steps
from peer.errors import TryAgainLater, UnknownClient
from peer.session.initiator import Initiator
from peer.session.primitives import KeyPair
from peer.session.prologue import prologue
from peer.session.responder import Responder as Sessions
from schema.envelope import Address
from schema.identity import PeerId
from schema.requests import AnyRequest, Caller, DeleteFile

ME = Caller(1, 1)
DELETE = DeleteFile((b"a",))
RESEND_AFTER = 2.0
DEADLINE = 20.0


class Pair:
    """A client and an agent, whose clock is `now`."""

    def __init__(self) -> None:
        self._generate = random.Random(3).randbytes
        self._agent = KeyPair.generate(self._generate)
        self._client = KeyPair.generate(self._generate)
        self.now = 1000.0
        self.trusted = {"laptop": self._client.public}
        self.busy = False
        self.agent = self.new_agent()
        self.client = self.new_client(5)
        self.ended: list[PendingRequest] = []

    # --- the agent's rights

    def refresh(self, now: float) -> None: ...

    def identify(self, peer: str, static_key: bytes) -> None:
        if self.busy:
            raise TryAgainLater("busy")
        if self.trusted.get(peer) != static_key:
            raise UnknownClient(peer)

    # ---

    def new_agent(self, instances: int = 4) -> ResponderCore:
        sessions = Sessions(
            self._agent.private,
            lambda client: prologue(1, client, "server"),
            self.identify,
            self._generate,
            lock=contextlib.nullcontext,
        )
        return ResponderCore(
            sessions, fingerprint="F", rights=self, instances_per_client=instances, lock=contextlib.nullcontext
        )

    def new_client(self, instance: int) -> RequesterCore:
        initiator = Initiator(
            self._client.private,
            self._agent.public,
            prologue(1, "laptop", "server"),
            self._generate,
            lock=contextlib.nullcontext,
        )
        return RequesterCore(initiator, instance=instance, resend_after=RESEND_AFTER)

    def submit(self, body: AnyRequest = DELETE, lane: int = 0) -> PendingRequest:
        return self.client.submit(body, ME, lane=lane, deadline=self.now + DEADLINE, on_answer=self.ended.append)

    def sealed(self, pending: PendingRequest) -> Outgoing:
        """`pending` as it goes out now."""
        prepared = self.client.prepare(pending, self.now)
        assert prepared is not None
        outgoing = self.client.seal(prepared)
        self.client.sent(pending, outgoing, self.now)
        return outgoing

    def to_agent(self, outgoing: Outgoing, lane: int | None = None) -> Steps:
        return self.agent.receive(
            outgoing.lane if lane is None else lane,
            Address(PeerId("laptop"), 5),
            outgoing.header,
            memoryview(bytes(outgoing.body)),
            self.now,
        )

    def to_client(self, answer: Answer) -> None:
        self.client.control(answer.header, memoryview(bytes(answer.body)), self.now)

    def read(self, answer: Answer) -> None:
        """A sealed answer arrives at the client."""
        self.client.answered(self.client.open(answer.header, memoryview(bytes(answer.body)), self.now))

    def shake_hands(self) -> None:
        outgoing = self.client.handshake(self.now)
        assert outgoing is not None
        self.to_client(self.to_agent(outgoing).send[0])
