"""Saying no: each refusal is counted, told to whom it concerns, and logged now and then.

The one rule: a refusal costs its cause more than us. What needs no answer by protocol is answered a few times a second
at most, and logged once in ten seconds for each peer and reason.
"""

from __future__ import annotations

import logging
from typing import Final

from broker.counters import Counters
from broker.outgoing import Send
from schema.envelope import EnvelopeError, Header, Kind, decode_header
from schema.identity import PeerId
from schema.pace import Pace
from schema.relay_messages import Error, RelayErrorCode, RelayMessage, encode_relay_message

log = logging.getLogger("broker.relay")

_RELAY_HEADER: Final = Header(Kind.RELAY).encode()
_MAX_ADDRESS: Final = 96
_MAX_TEXT: Final = 500
_RETRY_AFTER: Final = {RelayErrorCode.NO_ROUTE: 0.5, RelayErrorCode.CONGESTED: 0.1}
"""Seconds, where nothing better is known."""
_SAYS: Final = {
    RelayErrorCode.UNREGISTERED: "this connection is not registered: send AuthRequest",
    RelayErrorCode.BAD_TOKEN: "the token expired or is not yours: send AuthRequest",
    RelayErrorCode.NOT_PAIRED: "no pair of the relay's configuration allows this",
    RelayErrorCode.NO_ROUTE: "the destination is not connected",
    RelayErrorCode.CONGESTED: "the destination takes no more at the moment",
    RelayErrorCode.TOO_LARGE: "the body is larger than the relay allows",
    RelayErrorCode.RATE_LIMITED: "you send more than the relay allows you",
    RelayErrorCode.TOPIC_TAKEN: "the topic is another peer's",
    RelayErrorCode.TOO_MANY: "you have as many of these as the relay allows",
}


def say(route: bytes, message: RelayMessage) -> Send:
    """A message of the broker itself for the connection `route`."""
    return Send(route, (b"", _RELAY_HEADER, encode_relay_message(message)))


class Refusals:
    """What was refused, and what is answered."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._answers = Pace(0.1)
        self._log_lines = Pace(10.0)

    def refuse(
        self,
        code: RelayErrorCode,
        peer: PeerId,
        route: bytes,
        now: float,
        *,
        address: bytes = b"",
        header: bytes = _RELAY_HEADER,
        retry_after: float = 0.0,
    ) -> list[Send]:
        """Refuse an envelope that `peer` sent to `address`; the answer repeats session and counter of its `header`."""
        self._counters.refused[code.value] += 1
        if self._log_lines.allows((peer, code), now):
            log.warning("refused a message of %s to %.96r: %s", peer, address.decode("ascii", "replace"), code.value)
        return [_error(route, code, _SAYS[code], address, header, retry_after=retry_after)]

    def malformed(self, peer: PeerId, route: bytes, why: str, now: float) -> list[Send]:
        """Refuse what is no envelope, or a message that is not for the relay."""
        self._counters.refused[RelayErrorCode.MALFORMED.value] += 1
        if self._log_lines.allows((peer, RelayErrorCode.MALFORMED), now):
            log.warning("refused a malformed message of %s: %.200r", peer, why)
        if not self._answers.allows(peer, now):
            return []
        return [_error(route, RelayErrorCode.MALFORMED, why)]

    def stranger(self, user: str, route: bytes, now: float) -> list[Send]:
        """Refuse a connection whose user is no longer authorised."""
        self._counters.refused["not-authorised"] += 1
        if not self._answers.allows((user, route), now):
            return []
        return [self.farewell(route)]

    def farewell(self, route: bytes) -> Send:
        """Tell a connection that its key is no longer authorised."""
        return _error(route, RelayErrorCode.NOT_PAIRED, "this key is no longer authorised at this relay")

    def undelivered(self, send: Send, code: RelayErrorCode) -> list[Send]:
        """Tell the sender of `send` that it was taken, but could not be delivered."""
        self._counters.dropped[code.value] += 1
        if send.sender is None:
            return []
        return [_error(send.sender, code, _SAYS[code], send.address, send.frames[1])]


def _error(
    route: bytes,
    code: RelayErrorCode,
    text: str,
    address: bytes = b"",
    header: bytes = _RELAY_HEADER,
    *,
    retry_after: float = 0.0,
) -> Send:
    try:
        about = decode_header(header)
    except EnvelopeError:
        about = Header(Kind.RELAY)  # refused before its header was looked at: there is nothing to repeat
    wait = min(retry_after or _RETRY_AFTER.get(code, 0.0), 3600.0)
    return say(route, Error(code, text[:_MAX_TEXT], address[:_MAX_ADDRESS], about.session, about.counter, wait))
