"""Putting a channel together from a peer's keys and settings: the one place where both ends are composed.

The one rule: what both ends must agree on for a session (the prologue, the clock, the random source) is said here once.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Final

from peer.certificates import OwnKeys
from peer.channel.packing import Padding
from peer.channel.requester import Patience, Requester
from peer.channel.requester_core import RequesterCore
from peer.channel.responder import Handler, Quotas, Responder
from peer.config import NetworkTable, Relay
from peer.link.lane import Dialing
from peer.link.publisher import Publisher
from peer.link.request_link import RequestLink
from peer.link.subscriber import Deliver, Subscriber
from peer.pinned_peers import PinnedPeers
from peer.session.initiator import Initiator
from peer.session.prologue import prologue
from peer.session.responder import Responder as Sessions
from schema.envelope import Address
from schema.identity import PeerId, fingerprint
from schema.limits import PROTOCOL_VERSION
from schema.requests import AnyRequest

SOFTWARE: Final = "remotefs"
RESEND_AFTER: Final = 2.0
"""Seconds without an answer after which a small request is sent again; bulk has four times that."""


def new_instance() -> int:
    """A number for this run of the program, 1 to 2**63 - 1, that no other run has."""
    return secrets.randbits(63) or 1


def open_publisher(keys: OwnKeys, relay_key: bytes, relay: Relay, network: NetworkTable) -> Publisher:
    """An agent's way to the broker's change-feed plane."""
    return Publisher(_dialing(keys, relay_key, relay.feed_in, network))


def open_subscriber(
    keys: OwnKeys, relay_key: bytes, relay: Relay, network: NetworkTable, deliver: Deliver
) -> Subscriber:
    """A client's way from the broker's change-feed plane, not yet started."""
    return Subscriber(_dialing(keys, relay_key, relay.feed_out, network), deliver)


def _dialing(keys: OwnKeys, relay_key: bytes, endpoint: str, network: NetworkTable) -> Dialing:
    return Dialing(
        endpoint=endpoint,
        relay_key=relay_key,
        public_key=keys.certificate.transport_key,
        secret_key=keys.transport_secret,
        socks_proxy=network.socks_proxy,
    )


def open_link(keys: OwnKeys, relay_key: bytes, relay: Relay, network: NetworkTable, instance: int) -> RequestLink:
    """The connection to the broker, not yet started."""
    dialing = _dialing(keys, relay_key, relay.requests, network)
    return RequestLink(dialing, instance=instance, lanes=network.lanes, software=SOFTWARE)


def open_requester(
    keys: OwnKeys,
    link: RequestLink,
    agent: PeerId,
    agent_key: bytes,
    *,
    instance: int,
    patience: Patience,
    padding: Padding,
    abandoned: Callable[[AnyRequest], bool],
) -> Requester:
    """The client's end of a channel to `agent`, whose pinned identity key is `agent_key`; the link is started."""
    initiator = Initiator(
        keys.identity_secret,
        agent_key,
        prologue(PROTOCOL_VERSION, keys.certificate.id, agent),
        secrets.token_bytes,
        lock=threading.Lock,
    )
    core = RequesterCore(initiator, instance=instance, resend_after=RESEND_AFTER, padding=padding)
    requester = Requester(link, core, Address(agent), patience=patience, abandoned=abandoned)
    link.start(requester)
    return requester


def open_responder(
    keys: OwnKeys, link: RequestLink, pinned: PinnedPeers, handler: Handler, *, quotas: Quotas, padding: Padding
) -> Responder:
    """The agent's end of the channels to all clients in `pinned`; the link is started."""
    own = keys.certificate.id
    sessions = Sessions(
        keys.identity_secret,
        lambda client: prologue(PROTOCOL_VERSION, client, own),
        pinned.identify,
        secrets.token_bytes,
        lock=threading.Lock,
    )
    responder = Responder(
        link,
        sessions,
        handler,
        fingerprint=fingerprint(keys.certificate.identity_key or b""),
        rights=pinned,
        quotas=quotas,
        padding=padding,
    )
    link.start(responder)
    return responder
