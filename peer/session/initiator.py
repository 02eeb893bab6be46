"""The client's half of a session's life: when to shake hands, which session to send in, how long to read an old one.

The one rule: an unauthenticated message (a forged answer, a hint that an index is unknown) never ends a handshake in
flight, and at worst causes another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peer.errors import UnknownSession
from peer.session.handshake_state import HandshakeState
from peer.session.primitives import Buffer, KeyPair
from peer.session.session import (
    HANDSHAKE_EXPIRY,
    HANDSHAKE_RETRY,
    PREVIOUS_SESSION_GRACE,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME,
    STOP_SENDING_AFTER,
    LockFactory,
    Session,
    check_index,
    new_index,
)


@dataclass(frozen=True, slots=True)
class _Attempt:
    handshake: HandshakeState
    started_at: float


@dataclass(frozen=True, slots=True)
class _Readable:
    session: Session
    until: float


class Initiator:
    """Sessions with one responder, whose static key is pinned.

    `prologue` is that of `peer.session.prologue`; `generate(n)` gives n random bytes that are fit for keys. Every
    method may be called from several threads if `lock` makes real locks; `handshake_due` and the `start` after it
    belong to one thread, or two handshakes begin where one was due. Times are seconds of one monotonic clock,
    best one that runs on while the machine sleeps (CLOCK_BOOTTIME), since the agent's does.
    """

    def __init__(
        self,
        static_private: bytes,
        remote_static: bytes,
        prologue: bytes,
        generate: Callable[[int], bytes],
        *,
        lock: LockFactory,
    ) -> None:
        self._static = KeyPair.of(static_private)
        self._remote_static = remote_static
        self._prologue = prologue
        self._generate = generate
        self._make_lock = lock
        self._lock = lock()
        # Written under the lock; read without it, since looking up one key or attribute is one step.
        self._attempts: dict[int, _Attempt] = {}
        self._readable: dict[int, _Readable] = {}
        self._current: Session | None = None

    @property
    def remote_static(self) -> bytes:
        """The responder's static public key, as it is pinned."""
        return self._remote_static

    def start(self, now: float, payload: bytes = b"") -> tuple[int, bytes]:
        """Begin a handshake: our session index, and message 1 to send with it.

        `payload` is sealed to the responder's static key alone, so who learns that key later can read it, and the
        relay can replay it (Noise section 7.7, destination property 2): no secrets, no orders. An earlier handshake
        in flight goes on: whichever is answered first wins. Raises `HandshakeRefused` if `payload` is too long.
        """
        handshake = HandshakeState(
            initiator=True,
            prologue=self._prologue,
            static=self._static,
            remote_static=self._remote_static,
            generate=self._generate,
        )
        message = handshake.write_message(payload)
        with self._lock:
            self._drop_expired(now)
            local_index = new_index(self._generate, self._attempts, self._readable)
            self._attempts[local_index] = _Attempt(handshake, now)
        return local_index, message

    def finish(self, local_index: int, remote_index: int, message: bytes, now: float) -> Session:
        """Take message 2: the new session, which is from now on the one to send in.

        `message` may be forged: then `HandshakeRefused` is raised and the true answer can still come.
        Raises `UnknownSession` when no handshake of that index is in flight.
        """
        attempt = self._attempts.get(local_index)
        if attempt is None or now - attempt.started_at >= HANDSHAKE_EXPIRY:
            raise UnknownSession(f"no handshake with index {local_index:#x} waits for an answer")
        handshake = attempt.handshake.copy()
        payload = handshake.read_message(message)
        session = Session(
            ciphers=handshake.split(),
            local_index=local_index,
            remote_index=check_index(remote_index),
            remote_static=self._remote_static,
            born_at=attempt.started_at,
            lock=self._make_lock,
            remote_payload=payload,
        )
        with self._lock:
            if self._attempts.get(local_index) is not attempt:
                raise UnknownSession(f"the handshake with index {local_index:#x} was answered already")
            self._attempts.clear()
            if self._current is not None:
                previous = self._readable[self._current.local_index]
                until = min(previous.until, now + PREVIOUS_SESSION_GRACE)
                self._readable[self._current.local_index] = _Readable(self._current, until)
            self._readable[local_index] = _Readable(session, session.born_at + REJECT_AFTER_TIME)
            self._current = session
        return session

    def sending(self, now: float) -> Session | None:
        """The session to send in, or None when a handshake must come first."""
        session = self._current
        if session is None or now - session.born_at >= STOP_SENDING_AFTER:
            return None
        return session

    def handshake_due(self, now: float) -> bool:
        """Whether to `start` a handshake: the session is missing or wants new keys, and no recent attempt is open."""
        session = self._current
        if session and now - session.born_at < REKEY_AFTER_TIME and session.sent < REKEY_AFTER_MESSAGES:
            return False
        with self._lock:
            return all(now - attempt.started_at >= HANDSHAKE_RETRY for attempt in self._attempts.values())

    def open(self, local_index: int, counter: int, body: Buffer, now: float) -> bytearray:
        """The plaintext of a message to our session `local_index`.

        Raises `FrameRefused` as `Session.open`, and `UnknownSession` when the index names no session that is still
        read: what was asked in that session is to be asked again in the present one.
        """
        readable = self._readable.get(local_index)
        if readable is None or now >= readable.until:
            raise UnknownSession(f"no session with index {local_index:#x} is read here any more")
        return readable.session.open(counter, body, now)

    def abandon(self, remote_index: int | None = None) -> None:
        """Forget the session that the responder knows as `remote_index`, or all of them. A handshake in flight goes on.

        For the hint that the responder restarted: it is not authenticated, and late copies of it about an old session
        must not end the new one, so give the index that the hint names.
        """
        with self._lock:
            for index, readable in list(self._readable.items()):
                if remote_index is None or readable.session.remote_index == remote_index:
                    del self._readable[index]
                    if readable.session is self._current:
                        self._current = None

    def expire(self, now: float) -> None:
        """Forget keys whose time has passed. To be called now and then, also while nothing is sent."""
        with self._lock:
            self._drop_expired(now)

    def _drop_expired(self, now: float) -> None:
        for index, attempt in list(self._attempts.items()):
            if now - attempt.started_at >= HANDSHAKE_EXPIRY:
                del self._attempts[index]
        for index, readable in list(self._readable.items()):
            if now >= readable.until:
                del self._readable[index]
        if self._current is not None and self._current.expired(now):
            self._current = None
