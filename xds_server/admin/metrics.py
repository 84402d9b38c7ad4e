"""Metrics of the sources."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from xds_server.sources.health import Health


class SourceMetrics(Collector):
    """Asks when it is scraped."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[GaugeMetricFamily]:
        synced = GaugeMetricFamily("xds_server_source_synced", "1 once the source was read.", labels=["source"])
        stale = GaugeMetricFamily(
            "xds_server_source_stale_seconds",
            "For how long the source has been lost, 0 if it is not.",
            labels=["source"],
        )
        for row in self._health.statuses():
            synced.add_metric([row.name], float(row.synced))
            stale.add_metric([row.name], row.stale_seconds)
        yield from (synced, stale)
