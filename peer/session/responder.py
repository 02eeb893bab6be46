"""The agent's half of a session's life: who may shake hands, which sessions are live, how many there may be.

The one rule: until a session's first transport message has opened, its handshake may be a replay by the relay. Such a
session is unconfirmed, and no number of them ever displaces a confirmed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.errors import TryAgainLater, UnknownSession
from peer.session.handshake_state import HandshakeState
from peer.session.primitives import Buffer, KeyPair
from peer.session.session import LockFactory, Session, check_index, new_index

MAX_SESSIONS: Final = 4096
"""Live sessions, of all peers, confirmed or not."""
MAX_UNCONFIRMED_PER_PEER: Final = 16
"""Sessions of one peer that wait for their first message; the oldest makes room."""
MAX_CONFIRMED_PER_PEER: Final = 64
"""Confirmed sessions of one peer: some two for each of its programs. The oldest makes room."""


class Responder:
    """Sessions with every client.

    `prologue_for(claimed_id)` gives the prologue that a client of that id uses. `identify(claimed_id, static_key)`
    raises `HandshakeRefused` unless that peer owns that 32-byte key and may have a session; when a right ends, first
    make it refuse, then call `forget_peer` or `forget_unless`. `generate(n)` gives n random bytes that are fit for
    keys. Every method may be called from several threads if `lock` makes real locks; neither of the two callbacks is
    called with a lock held.
    """

    def __init__(
        self,
        static_private: bytes,
        prologue_for: Callable[[str], bytes],
        identify: Callable[[str, bytes], None],
        generate: Callable[[int], bytes],
        *,
        lock: LockFactory,
    ) -> None:
        self._static = KeyPair.of(static_private)
        self._prologue_for = prologue_for
        self._identify = identify
        self._generate = generate
        self._make_lock = lock
        self._lock = lock()
        self._rights_changed = 0
        # Both oldest first. Written under the lock; read without it, since looking up one key is one step.
        self._unconfirmed: dict[int, Session] = {}
        self._confirmed: dict[int, Session] = {}

    def __len__(self) -> int:
        """Live sessions, confirmed or not."""
        return len(self._unconfirmed) + len(self._confirmed)

    def accept(
        self, claimed_id: str, remote_index: int, message: bytes, now: float, payload: bytes = b""
    ) -> tuple[Session, bytes]:
        """Take message 1 from who says to be `claimed_id`: the session, not yet confirmed, and message 2 to answer.

        `payload` goes into message 2. Raises `HandshakeRefused`, also by way of `identify`; then nothing changed.
        """
        check_index(remote_index)
        handshake = HandshakeState(
            initiator=False,
            prologue=self._prologue_for(claimed_id),
            static=self._static,
            remote_static=None,
            generate=self._generate,
        )
        remote_payload = handshake.read_message(message)
        rights_changed = self._rights_changed
        self._identify(claimed_id, handshake.remote_static)
        response = handshake.write_message(payload)
        with self._lock:
            if self._rights_changed != rights_changed:
                raise TryAgainLater(f"rights changed while {claimed_id} shook hands: try again")
            self._drop_expired(now)
            self._make_room(claimed_id)
            session = Session(
                ciphers=handshake.split(),
                local_index=new_index(self._generate, self._unconfirmed, self._confirmed),
                remote_index=remote_index,
                remote_static=handshake.remote_static,
                born_at=now,
                lock=self._make_lock,
                peer_id=claimed_id,
                remote_payload=remote_payload,
            )
            self._unconfirmed[session.local_index] = session
        return session, response

    def open(self, local_index: int, counter: int, body: Buffer, now: float) -> tuple[Session, bytearray]:
        """The plaintext of a message to our session `local_index`, and the session, whose `peer_id` sent it.

        Raises `FrameRefused` as `Session.open`, and `UnknownSession` when the index names no live session: tell the
        sender, which shakes hands again.
        """
        session = self._confirmed.get(local_index) or self._unconfirmed.get(local_index)
        if session is None or session.expired(now):
            raise UnknownSession(f"no session with index {local_index:#x} is live here")
        plaintext = session.open(counter, body, now)
        # Looked up again: it may have been forgotten since, and a peer whose right ended must not get in by that gap.
        if self._confirmed.get(local_index) is not session:
            self._confirm(session)
        return session, plaintext

    def forget_peer(self, peer_id: str) -> int:
        """Drop every session of a peer whose right has ended. Returns how many there were."""
        return self.forget_unless(lambda session: session.peer_id != peer_id)

    def forget_unless(self, keep: Callable[[Session], bool]) -> int:
        """Drop every session for which `keep` is false. Returns how many there were."""
        with self._lock:
            self._rights_changed += 1
            return self._drop(lambda session: not keep(session))

    def expire(self, now: float) -> None:
        """Forget keys whose time has passed. To be called now and then, also while nothing arrives."""
        with self._lock:
            self._drop_expired(now)

    def _confirm(self, session: Session) -> None:
        with self._lock:
            if self._confirmed.get(session.local_index) is session:
                return
            if self._unconfirmed.get(session.local_index) is not session:
                raise UnknownSession(f"session {session.local_index:#x} was forgotten")
            _shorten(self._confirmed, session.peer_id, MAX_CONFIRMED_PER_PEER)
            self._confirmed[session.local_index] = session
            del self._unconfirmed[session.local_index]

    def _make_room(self, peer_id: str) -> None:
        _shorten(self._unconfirmed, peer_id, MAX_UNCONFIRMED_PER_PEER)
        if len(self) >= MAX_SESSIONS:
            if not self._unconfirmed:
                raise TryAgainLater(f"there are {MAX_SESSIONS} sessions already: try again later")
            del self._unconfirmed[next(iter(self._unconfirmed))]

    def _drop_expired(self, now: float) -> None:
        self._drop(lambda session: session.expired(now))

    def _drop(self, condemned: Callable[[Session], bool]) -> int:
        dropped = 0
        for sessions in (self._unconfirmed, self._confirmed):
            for session in [each for each in sessions.values() if condemned(each)]:
                del sessions[session.local_index]
                dropped += 1
        return dropped


def _shorten(sessions: dict[int, Session], peer_id: str, limit: int) -> None:
    """Drop the oldest sessions of `peer_id` until one more keeps within `limit`."""
    own = [session.local_index for session in sessions.values() if session.peer_id == peer_id]
    for index in own[: max(0, len(own) - limit + 1)]:
        del sessions[index]
