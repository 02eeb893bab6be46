"""From the relay's decisions to a socket that may say no: spool what is not taken, report what cannot be delivered.

The one rule: order within a connection holds, and every message taken from a peer is delivered, or its sender is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from broker.outgoing import Outcome, Send
from broker.relay import Relay
from broker.spool import Spool
from schema.identity import PeerId


class Delivery:
    """Carries out sends. `transmit` hands one message to its connection without waiting, and says how that went."""

    def __init__(self, relay: Relay, spool: Spool, transmit: Callable[[Send], Outcome]) -> None:
        self._relay = relay
        self._spool = spool
        self._transmit = transmit

    def deliver(self, sends: Iterable[Send], now: float) -> None:
        """Send, spool or refuse each, and whatever follows from that."""
        work = deque(sends)
        while work:
            send = work.popleft()
            if not self._spool.holds(send.route):
                outcome = self._transmit(send)
                if outcome is Outcome.SENT:
                    continue
                if outcome is Outcome.GONE:
                    work.extend(self._relay.undeliverable(send))
                    work.extend(self._relay.lost(send.route))
                    continue
            if not self._spool.offer(send, now):
                work.extend(self._relay.congested(send))

    def flush(self, now: float) -> None:
        """Try again what is spooled; give up what has waited for too long."""
        for route in self._spool.routes:
            while (send := self._spool.first(route)) is not None:
                outcome = self._transmit(send)
                if outcome is Outcome.FULL:
                    break
                if outcome is Outcome.GONE:
                    self.lost(route, now)
                    break
                self._spool.taken(route)
        for send in self._spool.expire(now):
            self.deliver(self._relay.congested(send), now)

    def revoke(self, peer: PeerId, now: float) -> None:
        """`peer` is no longer authorised: what waited for it goes back to its senders, and its peers are told."""
        stranded = [send for route in self._relay.routes_of(peer) for send in self._spool.discard(route)]
        self.deliver(self._relay.revoke(peer), now)
        for send in stranded:
            self.deliver(self._relay.undeliverable(send), now)

    def lost(self, route: bytes, now: float) -> None:
        """The connection `route` ended: what waited for it goes back to its senders, and its peers are told."""
        stranded = self._spool.discard(route)
        self.deliver(self._relay.lost(route), now)
        for send in stranded:
            self.deliver(self._relay.undeliverable(send), now)
