"""Tcp -> `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from xds_server.envoy.proto import duration
from xds_server.mesh.model import Destination, Tcp


def tcp_proxy(value: Tcp) -> Any:
    """Headers of a destination mean nothing here."""
    return tcp_proxy_pb2.TcpProxy(
        stat_prefix=value.stat_prefix,
        **_clusters(_live(value)),
        idle_timeout=duration(value.idle_timeout),
        max_downstream_connection_duration=duration(value.max_duration),
        hash_policy=[{"source_ip": {}}] if value.hash_source_ip else [],
        tunneling_config=value.tunnel and {"hostname": value.tunnel.target, "use_post": value.tunnel.post},
    )


def clusters(value: Tcp) -> Iterator[str]:
    """The clusters that it names."""
    return (destination.backend for destination in _live(value))


def _live(value: Tcp) -> tuple[Destination, ...]:
    return tuple(destination for destination in value.destinations if destination.weight)


def _clusters(destinations: tuple[Destination, ...]) -> dict[str, Any]:
    if len(destinations) == 1:
        return {"cluster": destinations[0].backend}
    weights = [{"name": destination.backend, "weight": destination.weight} for destination in destinations]
    return {"weighted_clusters": {"clusters": weights}}
