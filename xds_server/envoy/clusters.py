"""Backend -> cluster (`envoy.config.cluster.v3.Cluster`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2

from xds_server.envoy import tls
from xds_server.envoy.endpoints import localities
from xds_server.envoy.http_options import http_options, speaks_http2
from xds_server.envoy.load_balancing import load_balancing
from xds_server.envoy.proto import ADS, duration, packed, whole_seconds, wrapped
from xds_server.envoy.resource import CLUSTER, ENDPOINT, Resource, sealed
from xds_server.mesh.model import (
    Algorithm,
    Backend,
    BackendPolicy,
    Connections,
    Discovery,
    Keepalive,
    Outlier,
    RetryBudget,
)

_UNLIMITED = 4294967295


def cluster(backend: Backend) -> Resource:
    policy = backend.policy
    connections = policy.connections
    message = cluster_pb2.Cluster(
        name=backend.name,
        **_discovery(backend),
        connect_timeout=duration(connections.connect_timeout),
        circuit_breakers={"thresholds": [_limits(connections, policy.retry_budget)]},
        upstream_connection_options=_keepalive(connections.keepalive),
        upstream_bind_config=_bind(backend.source_address),
        outlier_detection=_outlier_detection(policy.outlier),
        common_lb_config=_common(policy),
        typed_extension_protocol_options=http_options(backend),
        transport_socket=_transport(backend),
        metadata=_metadata(backend),
    )
    return sealed(CLUSTER, backend.name, message, backend.origins, _references(backend))


def _references(backend: Backend) -> Iterator[tuple[str, str]]:
    if _kind(backend) is Discovery.ENDPOINTS:
        yield ENDPOINT, backend.name
    yield from tls.references(backend.policy.tls)


def _kind(backend: Backend) -> Discovery:
    # Passing a connection on to where it wanted to go leaves nothing to discover (Istio's PASSTHROUGH).
    passthrough = backend.policy.load_balancing.algorithm is Algorithm.PASSTHROUGH
    return Discovery.ORIGINAL_DESTINATION if passthrough else backend.discovery


def _discovery(backend: Backend) -> dict[str, Any]:
    """How the cluster finds its endpoints, and how it chooses among them."""
    kind = _kind(backend)
    if kind is Discovery.ORIGINAL_DESTINATION:
        return {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", **_other_port(backend.port.target)}
    balancing = load_balancing(backend.policy.load_balancing)
    if kind is Discovery.ENDPOINTS:
        return {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}, **balancing}
    known = {
        "load_assignment": {
            "cluster_name": backend.name,
            "endpoints": localities(backend.fixed, backend.locality_weights),
        },
        **balancing,
    }
    if kind is Discovery.FIXED:
        return {"type": "STATIC", **known}
    return {
        "cluster_type": {"name": "envoy.clusters.dns", "typed_config": packed(_dns(kind))},
        **known,
    }


def _other_port(target: int) -> dict[str, Any]:
    return {"original_dst_lb_config": {"upstream_port_override": wrapped(target)}} if target else {}


def _dns(kind: Discovery) -> dns_cluster_pb2.DnsCluster:
    """Istio's figures. The jitter keeps a thousand proxies from asking in the same moment."""
    return dns_cluster_pb2.DnsCluster(
        dns_refresh_rate={"seconds": 60},
        # A name that cannot be resolved yet is asked for again soon, not after the next refresh.
        dns_failure_refresh_rate={"base_interval": {"seconds": 1}, "max_interval": {"seconds": 10}},
        respect_dns_ttl=True,
        dns_jitter={"nanos": 100_000_000},
        # Envoy's default, AUTO, takes IPv6 whenever there is a record of it, reachable or not.
        dns_lookup_family="V4_PREFERRED",
        all_addresses_in_single_endpoint=kind is Discovery.DNS_ROUND_ROBIN,
    )


def _limits(connections: Connections, budget: RetryBudget | None) -> dict[str, Any]:
    """Envoy's own limits (1,024 connections, 3 retries) surprise who never asked for one: Istio's are none."""
    return {
        "max_connections": _limit(connections.max_connections),
        "max_pending_requests": _limit(connections.max_pending_requests),
        "max_requests": _limit(connections.max_requests),
        "max_retries": _limit(connections.max_retries),
        "track_remaining": True,
        "retry_budget": budget
        and {"budget_percent": wrapped(budget.percent), "min_retry_concurrency": wrapped(budget.min_concurrency)},
    }


