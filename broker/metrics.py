"""The Prometheus page: the counters and gauges of the broker, read when asked for.

The one rule: nothing is added to the hot path; a scrape reads the plain numbers that the relay keeps anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.counters import Counters
from broker.health import Pulse


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where the present values come from; each is called by the scraping thread, so each must be safe to."""

    peers: Callable[[], int]
    instances: Callable[[], int]
    lanes: Callable[[], int]
    tokens: Callable[[], int]
    topics: Callable[[], int]
    spool_bytes: Callable[[], int]


class Metrics(Collector):
    """One broker's metrics, in a registry of their own, so that several brokers fit into one process."""

    def __init__(self, counters: Counters, gauges: Gauges, pulse: Pulse) -> None:
        self._counters = counters
        self._gauges = gauges
        self._pulse = pulse
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self) -> bytes:
        """The text of ``/metrics``."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        counters = self._counters
        flows = {"to_agent": counters.to_agent, "to_client": counters.to_client, "feed": counters.feed}
        messages = CounterMetricFamily("remotefs_broker_messages", "Messages forwarded.", labels=["direction"])
        size = CounterMetricFamily("remotefs_broker_bytes", "Bytes of bodies forwarded.", labels=["direction"])
        for direction, flow in flows.items():
            messages.add_metric([direction], flow.messages)
            size.add_metric([direction], flow.bytes)
        yield messages
        yield size
        for name, text, label, counts in (
            ("refused", "Messages refused.", "code", counters.refused),
            ("feed_refused", "Publications and subscriptions refused.", "reason", counters.feed_refused),
            ("dropped", "Messages taken but not delivered.", "reason", counters.dropped),
            ("authentications", "Connections that asked to be admitted.", "outcome", counters.authentications),
        ):
            family = CounterMetricFamily(f"remotefs_broker_{name}", text, labels=[label])
            for value, count in sorted(counts.copy().items()):
                family.add_metric([value], count)
            yield family
        for name, text, value_of in (
            ("peers", "Peers with a live instance.", self._gauges.peers),
            ("instances", "Live instances of peers.", self._gauges.instances),
            ("lanes", "Registered connections.", self._gauges.lanes),
            ("tokens", "Session tokens held.", self._gauges.tokens),
            ("topics", "Change feeds that may publish.", self._gauges.topics),
            ("spool_bytes", "Bytes waiting for slow peers.", self._gauges.spool_bytes),
            ("loop_longest_turn_seconds", "Longest turn of the loop since the last scrape.", self._pulse.take_longest),
        ):
            yield GaugeMetricFamily(f"remotefs_broker_{name}", text, value=value_of())
