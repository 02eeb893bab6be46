"""Everything that the relay may read of a message: where it goes, and a header of fixed size.

A message is three ZeroMQ frames ``[address, header, body]``. From a peer to the broker the address names the
destination; from the broker to a peer it names the sender, written by the broker from the authenticated connection.
An empty address is the broker itself, and then the body is one of `relay_messages`.

The one rule: nothing in a header depends on the contents of the body.
"""

from __future__ import annotations

import enum
import re
import struct
from typing import Final

import msgspec

from schema.identity import IdentityError, PeerId, peer_id
from schema.limits import MAX_PEER_ID, PROTOCOL_VERSION

TOKEN_SIZE: Final = 16
NO_TOKEN: Final = bytes(TOKEN_SIZE)

_HEADER: Final = struct.Struct(">BBHIQ16s")
HEADER_SIZE: Final = _HEADER.size
_INSTANCE: Final = re.compile(r"[0-9a-f]{16}")
_MAX_ADDRESS: Final = MAX_PEER_ID + 17


class EnvelopeError(ValueError):
    """Frames that are no envelope; the message says why."""


class Kind(enum.IntEnum):
    """What the body of an envelope is."""

    RELAY = 0
    """A message between a peer and the broker itself, see `relay_messages`."""
    INITIATION = 1
    """First handshake message. `session` is 0, `counter` the sender's own session index."""
    RESPONSE = 2
    """Second handshake message. `session` is the initiator's index, `counter` the responder's own."""
    SEALED = 3
    """A sealed body. `session` is the receiver's index, `counter` the Noise nonce."""
    UNKNOWN_SESSION = 4
    """The receiver of a SEALED body knows no such session; `session` and `counter` repeat what it got. A hint: it is
    not authenticated, so a peer answers it by a new handshake and by nothing worse."""
    REFUSED = 5
    """The agent takes no handshake from this client; `session` is the initiator's index, the body a
    `session_messages.Refusal`. Not authenticated either."""


class Header(msgspec.Struct, frozen=True):
    """32 bytes: version u8, kind u8, reserved u16 = 0, session u32, counter u64, token 16 bytes; big-endian."""

    kind: Kind
    session: int = 0
    counter: int = 0
    token: bytes = NO_TOKEN

    def encode(self) -> bytes:
        """The 32 bytes of the header frame."""
        return _HEADER.pack(PROTOCOL_VERSION, self.kind, 0, self.session, self.counter, self.token)


def decode_header(frame: bytes | memoryview) -> Header:
    """Read a header frame. Raises `EnvelopeError` for another length, version or kind."""
    if len(frame) != HEADER_SIZE:
        raise EnvelopeError(f"a header has {HEADER_SIZE} bytes, this one {len(frame)}")
    version, kind, reserved, session, counter, token = _HEADER.unpack(frame)
    if version != PROTOCOL_VERSION:
        raise EnvelopeError(f"protocol version {version} is not spoken here, only {PROTOCOL_VERSION}")
    if reserved != 0:
        raise EnvelopeError("the reserved bytes of a header are not zero")
    try:
        return Header(Kind(kind), session, counter, token)
    except ValueError as error:
        raise EnvelopeError(f"unknown kind of message: {kind}") from error


class Address(msgspec.Struct, frozen=True):
    """A peer, or one running instance of it: ``laptop`` or ``laptop/00c0ffee00c0ffee``.

    Several mounts of one client share its id and keys; `instance` (64 random bits, chosen when a program starts)
    tells them apart. As a destination, instance 0 means whichever instance registered last.
    """

    peer: PeerId
    instance: int = 0

    def encode(self) -> bytes:
        """The address frame."""
        return (f"{self.peer}/{self.instance:016x}" if self.instance else self.peer).encode("ascii")


def decode_address(frame: bytes) -> Address | None:
    """Read an address frame; None is the broker itself. Raises `EnvelopeError`."""
    if not frame:
        return None
    if len(frame) > _MAX_ADDRESS:
        raise EnvelopeError(f"an address has at most {_MAX_ADDRESS} bytes, this one {len(frame)}")
    try:
        name, slash, instance = bytes(frame).decode("ascii").partition("/")
        peer = peer_id(name)
    except (UnicodeDecodeError, IdentityError) as error:
        raise EnvelopeError(f"not an address: {bytes(frame[:80])!r}") from error
    if not slash:
        return Address(peer)
    if not _INSTANCE.fullmatch(instance) or not int(instance, 16):
        raise EnvelopeError(f"not an instance: {instance!r}")
    return Address(peer, int(instance, 16))
