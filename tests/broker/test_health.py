"""/health and /metrics: true, bounded, and not to be stopped by who asks badly."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from broker.counters import Counters
from broker.errors import StartupError
from broker.health import _MAX_REQUESTS, HealthServer, Pulse
from broker.metrics import Gauges, Metrics


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(time.monotonic())


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def server(pulse: Pulse, counters: Counters) -> Iterator[HealthServer]:
    def two() -> int:
        return 2

    server = HealthServer("127.0.0.1:0", pulse, Metrics(counters, Gauges(two, two, two, two, two, two), pulse).page)
    server.start()
    yield server
    server.stop()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{server.address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_loop_that_turns_is_healthy(server: HealthServer, pulse: Pulse) -> None:
    now = time.monotonic()
    pulse.turn(now - 0.25, now, 3)
    status, body = get(server, "/health")
    report = json.loads(body)
    assert (status, report["status"], report["peers"]) == (200, "ok", 3)
    assert report["last_turn_seconds_ago"] < 5
    assert "uptime_seconds" in report


def test_a_loop_that_stalls_is_reported(server: HealthServer, pulse: Pulse) -> None:
    pulse.turned = time.monotonic() - 6
    status, body = get(server, "/health")
    assert (status, json.loads(body)["status"]) == (503, "stalled")


def test_metrics_show_what_was_counted(server: HealthServer, pulse: Pulse, counters: Counters) -> None:
    counters.to_agent.add(100)
    counters.feed.add(7)
    counters.refused["not-paired"] += 4
    counters.authentications["refused"] += 1
    pulse.turn(1.0, 1.5, 0)
    status, page = get(server, "/metrics")
    assert status == 200
    for line in (
        'remotefs_broker_messages_total{direction="to_agent"} 1.0',
        'remotefs_broker_bytes_total{direction="to_agent"} 100.0',
        'remotefs_broker_bytes_total{direction="feed"} 7.0',
        'remotefs_broker_refused_total{code="not-paired"} 4.0',
        'remotefs_broker_authentications_total{outcome="refused"} 1.0',
        "remotefs_broker_lanes 2.0",
        "remotefs_broker_spool_bytes 2.0",
        "remotefs_broker_loop_longest_turn_seconds 0.5",
    ):
        assert line in page.splitlines()
    assert "remotefs_broker_loop_longest_turn_seconds 0.0" in get(server, "/metrics")[1]


def test_it_answers_again_and_again(server: HealthServer) -> None:
    assert {get(server, "/health")[0] for _ in range(2 * _MAX_REQUESTS)} == {200}


def test_other_paths_and_methods_are_refused(server: HealthServer) -> None:
    assert get(server, "/")[0] == 404
    assert get(server, "/metrics/../etc/passwd")[0] == 404
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), 5) as plain:
        plain.sendall(b"POST /health HTTP/1.0\r\n\r\n")
        assert b"501" in plain.makefile("rb").readline()


def test_who_connects_and_says_nothing_does_not_stop_it_for_others(server: HealthServer) -> None:
    host, port = server.address.split(":")
    idle = [socket.create_connection((host, int(port)), 5) for _ in range(_MAX_REQUESTS - 1)]
    try:
        assert get(server, "/health")[0] == 200
    finally:
        for one in idle:
            one.close()


def test_more_than_it_answers_at_a_time_are_turned_away(server: HealthServer) -> None:
    host, port = server.address.split(":")
    idle = [socket.create_connection((host, int(port)), 5) for _ in range(_MAX_REQUESTS)]
    try:
        with socket.create_connection((host, int(port)), 5) as late:
            assert late.recv(1) == b""
    finally:
        for one in idle:
            one.close()


def test_an_address_in_use_is_one_sentence(server: HealthServer, pulse: Pulse) -> None:
    with pytest.raises(StartupError, match=r"metrics.address: cannot listen on .*: Address already in use"):
        HealthServer(server.address, pulse, lambda: b"")
