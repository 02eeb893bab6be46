"""HandshakeState for the pattern IK: who we are, who they are, and which token comes next (Noise sections 5.3 and 7.5).

    IK:
      <- s
      ...
      -> e, es, s, ss
      <- e, ee, se

The one rule: a message that does not authenticate ends its handshake. `copy` first, where a forged message must not
end an honest one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.errors import AuthenticationFailed, HandshakeRefused
from peer.session.cipher_state import CipherState
from peer.session.primitives import KEY_SIZE, TAG_SIZE, KeyPair, dh
from peer.session.symmetric_state import SymmetricState

PROTOCOL_NAME: Final = b"Noise_IK_25519_ChaChaPoly_BLAKE2b"
MAX_NOISE_MESSAGE: Final = 65_535
"""Bytes of a handshake message (section 3)."""

IK: Final = (("e", "es", "s", "ss"), ("e", "ee", "se"))
"""Message patterns; the initiator writes the first, the responder the second."""


class HandshakeState:
    """One handshake at one end. `remote_static` is known to the initiator beforehand and None to the responder.

    `generate(n)` gives n random bytes that are fit for keys; it is asked once, when the `e` token is written.
    """

    __slots__ = ("_ephemeral", "_failed", "_generate", "_initiator", "_next", "_remote", "_static", "_symmetric")

    def __init__(
        self,
        *,
        initiator: bool,
        prologue: bytes,
        static: KeyPair,
        remote_static: bytes | None,
        generate: Callable[[int], bytes],
    ) -> None:
        if initiator != (remote_static is not None):
            raise ValueError("in IK the initiator knows the responder's static key, and only the initiator")
        self._initiator = initiator
        self._static = static
        self._ephemeral: KeyPair | None = None
        self._remote: dict[str, bytes] = {} if remote_static is None else {"s": remote_static}
        self._generate = generate
        self._next = 0
        self._failed = False
        self._symmetric = SymmetricState(PROTOCOL_NAME)
        self._symmetric.mix_hash(prologue)
        self._symmetric.mix_hash(static.public if remote_static is None else remote_static)

    @property
    def remote_static(self) -> bytes:
        """The far end's 32-byte static key. At the responder only after `read_message`, which proves it."""
        return self._remote["s"]

    @property
    def finished(self) -> bool:
        """Whether both messages have passed, so that `split` may be asked."""
        return self._next == len(IK) and not self._failed

    @property
    def handshake_hash(self) -> bytes:
        """64 bytes for channel binding (section 11.2)."""
        return self._symmetric.handshake_hash()

    def write_message(self, payload: bytes = b"") -> bytes:
        """WriteMessage: the next message, with `payload` sealed as well as the pattern allows at that point.

        Raises `HandshakeRefused` when `payload` makes it longer than `MAX_NOISE_MESSAGE`.
        """
        tokens = self._turn(writing=True)
        parts: list[bytes] = []
        for token in tokens:
            match token:
                case "e":
                    self._ephemeral = KeyPair.generate(self._generate)
                    parts.append(self._ephemeral.public)
                    self._symmetric.mix_hash(self._ephemeral.public)
                case "s":
                    parts.append(self._symmetric.encrypt_and_hash(self._static.public))
                case _:
                    self._mix_dh(token)
        parts.append(self._symmetric.encrypt_and_hash(payload))
        message = b"".join(parts)
        if len(message) > MAX_NOISE_MESSAGE:
            raise HandshakeRefused(f"a payload of {len(payload)} bytes does not fit a handshake message")
        self._passed()
        return message

    def read_message(self, message: bytes) -> bytes:
        """ReadMessage: check the far end's next message and give its payload.

        Raises `HandshakeRefused` for a message that is too long, too short, altered, or meant for another key or
        prologue; this state is then of no further use.
        """
        tokens = self._turn(writing=False)
        if len(message) > MAX_NOISE_MESSAGE:
            raise HandshakeRefused(
                f"a handshake message has {len(message)} bytes, at most {MAX_NOISE_MESSAGE} are allowed"
            )
        rest = message
        try:
            for token in tokens:
                match token:
                    case "e":
                        ephemeral, rest = _cut(rest, KEY_SIZE)
                        self._remote["e"] = ephemeral
                        self._symmetric.mix_hash(ephemeral)
                    case "s":
                        sealed, rest = _cut(rest, KEY_SIZE + (TAG_SIZE if self._symmetric.has_key() else 0))
                        self._remote["s"] = self._symmetric.decrypt_and_hash(sealed)
                    case _:
                        self._mix_dh(token)
            payload = self._symmetric.decrypt_and_hash(rest)
        except AuthenticationFailed as error:
            raise HandshakeRefused("a handshake message is forged, or meant for another key, id or version") from error
        self._passed()
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers for (sending, receiving) at this end."""
        if not self.finished:
            raise ValueError("a handshake gives its keys when both of its messages have passed")
        to_responder, to_initiator = self._symmetric.split()
        return (to_responder, to_initiator) if self._initiator else (to_initiator, to_responder)

    def copy(self) -> HandshakeState:
        """A state of its own that goes on from here."""
        twin = object.__new__(HandshakeState)
        twin._initiator, twin._static, twin._generate = self._initiator, self._static, self._generate
        twin._ephemeral, twin._remote = self._ephemeral, dict(self._remote)
        twin._next, twin._failed = self._next, self._failed
        twin._symmetric = self._symmetric.copy()
        return twin

    def _turn(self, *, writing: bool) -> tuple[str, ...]:
        ours = self._initiator == (self._next % 2 == 0)
        if self._failed or self._next == len(IK) or ours != writing:
            raise ValueError("it is not the turn for this handshake message")
        # Whatever raises from here on leaves a state that is neither before nor after the message.
        self._failed = True
        return IK[self._next]

    def _passed(self) -> None:
        self._failed = False
        self._next += 1

    def _mix_dh(self, token: str) -> None:
        # A token names the initiator's key first: "es" is the initiator's e with the responder's s.
        ours, theirs = (0, 1) if self._initiator else (1, 0)
        pair = self._ephemeral if token[ours] == "e" else self._static
        if pair is None:
            raise ValueError(f"token {token} before our ephemeral key")
        self._symmetric.mix_key(dh(pair, self._remote[token[theirs]]))


def _cut(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise HandshakeRefused("a handshake message is cut short")
    return message[:size], message[size:]
