"""Through a SOCKS5 proxy all of it goes: requests and the change feed, and the relay's name is looked up there only."""

from __future__ import annotations

import os

import pytest

from peer.mount.freshness import NAME
from tests.stack.processes import until
from tests.stack.socks import Proxy
from tests.stack.world import LAPTOP

pytestmark = pytest.mark.timeout(120)
RELAY = "relay.invalid"
"""A name that nobody but the proxy can make sense of (RFC 6761)."""


def test_agent_and_mount_reach_the_relay_through_a_proxy_by_its_name(stack):
    (stack.export / "file").write_text("old")
    with Proxy() as proxy:
        stack.relay_host = RELAY
        network = {"socks_proxy": proxy.address}
        stack.write_agent(network=network)
        stack.write_client(LAPTOP, network=network)
        stack.start()
        mounted = stack.mount()
        file = mounted.path / "file"
        until("the feed is followed", lambda: file.stat() and os.getxattr(file, NAME).startswith(b"current at "))
        assert file.read_text() == "old"
        (stack.export / "file").write_text("and longer")
        until("the feed tells of a change", lambda: file.stat().st_size == len("and longer"))
        assert os.getxattr(file, NAME).startswith(b"current at ")
        assert file.read_text() == "and longer"
        (mounted.path / "made").write_text("here")
        assert (stack.export / "made").read_text() == "here"
        mounted.program.stop()
        stack.agent.stop()
        assert proxy.asked_for == {(RELAY, stack.port + plane) for plane in range(3)}