def _limit(value: int | None) -> dict[str, float] | None:
    return wrapped(_UNLIMITED if value is None else value)


def _keepalive(keepalive: Keepalive | None) -> dict[str, Any] | None:
    if keepalive is None:
        return None
    return {
        "tcp_keepalive": {
            "keepalive_probes": wrapped(keepalive.probes),
            "keepalive_time": whole_seconds(keepalive.time),
            "keepalive_interval": whole_seconds(keepalive.interval),
        }
    }


def _bind(source_address: str) -> dict[str, Any] | None:
    return {"source_address": {"address": source_address, "port_value": 0}} if source_address else None


def _outlier_detection(outlier: Outlier | None) -> dict[str, Any] | None:
    """Only what was asked for ejects hosts: Envoy's statistical check is off, as in Istio."""
    if outlier is None:
        return None
    return {
        **_check("consecutive_5xx", outlier.consecutive_5xx),
        **_check("consecutive_gateway_failure", outlier.consecutive_gateway),
        **_check("consecutive_local_origin_failure", outlier.consecutive_local_origin),
        "split_external_local_origin_errors": outlier.split_local_origin,
        "interval": duration(outlier.interval),
        "base_ejection_time": duration(outlier.base_ejection_time),
        "max_ejection_percent": wrapped(outlier.max_ejection_percent),
        "enforcing_success_rate": wrapped(0),
        "enforcing_local_origin_success_rate": wrapped(0),
        **(_all_failed(outlier.all_failed) if outlier.all_failed else {}),
    }


def _all_failed(requests: int) -> dict[str, Any]:
    return {
        "failure_percentage_threshold": wrapped(99),  # more than that is all
        "failure_percentage_request_volume": wrapped(requests),
        "failure_percentage_minimum_hosts": wrapped(1),
        "enforcing_failure_percentage": wrapped(100),
    }


def _check(name: str, count: int | None) -> dict[str, Any]:
    """A check of consecutive errors: off for 0; for None as it is in Envoy without a word."""
    if count is None:
        return {}
    return {name: wrapped(count) if count else None, f"enforcing_{name}": wrapped(100 if count else 0)}


def _common(policy: BackendPolicy) -> dict[str, Any] | None:
    """Panic: below this share of healthy hosts Envoy uses the unhealthy ones as well; its own figure is 50 percent."""
    parts = {
        "healthy_panic_threshold": wrapped(policy.outlier.min_health_percent) if policy.outlier else None,
        "locality_weighted_lb_config": {} if policy.load_balancing.weighted_localities else None,
    }
    return parts if any(part is not None for part in parts.values()) else None


def _transport(backend: Backend) -> dict[str, Any] | None:
    """TLS, and before it the PROXY header, which is not encrypted."""
    policy = backend.policy
    socket = tls.client_socket(policy.tls, speaks_http2(backend)) if policy.tls else None
    if not policy.proxy_protocol:
        return socket
    inner = socket or {"name": "envoy.transport_sockets.raw_buffer", "typed_config": packed(raw_buffer_pb2.RawBuffer())}
    outer = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(
        config={"version": f"V{policy.proxy_protocol}"}, transport_socket=inner
    )
    return {"name": "envoy.transport_sockets.upstream_proxy_protocol", "typed_config": packed(outer)}


def _metadata(backend: Backend) -> dict[str, Any]:
    """Istio's metadata, as access logs and filters read it (`%CLUSTER_METADATA(istio:subset)%`)."""
    service = {"struct_value": {"host": backend.host}}  # a Struct within a Value is built from a plain dict
    fields: dict[str, Any] = {"services": {"list_value": {"values": [service]}}}
    if backend.subset:
        fields["subset"] = {"string_value": backend.subset}
    if backend.external:
        fields["external"] = {"bool_value": True}
    return {"filter_metadata": {"istio": {"fields": fields}}}
