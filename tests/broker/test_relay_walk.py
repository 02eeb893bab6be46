"""The relay under seeded random walks of honest, careless and hostile peers, judged by a model of the rules alone.

After every step: nothing reached a peer not paired with its true sender, each sender's name is true, tokens never
travel, and no memory is held beyond its bound.
"""

from __future__ import annotations

import random

import pytest

from broker.config import Limits
from broker.outgoing import Send
from schema.envelope import HEADER_SIZE, NO_TOKEN, Header, Kind, decode_address
from schema.relay_messages import Announce, AuthRequest, AuthResponse, Ping, Pong
from tests.broker.worlds import AGENTS, CLIENTS, PAIRS, World, message_of, route, user

PEERS = (*CLIENTS, *AGENTS)
ROUTES = 24
STEPS = 1500
FRIENDS = {(a, b) for client, agent in PAIRS for a, b in ((client, agent), (agent, client))}


class Walk:
    """One world, one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(Limits(max_instances=3, max_message_bytes=4096, max_topics=4, token_seconds=20.0))
        self.owner = {number: self.random.choice(PEERS) for number in range(ROUTES)}
        """Which peer each connection was authenticated as."""
        self.delivered = 0
        self.revoked: set[str] = set()

    def step(self) -> None:
        """One thing happens."""
        number = self.random.randrange(ROUTES)
        peer, at = self.owner[number], route(number)
        action = self.random.choice(
            [self._send] * 20 + [self._register] * 8 + [self._ping, self._announce, self._noise, self._end, self._time]
        )
        sends = action(number, peer, at)
        self._judge(peer, at, sends)
        for send in sends:
            self._learn(send)
        self._bounds()

    def _send(self, _number: int, peer: str, at: bytes) -> list[Send]:
        to = self.random.choice([*PEERS, "nobody"]).encode()
        if self.random.random() < 0.5:
            to += b"/%016x" % self.random.randrange(1, 5)
        token = None if self.random.random() < 0.8 else self.random.choice([NO_TOKEN, *self.world.tokens_of.values()])
        return self.world.send(
            peer, at, to, self.random.randbytes(self.random.choice([0, 10, 4096, 4097])), token=token
        )

    def _register(self, _number: int, peer: str, at: bytes) -> list[Send]:
        return self.world.say(peer, at, AuthRequest(self.random.randrange(1, 5), self.random.randrange(3)))

    def _ping(self, _number: int, peer: str, at: bytes) -> list[Send]:
        return self.world.say(peer, at, Ping(1))

    def _announce(self, _number: int, peer: str, at: bytes) -> list[Send]:
        return self.world.say(peer, at, Announce(self.random.choice(b"abcdefgh").to_bytes() * 16))

    def _noise(self, _number: int, peer: str, at: bytes) -> list[Send]:
        frames = [
            self.random.randbytes(self.random.choice([0, 3, HEADER_SIZE])) for _ in range(self.random.randrange(5))
        ]
        if len(frames) == 3 and self.random.random() < 0.7:
            frames[1] = Header(self.random.choice(list(Kind)), token=self.world.tokens_of.get(at, NO_TOKEN)).encode()
        return self.world.relay.receive(user(peer), at, frames, self.world.now)

    def _end(self, number: int, _peer: str, at: bytes) -> list[Send]:
        """A connection ends; its number stands for a new one from now on."""
        sends = self.world.relay.lost(at)
        self.world.tokens_of.pop(at, None)
        self.owner[number] = self.random.choice(PEERS)
        return sends

    def _time(self, _number: int, _peer: str, _at: bytes) -> list[Send]:
        self.world.now += self.random.choice([0.1, 1.0, 6.0])
        if self.random.random() < 0.3:
            self.revoked = {self.random.choice(PEERS)} if self.random.random() < 0.5 else set()
            return self.world.revoke(self.revoked)
        return self.world.relay.tick(self.world.now)

    def _judge(self, peer: str, at: bytes, sends: list[Send]) -> None:
        for send in sends:
            address, header, body = send.frames
            if address == b"":
                continue
            sender = decode_address(address)
            assert sender is not None
            receiver = self.owner[int.from_bytes(send.route[1:], "big")]
            assert sender.peer == peer, "a sender's name is the authenticated one"
            assert send.sender == at
            assert peer not in self.revoked
            assert (peer, receiver) in FRIENDS, "only paired peers reach each other"
            assert receiver not in self.revoked
            assert header[16:] == NO_TOKEN, "tokens stay between peer and broker"
            assert len(body) <= 4096
            self.delivered += 1

    def _learn(self, send: Send) -> None:
        if send.frames[0] == b"":
            message = message_of(send)
            if isinstance(message, AuthResponse | Pong):
                self.world.tokens_of[send.route] = message.token

    def _bounds(self) -> None:
        table = self.world.relay.table
        assert len(table.lanes) <= ROUTES
        assert table.live_instances <= len(PEERS) * 3
        assert sum(len(i.lanes) for peer in PEERS for i in table.instances_of(peer)) == len(table.lanes)
        assert len(self.world.tokens) <= 3 * len(PEERS) * 3
        assert self.world.feed.live_topics <= 4 * len(AGENTS)
        for peer in PEERS:
            for instance in table.instances_of(peer):
                assert instance.lanes, "an instance without a connection is gone"
                assert all(instance in other.correspondents for other in instance.correspondents)
                assert all(other.lanes for other in instance.correspondents)


@pytest.mark.parametrize("seed", range(12))
def test_no_walk_breaks_a_promise(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    assert walk.delivered > 20, "a walk in which nothing is delivered proves nothing"
