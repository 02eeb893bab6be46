"""An authorised peer that keeps to nothing: a bare socket that says what the test wants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import zmq

from schema.envelope import NO_TOKEN, Header, Kind, decode_header
from schema.relay_messages import (
    AuthRequest,
    AuthResponse,
    Error,
    RelayMessage,
    decode_relay_message,
    encode_relay_message,
)
from tests.peer.channel.wired import PATIENCE, Wired


class Bare:
    """A DEALER with a peer's keys."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.token = NO_TOKEN

    def raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def tell(self, message: RelayMessage) -> None:
        self.raw(b"", Header(Kind.RELAY, token=self.token).encode(), encode_relay_message(message))

    def hear(self) -> list[bytes]:
        assert self.socket.poll(PATIENCE * 1000), "nothing came"
        return self.socket.recv_multipart()

    def relay_says(self) -> RelayMessage:
        """The next word of the broker; envelopes are passed over."""
        while (frames := self.hear())[0]:
            pass
        return decode_relay_message(frames[2])

    def error(self) -> Error:
        """The next error of the broker."""
        while not isinstance(message := self.relay_says(), Error):
            pass
        return message

    def envelope(self) -> tuple[Header, bytes]:
        """The next envelope; words of the broker are passed over."""
        while not (frames := self.hear())[0]:
            pass
        return decode_header(frames[1]), frames[2]

    def register(self, instance: int = 1) -> None:
        self.tell(AuthRequest(instance))
        while not isinstance(answer := self.relay_says(), AuthResponse):
            pass
        self.token = answer.token

    def send(self, kind: Kind, session: int, counter: int, body: bytes, to: bytes = b"server") -> None:
        self.raw(to, Header(kind, session, counter, self.token).encode(), body)


@contextlib.contextmanager
def bare(wired: Wired, name: str, *, registered: bool = True) -> Iterator[Bare]:
    """A hostile `name`."""
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    wired.dialing(name).apply(socket)
    socket.setsockopt(zmq.IMMEDIATE, 0)
    socket.connect(wired.settings.broker.bind)
    peer = Bare(socket)
    try:
        if registered:
            peer.register()
        yield peer
    finally:
        context.destroy(linger=0)
