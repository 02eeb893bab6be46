"""One established session: sealing and opening transport messages that may overtake each other.

The one rule: a message counts only after it authenticated, once, and within the life of its session.

As Noise section 11.4 allows, each message carries its nonce beside it, and the replay window refuses repeats. One
deviation: a transport message may be longer than 65,535 bytes (section 3). That limit is for fixed buffers; the cipher
itself goes to 256 GiB (RFC 8439 section 2.8), and the bound here is the one on frames in `schema.limits`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from typing import Final

from peer.errors import AuthenticationFailed, FrameRefused, HandshakeRefused, SessionExhausted
from peer.session.cipher_state import CipherState
from peer.session.primitives import Buffer
from peer.session.replay_window import ReplayWindow

REKEY_AFTER_TIME: Final = 120.0
"""Seconds after which the initiator shakes hands anew."""
REKEY_AFTER_MESSAGES: Final = 2**32
"""Messages sent in one session after which the initiator shakes hands anew."""
REJECT_AFTER_TIME: Final = 180.0
"""Seconds after its birth at which a session opens nothing any more."""
REJECT_AFTER_MESSAGES: Final = 2**62
"""Counters from here on are refused. Below 2**63, up to where `itertools.count` steps without running Python code."""
STOP_SENDING_AFTER: Final = REJECT_AFTER_TIME - 10.0
"""Seconds after which an initiator sends no more in a session: what it sends must arrive before it is rejected."""
PREVIOUS_SESSION_GRACE: Final = 30.0
"""Seconds for which the initiator still opens messages of the session that a new one replaced."""
HANDSHAKE_RETRY: Final = 5.0
"""Seconds without an answer after which the initiator sends another handshake message."""
HANDSHAKE_EXPIRY: Final = 20.0
"""Seconds after which the answer to a handshake message is not taken any more."""

MAX_INDEX: Final = 2**32 - 1
"""Session indexes are 1 to this; the header carries them as u32 and 0 means none."""

LockFactory = Callable[[], AbstractContextManager[object]]
"""`threading.Lock` where several threads use a session, `contextlib.nullcontext` where one does, as in simulation."""


class Session:
    """What a handshake left behind at one end.

    Made by `Initiator` and `Responder`. `born_at` is when message 1 was written (initiator) or read (responder), so
    that the initiator's session is never the younger. `peer_id` is who the responder's check found the far end to be,
    and empty at the initiator, which pinned one key. `remote_payload` came with the far end's handshake message; at
    the responder that one may be a replay, until a first transport message opened.

    `seal` and `open` may be called from several threads at once.
    """

    __slots__ = (
        "_counters",
        "_lock",
        "_receiving",
        "_sending",
        "_window",
        "born_at",
        "local_index",
        "peer_id",
        "remote_index",
        "remote_payload",
        "remote_static",
        "sent",
    )

    def __init__(
        self,
        *,
        ciphers: tuple[CipherState, CipherState],
        local_index: int,
        remote_index: int,
        remote_static: bytes,
        born_at: float,
        lock: LockFactory,
        peer_id: str = "",
        remote_payload: bytes = b"",
    ) -> None:
        self._sending, self._receiving = ciphers
        self._counters = itertools.count()
        self._window = ReplayWindow()
        self._lock = lock()
        self.local_index = local_index
        self.remote_index = remote_index
        self.remote_static = remote_static
        self.born_at = born_at
        self.peer_id = peer_id
        self.remote_payload = remote_payload
        self.sent = 0
        """Messages sealed so far, give or take those that other threads are sealing now."""

    def expired(self, now: float) -> bool:
        """Whether this session is past the age at which it opens anything."""
        return now - self.born_at >= REJECT_AFTER_TIME

    def seal(self, plaintext: Buffer) -> tuple[int, bytearray]:
        """The counter that goes into the header and the ciphertext, `TAG_SIZE` longer than `plaintext`.

        Takes no lock: `next` on an `itertools.count` is one step of the interpreter, so no two threads get one
        counter, and the cipher keeps no state. Raises `SessionExhausted` from `REJECT_AFTER_MESSAGES` on.
        """
        counter = next(self._counters)
        if counter >= REJECT_AFTER_MESSAGES:
            raise SessionExhausted("this session has sealed all that it may: shake hands again")
        self.sent = counter + 1
        return counter, self._sending.encrypt_at(counter, plaintext)

    def open(self, counter: int, ciphertext: Buffer, now: float) -> bytearray:
        """The plaintext of a message that the far end sealed under `counter`.

        Raises `FrameRefused` for one that is forged, that was opened before, that is older than the replay window,
        or that comes `REJECT_AFTER_TIME` or more after the birth of the session.
        """
        if self.expired(now):
            raise FrameRefused(f"session {self.local_index:#x} is past its {REJECT_AFTER_TIME:.0f} seconds")
        if not 0 <= counter < REJECT_AFTER_MESSAGES:
            raise FrameRefused(f"counter {counter} is out of range")
        # Asked twice: before, since refusing a repeat should cost no decryption; and after, since only what
        # authenticated may move the window, and two threads may be at the same counter in between.
        with self._lock:
            fresh = self._window.fresh(counter)
        if fresh:
            try:
                plaintext = self._receiving.decrypt_at(counter, ciphertext)
            except AuthenticationFailed as error:
                raise FrameRefused(f"session {self.local_index:#x}, counter {counter}: {error}") from error
            with self._lock:
                fresh = self._window.accept(counter)
        if not fresh:
            raise FrameRefused(f"session {self.local_index:#x}: counter {counter} was seen before, or is too old")
        return plaintext


def new_index(generate: Callable[[int], bytes], *taken: Container[int]) -> int:
    """A random session index, 1 to `MAX_INDEX`, that is in none of `taken`."""
    while True:
        index = int.from_bytes(generate(4))
        if index and not any(index in each for each in taken):
            return index


def check_index(index: int) -> int:
    """Give `index` back if it can name a session of the far end. Raises `HandshakeRefused`."""
    if not 1 <= index <= MAX_INDEX:
        raise HandshakeRefused(f"{index} is no session index: they are 1 to {MAX_INDEX}")
    return index
