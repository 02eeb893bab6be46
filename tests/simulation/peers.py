"""The two ends in the simulated world: the cores of the house with as little around them as their adapters have."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.channel.pending_requests import PendingRequest
from peer.channel.requester_core import Outgoing, RequesterCore
from peer.channel.responder_core import LEASE, Answer, ResponderCore, Steps, Work
from peer.channel.sent_answers import SentAnswers
from peer.errors import SessionError
from peer.link.registration import Registration, Standing
from peer.session.initiator import Initiator
from peer.session.prologue import prologue
from peer.session.responder import Responder as Sessions
from peer.session.session import Session
from schema.attributes import FileMetadata
from schema.codec import CodecError
from schema.envelope import Address, Header, Kind, decode_address, decode_header
from schema.identity import PeerId
from schema.relay_messages import Error, PeerGone, RelayMessage, decode_relay_message, encode_relay_message
from schema.replies import AnyReply, Failure, FileData, Metadata, OpenedFile, Written
from schema.requests import AnyRequest, Caller, CloseFile, CreateFile, GetMetadata, KeepAlive, ReadFile, WriteFile
from tests.simulation.network import Frames, Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

LANES = 2
TICK = 0.4
PATIENCE = 20.0
NOBODY = Caller(0, 0)


class Program:
    """A peer's lanes; what arrives is handed to `envelope`, `registered`, `refused`, `gone`."""

    def __init__(self, world: World, name: str, instance: int) -> None:
        self.world = world
        self.name = PeerId(name)
        self.instance = instance
        self.alive = True
        self.registrations = [Registration(instance, lane, "simulated") for lane in range(LANES)]
        self.wires: list[Wire | None] = [None] * LANES
        for lane in range(LANES):
            world.clock.after(world.chance.uniform(0, 0.5), lambda lane=lane: self.connect(lane))
        world.clock.every(TICK, self._tick)

    def connect(self, lane: int) -> None:
        if self.alive and self.wires[lane] is None:
            self.wires[lane] = self.world.wire(self.name, lambda frames: self._arrived(lane, frames))
            self.registrations[lane].connected(self.world.now)
            self._keep(lane)

    def wake(self) -> None:
        """The machine slept until now."""
        self.alive = True
        for lane in range(LANES):
            self.connect(lane)

    def cut(self, lane: int, pause: float) -> None:
        """The connection ends, and comes back in `pause` seconds."""
        wire = self.wires[lane]
        if wire is not None:
            self.wires[lane] = None
            self.world.cut(wire)
            self.registrations[lane].disconnected()
            self.world.clock.after(pause, lambda: self.connect(lane))

    def send(self, lane: int, to: Address, header: Header, body: bytes) -> bool:
        wire, registration = self.wires[lane], self.registrations[lane]
        if wire is None or registration.standing is not Standing.REGISTERED:
            return False
        frame = Header(header.kind, header.session, header.counter, registration.token).encode()
        self.world.say(wire, (to.encode(), frame, body))
        return True

    def _tick(self) -> None:
        if self.alive:
            for lane in range(LANES):
                self._keep(lane)
            self.tick()

    def _keep(self, lane: int) -> None:
        wire, registration = self.wires[lane], self.registrations[lane]
        for message in registration.tick(self.world.now):
            if wire is not None:
                header = Header(Kind.RELAY, token=registration.token).encode()
                self.world.say(wire, (b"", header, encode_relay_message(message)))

    def _arrived(self, lane: int, frames: Frames) -> None:
        if not self.alive:
            return
        sender, header = decode_address(frames[0]), decode_header(frames[1])
        self.registrations[lane].heard(self.world.now)
        if sender is not None:
            self.envelope(lane, sender, header, memoryview(frames[2]))
            return
        message: RelayMessage = decode_relay_message(frames[2])
        if self.registrations[lane].receive(message, self.world.now):
            self.registered(lane)
        if isinstance(message, Error):
            self.refused(message)
        elif isinstance(message, PeerGone):
            self.gone()

    def tick(self) -> None: ...
    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview) -> None: ...
    def registered(self, lane: int) -> None: ...
    def refused(self, error: Error) -> None: ...
    def gone(self) -> None: ...


@dataclass
class Call:
    """One question of a simulated caller, and what became of it."""

    operation: int
    body: AnyRequest
    submitted: int
    deadline: float
    then: Callable[[Call], None]
    pending: PendingRequest | None = None
    ended: int | None = None
    failed: bool = False


