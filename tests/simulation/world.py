"""One simulated world: clients, a relay that nobody trusts, an agent, and troubles; one seed decides all of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from broker.admission import Admission, user_id_of
from broker.config import Limits
from broker.counters import Counters
from broker.feed_admission import FeedAdmission
from broker.outgoing import Send
from broker.relay import Relay
from broker.tokens import MemoryTokenStore
from peer.channel.responder_core import Work
from peer.errors import UnknownClient
from peer.session.primitives import KeyPair
from schema.envelope import Header, Kind, decode_header
from schema.identity import Certificate, PeerId, PublicKey
from schema.relay_messages import RelayInfo
from schema.replies import AnyReply, OpenedFile
from schema.requests import CloseFile, Request
from tests.simulation.file_model import FileModel
from tests.simulation.network import CALM, Clock, Frames, Weather, Wire, flipped
from tests.simulation.peers import LANES, Agent, Call, Client, Program, request_for

CLIENTS = ("laptop", "phone")
CALLERS = 3
TROUBLED = 90.0
"""Seconds of bad weather."""
SETTLE = 210.0
"""Seconds in which all that was under way must end: the longest wait, two leases, and some."""


class World:
    """`run` lets it happen; then everything that was promised has been checked."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.seed = seed
        self.clock = Clock(seed)
        self.chance = self.clock.random
        self.weather = weather or Weather()
        self._keys = {name: KeyPair.generate(self.chance.randbytes) for name in (*CLIENTS, "server")}
        self._certificates = [Certificate(PeerId(name), PublicKey(self.chance.randbytes(32))) for name in self._keys]
        self._users = {certificate.id: user_id_of(certificate) for certificate in self._certificates}
        self._routes = itertools.count(1)
        self._wires: dict[bytes, Wire] = {}
        self._operations = itertools.count(1)
        self.calls: list[Call] = []
        self.by_operation: dict[int, tuple[Client, Call]] = {}
        self.files = FileModel(self._forbidden)
        self._relay = self._new_relay()
        self.agent = Agent(self)
        self.clients = [Client(self, name) for name in CLIENTS]
        self._busy = True

    @property
    def now(self) -> float:
        return self.clock.now

    def run(self) -> str:
        """Bad weather, then calm; gives the digest of all that happened."""
        for client in self.clients:
            for _ in range(CALLERS):
                self.clock.after(self.chance.uniform(0, 3), lambda client=client: self._next_call(client))
        self.clock.every(1.0, self._trouble)
        self.clock.every(1.0, lambda: self._deliver(self._relay.tick(self.now)))
        self.clock.run_until(TROUBLED)
        self._busy = False
        self.weather = CALM
        self.clock.run_until(TROUBLED + SETTLE)
        self._check_end()
        return self.clock.digest

    # --- what the programs ask of their world

    def secret(self, name: str) -> bytes:
        return self._keys[name].private

    def public(self, name: str) -> bytes:
        return self._keys[name].public

    def refresh(self, now: float) -> None:
        """Rights do not change here."""

    def identify(self, peer: str, static_key: bytes) -> None:
        if peer not in self._keys or self._keys[peer].public != static_key:
            raise UnknownClient(peer)

    def wire(self, name: PeerId, deliver: Callable[[Frames], None]) -> Wire:
        """A new connection to the relay."""
        route = b"\0" + next(self._routes).to_bytes(4, "big")
        wire = self._wires[route] = Wire(self.clock, route, self._users[name], deliver)
        return wire

    def cut(self, wire: Wire) -> None:
        wire.up = False
        if self._wires.pop(wire.route, None) is not None:
            self._deliver(self._relay.lost(wire.route))

    def say(self, wire: Wire, frames: Frames) -> None:
        """A peer sends to the relay."""
        relay = self._relay
        wire.to_relay(lambda: self._deliver(relay.receive(wire.user, wire.route, frames, self.now)))

    def perform(self, work: Work) -> AnyReply:
        """The agent does what it was asked."""
        self.clock.note("done", work.client.peer, work.number, type(work.request).__name__)
        reply = self.files.perform(work)
        asked = self._asked(work)
        if asked is not None:
            client, call = asked
            client.horizon = max(client.horizon, call.submitted)
        return reply

    def check_view(self, client: Client, request: Request) -> None:
        """What a request says is not waited for has ended indeed."""
        dead = set(range(1, request.acknowledged + 1)) - {request.id, *request.waiting}
        alive = dead & {pending.id for pending in client.core.pending}
        assert not alive, f"{alive} of {client.name} still wait, but the agent was told otherwise"

    # --- inside

    def _asked(self, work: Work) -> tuple[Client, Call] | None:
        client = next(client for client in self.clients if client.instance == work.client.instance)
        call = client.calls.get(work.number)
        return None if call is None else (client, call)

    def _forbidden(self, operation: int) -> str | None:
        client, call = self.by_operation[operation]
        if call.failed and call.ended is not None and call.ended < client.horizon:
            return f"operation {operation} was given up, and is done after a later one"
        return None

    def _new_relay(self) -> Relay:
        limits = Limits()
        admission = Admission([(PeerId(name), PeerId("server")) for name in CLIENTS])
        admission.admit_only(self._certificates)
        feed = FeedAdmission(admission.paired, limits.max_topics, limits.max_message_bytes)
        tokens = MemoryTokenStore(limits.token_seconds, self.chance.randbytes)
        return Relay(admission, limits, tokens, feed, counters=Counters(), info=RelayInfo("relay", "1", 1))

    def _deliver(self, sends: list[Send]) -> None:
        for send in sends:
            wire = self._wires.get(send.route)
            frames: Frames = (send.frames[0], send.frames[1], bytes(send.frames[2]))  # type: ignore[arg-type]
            if wire is None:
                self._deliver(self._relay.undeliverable(send))
            elif not frames[0]:
                wire.to_peer(frames)
            elif self._happens(self.weather.congest):
                self._deliver(self._relay.congested(send))
            else:
                self._forward(wire, frames)

    def _forward(self, wire: Wire, frames: Frames) -> None:
        """An envelope on its way through hostile hands."""
        weather = self.weather
        if self._happens(weather.forge):
            header = decode_header(frames[1])
            wire.to_peer((frames[0], Header(Kind.UNKNOWN_SESSION, header.session, header.counter).encode(), b""))
        if self._happens(weather.repeat):
            self.clock.after(self.chance.choice((0.05, 1.0, 30.0, 120.0)), lambda: self._late(wire.user, wire, frames))
        if self._happens(weather.drop):
            return
        if self._happens(weather.hold):
            self.clock.after(self.chance.uniform(0.1, 60.0), lambda: self._late(wire.user, wire, frames))
            return
        wire.to_peer(flipped(frames, self.chance) if self._happens(weather.flip) else frames)

    def _late(self, user: str, wire: Wire, frames: Frames) -> None:
        """Held back by the relay: it comes on whatever connection the peer has by now."""
        wires = [wire] if wire.up else [other for other in self._wires.values() if other.user == user]
        if wires:
            wires[0].to_peer(frames)

    def _happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _trouble(self) -> None:
        weather = self.weather
        for program in [self.agent, *self.clients]:
            if self._happens(weather.cut):
                program.cut(self.chance.randrange(LANES), self.chance.choice((0.1, 2.0, 25.0)))
        if self._happens(weather.broker_restart):
            self._cut_all([self.agent, *self.clients], self.chance.choice((0.2, 3.0)))
            self._relay = self._new_relay()
        if self._happens(weather.agent_restart):
            self.agent.alive = False
            self._cut_all([self.agent], 0.1)
            self.files.restart()
            self.agent = Agent(self)
        if self._happens(weather.sleep):
            self._sleep(self.chance.choice(self.clients), self.chance.choice((5.0, 50.0, 100.0, 100.0)))

    def _sleep(self, client: Client, seconds: float) -> None:
        client.alive = False
        self._cut_all([client], seconds)
        self.clock.after(seconds, client.wake)

    def _cut_all(self, programs: list[Program], pause: float) -> None:
        for program in programs:
            for lane in range(LANES):
                program.cut(lane, pause)

    def _next_call(self, client: Client) -> None:
        if not self._busy:
            return
        operation = next(self._operations)
        kind = self.chance.choice(("write", "write", "create", "read", "stat"))
        call = client.ask(request_for(kind, operation), operation, lambda call: self._after_call(client, call))
        if self._happens(0.08):
            self.clock.after(self.chance.uniform(0, 3), lambda: client.give_up(call))

    def _after_call(self, client: Client, call: Call) -> None:
        answer = call.pending.answer if call.pending is not None else None
        if isinstance(answer, OpenedFile):
            client.holds.add(call.operation)
            if self._happens(0.8):
                self.clock.after(self.chance.uniform(0, 10), lambda: self._close(client, call.operation, answer.handle))
        self.clock.after(self.chance.choice((0.0, 0.0, 0.5, 3.0)), lambda: self._next_call(client))

    def _close(self, client: Client, operation: int, handle: int) -> None:
        client.holds.discard(operation)
        client.ask(CloseFile(handle), next(self._operations), lambda _: None)

    def _check_end(self) -> None:
        waiting = [call for call in self.calls if call.ended is None]
        assert not waiting, f"{len(waiting)} calls never ended, such as {waiting[0]}"
        done = {operation for _, operation in self.files.done}
        for call in self.calls:
            if not call.failed and not isinstance(call.body, CloseFile) and call.operation in self._changing():
                assert call.operation in done, f"operation {call.operation} was answered, but never done"
        for client in self.clients:
            pending = client.core.pending
            assert len(pending) <= 1, "something still waits"
            assert len(pending._by_envelope) <= 1, "envelopes are remembered for nobody"
            assert not pending._abandoned, "the agent was never told what to undo"
        held = set().union(*(client.holds for client in self.clients))
        leaked = {operation for _, operation in self.files.handles.values()} - held
        assert not leaked, f"files opened by {sorted(leaked)} stay open for nobody"
        for client in self.agent.core._clients.values():
            assert len(client.replies) <= 2 * CALLERS + 2, "replies are kept that nobody needs"
            assert not client.replies._abandoned

    def _changing(self) -> set[int]:
        return {call.operation for call in self.calls if type(call.body).__name__ in ("WriteFile", "CreateFile")}
