"""The delivery, as Prometheus sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from xds_server.envoy.resource import TYPES
from xds_server.fleet import Fleet
from xds_server.xds.tally import BOUNDS, Histogram

_SHORT = {type_url: short for short, type_url in TYPES.items()}


class DeliveryMetrics(Collector):
    """Asks the fleet when it is scraped. Register it with the registry that is served."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        tally = self._fleet.tally
        yield self._streams()
        yield self._states()
        yield self._resources()
        yield _counter("xds_server_pushes", "Responses sent.", tally.pushes)
        yield _counter("xds_server_push_bytes", "Bytes of the responses sent.", tally.bytes)
        yield _counter("xds_server_nacks", "Responses that a proxy refused.", tally.nacks)
        yield _counter("xds_server_stale_requests", "Requests with a nonce that waits for no answer.", tally.stale)
        refused = CounterMetricFamily("xds_server_refused_streams", "Streams refused.", labels=["status"])
        for status, count in sorted(tally.refused_streams.items()):
            refused.add_metric([status], count)
        yield refused
        answers = HistogramMetricFamily("xds_server_ack_seconds", "From a response to its ACK.", labels=["type"])
        for type_url, histogram in sorted(tally.answers.items()):
            answers.add_metric([_SHORT.get(type_url, type_url)], *_histogram(histogram))
        yield answers
        for name, what, histogram in (
            ("convergence", "From a change being offered to a proxy having accepted all of it.", tally.convergence),
            ("translation", "Translation for one group of proxies.", tally.translation),
        ):
            family = HistogramMetricFamily(f"xds_server_{name}_seconds", what)
            family.add_metric([], *_histogram(histogram))
            yield family

    def _streams(self) -> Metric:
        streams = GaugeMetricFamily("xds_server_streams", "Connected streams.", labels=["variant"])
        counts = Counter(status.variant for status in self._fleet.proxies())
        for variant in ("sotw", "delta"):
            streams.add_metric([variant], counts[variant])
        return streams

    def _states(self) -> Metric:
        states = GaugeMetricFamily("xds_server_stream_types", "Types of streams by state.", labels=["type", "state"])
        counts = Counter((t.type_url, t.state) for status in self._fleet.proxies() for t in status.types)
        for (type_url, state), count in sorted(counts.items()):
            states.add_metric([_SHORT[type_url], state], count)
        return states

    def _resources(self) -> Metric:
        resources = GaugeMetricFamily("xds_server_resources", "Resources of all groups.", labels=["type", "state"])
        offered: Counter[tuple[str, str]] = Counter()
        for group in self._fleet.groups():
            if group.state.published:
                for type_url, table in group.state.published.tables.by_type.items():
                    offered[type_url, "offered"] += len(table.rows)
            for resource in group.state.refusals:
                offered[resource.type_url, "refused"] += 1
        for (type_url, state), count in sorted(offered.items()):
            resources.add_metric([_SHORT.get(type_url, type_url), state], count)
        return resources


def _counter(name: str, what: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=["type"])
    for type_url, count in sorted(counts.items()):
        family.add_metric([_SHORT.get(type_url, "other")], count)
    return family


def _histogram(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    bounds = (*(str(bound) for bound in BOUNDS), "+Inf")
    return list(zip(bounds, map(float, accumulate(histogram.buckets)), strict=True)), histogram.total