class Client(Program):
    """A requester's core, and callers that ask through it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, world.chance.randrange(1, 2**62))
        initiator = Initiator(
            world.secret(name),
            world.public("server"),
            prologue(1, name, "server"),
            world.chance.randbytes,
            lock=contextlib.nullcontext,
        )
        self.core = RequesterCore(initiator, instance=self.instance, resend_after=2.0)
        self.calls: dict[int, Call] = {}
        self.opened: set[tuple[int, int]] = set()
        self.moments = itertools.count(1)
        self.horizon = 0
        """The newest moment at which something was asked that the agent has begun since."""
        self.holds: set[int] = set()
        """Operations whose open file a caller has."""
        self._last_request = 0.0

    # --- callers

    def ask(self, body: AnyRequest, operation: int, then: Callable[[Call], None]) -> Call:
        patience = 2 * LEASE if isinstance(body, CloseFile) else PATIENCE
        call = Call(operation, body, next(self.moments), self.world.now + patience, then)
        self.world.calls.append(call)
        self.world.by_operation[operation] = (self, call)
        lane = 1 if isinstance(body, WriteFile | ReadFile) else 0
        self._last_request = self.world.now
        call.pending = self.core.submit(
            body, NOBODY, lane=lane, deadline=call.deadline, on_answer=lambda pending: self._ended(call, pending)
        )
        self.calls[call.pending.id] = call
        self._transmit(call.pending)
        return call

    def give_up(self, call: Call) -> None:
        """The caller was killed."""
        if call.pending is not None and self.alive:
            self.core.pending.give_up(call.pending, Failure("EINTR"))

    def _ended(self, call: Call, pending: PendingRequest) -> None:
        assert call.ended is None, "a call ended twice"
        answer = pending.answer
        call.ended = next(self.moments)
        call.failed = isinstance(answer, Failure)
        self.world.clock.note(self.name, "ended", call.operation, type(answer).__name__)
        said = answered_operation(answer)
        assert said in (None, call.operation), f"operation {call.operation} got the answer of {said}"
        call.then(call)

    # --- as `Requester` does it

    def tick(self) -> None:
        self.core.expire(self.world.now)
        if self._last_request and self.world.now - self._last_request >= 20:
            self._last_request = self.world.now
            self.core.submit(KeepAlive(), NOBODY, lane=0, deadline=self.world.now + PATIENCE, on_answer=lambda _: None)
        self._send_due()

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview) -> None:
        now = self.world.now
        try:
            if header.kind is Kind.SEALED:
                reply = self.core.open(header, body, now)
                assert (header.session, header.counter) not in self.opened, "a reply was opened twice"
                self.opened.add((header.session, header.counter))
                self.core.answered(reply)
            else:
                self.core.control(header, body, now)
                self._send_due()
        except (SessionError, CodecError) as error:
            self.world.clock.note(self.name, "dropped", type(error).__name__)

    def registered(self, lane: int) -> None:
        self.core.registered(lane, self.world.now)
        self._send_due()

    def refused(self, error: Error) -> None:
        if error.address:
            self.core.refused(error, self.world.now)

    def gone(self) -> None:
        self.core.agent_gone(self.world.now)

    def _transmit(self, pending: PendingRequest) -> None:
        now = self.world.now
        ready = self.registrations[pending.lane].standing is Standing.REGISTERED
        prepared = self.core.prepare(pending, now) if ready else None
        if prepared is None:
            self._shake_hands()
            return
        self.world.check_view(self, prepared.request)
        outgoing = self.core.seal(prepared)
        if self._send(outgoing):
            self.core.sent(pending, outgoing, now)
        else:
            self.core.unsent(pending, now)

    def _shake_hands(self) -> None:
        if self.registrations[0].standing is Standing.REGISTERED:
            outgoing = self.core.handshake(self.world.now)
            if outgoing is not None and not self._send(outgoing):
                self.core.handshake_unsent(self.world.now)

    def _send_due(self) -> None:
        if len(self.core.pending):
            self._shake_hands()
        for pending in self.core.due(self.world.now):
            self._transmit(pending)

    def _send(self, outgoing: Outgoing) -> bool:
        return self.send(outgoing.lane, Address(PeerId("server")), outgoing.header, bytes(outgoing.body))


class OnceOpened(Sessions):
    """The agent's sessions, which see to it that nothing sealed is opened twice."""

    def __init__(self, world: World) -> None:
        super().__init__(
            world.secret("server"),
            lambda client: prologue(1, client, "server"),
            world.identify,
            world.chance.randbytes,
            lock=contextlib.nullcontext,
        )
        self._opened: set[tuple[Session, int]] = set()

    def open(self, local_index: int, counter: int, body: bytes | memoryview, now: float) -> tuple[Session, bytearray]:
        session, plaintext = super().open(local_index, counter, body, now)
        assert (session, counter) not in self._opened, "a request was opened twice"
        self._opened.add((session, counter))
        return session, plaintext


class Agent(Program):
    """A responder's core, and threads that take their time."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "server", world.chance.randrange(1, 2**62))
        self.core = ResponderCore(
            OnceOpened(world), fingerprint="", rights=world, instances_per_client=8, lock=contextlib.nullcontext
        )
        self._sent = SentAnswers()

    def tick(self) -> None:
        for answer in self._sent.due(self.world.now):
            self.send(answer.lane, answer.client, answer.header, bytes(answer.body))
        for key in self.core.upkeep(self.world.now):
            self.world.files.client_gone(key)

    def envelope(self, lane: int, sender: Address, header: Header, body: memoryview) -> None:
        self._carry_out(self.core.receive(lane, sender, header, body, self.world.now))

    def refused(self, error: Error) -> None:
        self._sent.refused(error, self.world.now)

    def _carry_out(self, steps: Steps) -> None:
        for answer in steps.send:
            self._answer(answer)
        for work in steps.do:
            self._begin(work)

    def _begin(self, work: Work) -> None:
        reply = self.world.perform(work)
        pause = self.world.chance.choice((0.0, 0.0, 0.01, 0.01, 0.1, 0.1, 4.0, 15.0))
        self.world.clock.after(pause, lambda: self._carry_out(self.core.finish(work, reply)) if self.alive else None)

    def _answer(self, answer: Answer) -> None:
        if self.send(answer.lane, answer.client, answer.header, bytes(answer.body)):
            self._sent.keep(answer, self.world.now)


def answered_operation(answer: AnyReply | None) -> int | None:
    """The number of the operation whose answer this is, where it says."""
    match answer:
        case Written(size=token) | OpenedFile(generation=token) | Metadata(metadata=FileMetadata(inode=token)):
            return token
        case FileData(data=token):
            return int(bytes(token))
    return None


def request_for(kind: str, operation: int) -> AnyRequest:
    """A request that carries its operation's number."""
    if kind == "write":
        return WriteFile(1, operation, memoryview(b"x"))
    if kind == "read":
        return ReadFile(1, operation, 64)
    path = (b"%d" % operation,)
    return CreateFile(path, 0, 0o644) if kind == "create" else GetMetadata(path)
