"""Http -> `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from xds_server.envoy.filters import GRPC_ORDER, GRPC_SERVER_ORDER, ORDER, http_filters
from xds_server.envoy.proto import ADS
from xds_server.mesh.model import Http

_EDGE: Mapping[str, Any] = {
    "use_remote_address": {"value": True},
    # What a client claims about its certificate is replaced by what it has shown.
    "forward_client_cert_details": "SANITIZE_SET",
    "set_current_client_cert_details": {"subject": {"value": True}, "cert": True, "uri": True, "dns": True},
    # Against clients that send their headers a byte at a time. The body may take as long as it likes.
    "request_headers_timeout": {"seconds": 60},
}
"""For clients that are not trusted."""

_INSIDE: Mapping[str, Any] = {
    "use_remote_address": {"value": False},
    # Istio answers 426 to HTTP/1.0, which old clients, ab and nginx before 1.29.7 speak.
    "http_protocol_options": {"accept_http_10": True},
}
"""For clients within the mesh."""


_HTTP3: Mapping[str, Any] = {"codec_type": "HTTP3", "http3_protocol_options": {}}
"""Over QUIC; over TCP, the codec is found out by ALPN."""


def http_connections(value: Http, quic: bool = False) -> Any:
    return http_connection_manager_pb2.HttpConnectionManager(
        stat_prefix=value.stat_prefix,
        rds={"config_source": ADS, "route_config_name": value.route_table},
        http_filters=http_filters(ORDER),
        # Route and policy see the path that the service will see (https://github.com/envoyproxy/envoy/issues/6435).
        normalize_path={"value": True},
        # Off, as in Istio: watches, server-sent events and gRPC streams may be quiet for longer than any limit.
        stream_idle_timeout={"seconds": 0},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        **(_EDGE if value.edge else _INSIDE),
        **(_HTTP3 if quic else {}),
    )


def api_connections(route_table: str) -> Any:
    """For a proxyless gRPC client, which reads the routes and the filters only."""
    return http_connection_manager_pb2.HttpConnectionManager(
        rds={"config_source": ADS, "route_config_name": route_table},
        http_filters=http_filters(GRPC_ORDER),
    )


def served_connections(name: str) -> Any:
    """For an xDS-enabled gRPC server: it answers every request itself."""
    every = {"match": {"prefix": "/"}, "non_forwarding_action": {}}
    return http_connection_manager_pb2.HttpConnectionManager(
        route_config={"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [every]}]},
        http_filters=http_filters(GRPC_SERVER_ORDER),
    )
