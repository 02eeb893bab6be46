"""The Prometheus page of an agent, served by prometheus_client's own server.

The one rule: nothing is added to the way of a request or a change; a scrape reads numbers that are kept anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from peer.agent.feeds import FeedCounts
from peer.agent.metadata_cache import Counts
from peer.agent.watch_counts import Watched
from peer.errors import PeerError
from schema.settings import split_address

_STOP_SECONDS: Final = 1.0


class MetricsAddressTaken(PeerError):
    """The address for metrics cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the present values come from; each is called by the scraping thread, so each must be safe to."""

    requests: Callable[[], dict[tuple[str, str], int]]
    """Answers by kind of request and outcome."""
    open_files: Callable[[], int]
    watched: Callable[[], Watched]
    feeds: Callable[[], FeedCounts]
    cache: Callable[[], Counts]


class AgentMetrics(Collector):
    """One agent's metrics, in a registry of their own, so that several agents fit into one process."""

    def __init__(self, sources: Sources) -> None:
        self._sources: Final = sources

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        requests = CounterMetricFamily("remotefs_agent_requests", "Requests answered.", labels=["kind", "outcome"])
        for labels, count in sorted(self._sources.requests().items()):
            requests.add_metric(labels, count)
        yield requests
        watched, feeds, cache = self._sources.watched(), self._sources.feeds(), self._sources.cache()
        for name, text, count in (
            ("watch_overflows", "Times that inotify lost events because its queue was full.", watched.overflows),
            ("watch_limit_refusals", "Directories that the watch limit left without a watch.", watched.limits),
            ("watch_faults", "Faults of the watcher itself.", watched.faults),
            ("feed_epochs", "Times that the change feeds began anew.", watched.epochs),
            ("feed_batches", "Batches published, heartbeats among them.", feeds.batches),
            ("feed_changes", "Changes published.", feeds.changes),
            ("feed_bytes", "Bytes of sealed batches published.", feeds.bytes),
            ("cache_pages_proven", "Pages of directories whose changes had all been told when asked.", cache.proven),
            (
                "cache_pages_unproven",
                "Pages that were looked at: not under watch, or something was on.",
                cache.unproven,
            ),
            ("cache_hits", "Names in pages whose attributes were known.", cache.hits),
            ("cache_misses", "Names in pages whose attributes were looked at.", cache.misses),
        ):
            yield CounterMetricFamily(f"remotefs_agent_{name}", text, value=count)
        for name, text, value in (
            ("open_files", "Open files and directories of clients.", self._sources.open_files()),
            ("watched_directories", "Directories under watch.", watched.directories),
            ("watches_settled", "1 when every directory that can be watched is, 0 while it is not.", watched.settled),
            ("cache_names", "Names of directories that are kept.", cache.names),
            ("cache_bytes", "Memory of what is kept of directories, about.", cache.bytes),
            ("feeds", "Change feeds, one for each set of directories that clients may see.", feeds.feeds),
            ("feed_followers", "Clients that were told where a feed is, and may still follow it.", feeds.followers),
        ):
            yield GaugeMetricFamily(f"remotefs_agent_{name}", text, value=value)


def serve_metrics(address: str, sources: Sources) -> Callable[[], None]:
    """Serve ``/metrics`` on `address` (HOST:PORT) in a thread; gives what ends that. Raises `MetricsAddressTaken`."""
    host, port = split_address(address)
    registry = CollectorRegistry()
    registry.register(AgentMetrics(sources))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or str(error)
        raise MetricsAddressTaken(
            f"metrics.address: cannot listen on {address}: {why}; choose another or stop what has it"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(_STOP_SECONDS)

    return stop
