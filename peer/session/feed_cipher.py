"""What seals a change feed: one key for all who may read it, handed to each inside its own session.

    frame = counter, 8 bytes big-endian || ChaCha20-Poly1305(key, counter, topic, plaintext)

The one rule: no counter seals twice under one key, and none opens twice: what is not newer than what was opened last is
refused. A frame that the relay drops or swaps is thereby lost, never believed late; the numbers inside tell what is
missing, and the missing part comes over the session.
"""

from __future__ import annotations

import struct
from typing import Final

from peer.errors import AuthenticationFailed, FrameRefused
from peer.session.cipher_state import CipherState
from peer.session.primitives import TAG_SIZE, Buffer
from schema.limits import MAX_BODY

_COUNTER: Final = struct.Struct(">Q")
MAX_FRAME: Final = _COUNTER.size + MAX_BODY + TAG_SIZE
"""Bytes of a frame."""


class FeedSealer:
    """The agent's side. Not thread-safe: whoever numbers the changes seals them in the same order."""

    def __init__(self, key: bytes, topic: bytes) -> None:
        self._cipher: Final = CipherState(key)
        self._topic: Final = topic
        self._counter = 0

    def seal(self, plaintext: Buffer) -> bytes:
        """A frame. Raises `SessionExhausted` when every counter is used up, ValueError beyond `MAX_BODY` bytes."""
        if len(plaintext) > MAX_BODY:
            raise ValueError(f"a batch has at most {MAX_BODY} bytes, this one {len(plaintext)}")
        counter = self._counter
        self._counter += 1
        return _COUNTER.pack(counter) + self._cipher.encrypt_at(counter, plaintext, self._topic)


class FeedOpener:
    """A client's side: the frames of one topic, as the relay delivers them. Not thread-safe."""

    def __init__(self, key: bytes, topic: bytes) -> None:
        self._cipher: Final = CipherState(key)
        self._topic: Final = topic
        self._next = 0

    def open(self, frame: Buffer) -> bytearray:
        """The plaintext of `frame`. Raises `FrameRefused` for one that is forged, malformed, or not newer than before.

        A frame that is refused changes nothing.
        """
        if not _COUNTER.size + TAG_SIZE <= len(frame) <= MAX_FRAME:
            raise FrameRefused(f"a frame of the change feed has not {len(frame)} bytes")
        (counter,) = _COUNTER.unpack_from(frame)
        if counter < self._next:
            raise FrameRefused(f"frame {counter} of the change feed came late or twice: {self._next} is next")
        if counter == 2**64 - 1:
            raise FrameRefused("a frame of the change feed under the counter that none may have")
        try:
            plaintext = self._cipher.decrypt_at(counter, memoryview(frame)[_COUNTER.size :], self._topic)
        except AuthenticationFailed as error:
            raise FrameRefused(f"a frame of the change feed: {error}") from error
        self._next = counter + 1
        return plaintext
