"""What an agent tells Prometheus."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from peer.agent.metrics import MetricsAddressTaken, Sources, serve_metrics
from peer.agent.tally import Tally
from schema.replies import Done, Failure
from schema.requests import DeleteFile, GetMetadata, ListDir
from tests.peer.agent.feed_reader import until


def sources(world):
    return Sources(
        requests=world.dispatcher.tally.snapshot,
        open_files=lambda: world.dispatcher.open_files,
        watched=world.watcher.standing,
        feeds=world.feeds.counts,
        cache=world.dispatcher.cache.counts,
    )


@pytest.fixture
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return "127.0.0.1:{1}".format(*free.getsockname())


def page(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_what_the_agent_has_done_is_told(world, address):
    stop = serve_metrics(address, sources(world))
    try:
        (world.export / "d").mkdir()
        world.start()
        reader = world.follow()
        (world.export / "d" / "f").touch()
        reader.wait_for_path(world.path("d", "f"))
        world.stat("d", "f")
        assert isinstance(world.stat("nothing"), Failure)
        for _ in range(2):
            until("all is told", world.quiet)
            world.ask(ListDir(world.path("d")))
        told = page(address)
    finally:
        stop()
    assert told['remotefs_agent_requests_total{kind="GetMetadata",outcome="ok"}'] == "1.0"
    assert told['remotefs_agent_requests_total{kind="GetMetadata",outcome="ENOENT"}'] == "1.0"
    assert told["remotefs_agent_watched_directories"] == "2.0"
    assert told["remotefs_agent_watches_settled"] == "1.0"
    assert told["remotefs_agent_watch_overflows_total"] == "0.0"
    assert told["remotefs_agent_feed_followers"] == "1.0"
    assert told["remotefs_agent_cache_pages_proven_total"] == "2.0"
    assert told["remotefs_agent_cache_pages_unproven_total"] == "0.0"
    assert (told["remotefs_agent_cache_hits_total"], told["remotefs_agent_cache_misses_total"]) == ("1.0", "1.0")
    assert told["remotefs_agent_cache_names"] == "1.0"
    assert float(told["remotefs_agent_cache_bytes"]) > 500
    assert float(told["remotefs_agent_feed_changes_total"]) >= 2
    assert float(told["remotefs_agent_feed_bytes_total"]) > 100


def test_an_address_that_is_taken_is_said(world, address):
    host, port = address.split(":")
    with socket.create_server((host, int(port))), pytest.raises(MetricsAddressTaken, match="cannot listen on"):
        serve_metrics(address, sources(world))


def test_answers_are_counted_by_kind_and_outcome():
    tally = Tally()
    for reply in (Done(), Failure("ENOENT"), Done()):
        tally.add(DeleteFile((b"a",)), reply)
    tally.add(GetMetadata((b"a",)), Failure("ENOENT"))
    assert tally.snapshot() == {
        ("DeleteFile", "ok"): 2,
        ("DeleteFile", "ENOENT"): 1,
        ("GetMetadata", "ENOENT"): 1,
    }
