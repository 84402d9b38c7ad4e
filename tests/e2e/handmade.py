"""Resources made by hand, good and bad, for a real Envoy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  the listener's JSON names it
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # noqa: F401  the listener's JSON names it
    http_connection_manager_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401  the cluster's JSON names it
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from google.protobuf import json_format

from xds_server.diagnostics import ObjectRef
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Resource, sealed
from xds_server.mesh.origin import Origin

ADS = {"ads": {}, "resource_api_version": "V3"}
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
UPSTREAM_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def _sealed(type_url: str, kind: Any, name: str, value: Mapping[str, Any], references: Iterable[Any] = ()) -> Resource:
    origin = Origin(ObjectRef("", "Handmade", "default", name))
    return sealed(type_url, name, json_format.ParseDict(value, kind()), [origin], references)


def cluster(name: str, timeout: str = "1s", secret: str = "", **more: Any) -> Resource:
    """An EDS cluster; with a secret, one whose validation context comes over SDS."""
    value = {
        "name": name,
        "type": "EDS",
        "connect_timeout": timeout,
        "eds_cluster_config": {"eds_config": ADS},
        **more,
    }
    references = [(ENDPOINT, name)]
    if secret:
        sds = {"name": secret, "sds_config": ADS}
        tls = {"@type": UPSTREAM_TLS, "common_tls_context": {"tls_certificate_sds_secret_configs": [sds]}}
        value["transport_socket"] = {"name": "tls", "typed_config": tls}
        references.append((SECRET, secret))
    return _sealed(CLUSTER, Cluster, name, value, references)


def assignment(name: str, *ports: int, address: str = "127.0.0.1") -> Resource:
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}} for port in ports
    ]
    locality = {"lb_endpoints": endpoints, "load_balancing_weight": 1, "locality": {"zone": "here"}}
    value = {"cluster_name": name, "endpoints": [locality] if ports else []}
    return _sealed(ENDPOINT, ClusterLoadAssignment, name, value)


def listener(name: str, port: int, routes: str, bind: bool = True, address: str = "127.0.0.1") -> Resource:
    """An HTTP listener with routes over RDS."""
    manager = {
        "@type": HCM,
        "stat_prefix": name,
        "rds": {"route_config_name": routes, "config_source": ADS},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    value = {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "bind_to_port": bind,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return _sealed(LISTENER, Listener, name, value, [(ROUTE, routes)])


def routes(name: str, weights: Mapping[str, int], *more: Mapping[str, Any]) -> Resource:
    """Everything goes to clusters by weight, after the routes in `more`."""
    weighted = [{"name": cluster, "weight": weight} for cluster, weight in weights.items()]
    last = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": weighted}}}
    value = {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [*more, last]}]}
    return _sealed(ROUTE, RouteConfiguration, name, value, [(CLUSTER, cluster) for cluster in weights])


def secret(name: str, certificate: str, key: str) -> Resource:
    tls = {"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}
    return _sealed(SECRET, Secret, name, {"name": name, "tls_certificate": tls})


def bad_regex(name: str, to: str) -> Resource:
    """Refused without naming the resource."""
    match = {"safe_regex": {"regex": "(unclosed"}}
    return routes(name, {to: 1}, {"match": match, "route": {"cluster": to}})


def negative_timeout(name: str, to: str) -> Resource:
    """Refused by validation, with a dump of the message."""
    return routes(name, {to: 1}, {"match": {"prefix": "/x"}, "route": {"cluster": to, "timeout": "-1s"}})


def zero_refresh(name: str) -> Resource:
    """Refused by validation at decoding: all clusters of the response are lost with it."""
    return cluster(name, dns_refresh_rate="0s")


def static_hostname(name: str) -> Resource:
    """Refused when it is built: a static cluster whose endpoint is a host name. Envoy names it."""
    host = {"socket_address": {"address": "not-an-ip", "port_value": 80}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": host}}]}]
    value = {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}
    return _sealed(CLUSTER, Cluster, name, value)
