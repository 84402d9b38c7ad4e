"""How a cluster speaks HTTP (`envoy.extensions.upstreams.http.v3.HttpProtocolOptions`)."""

from __future__ import annotations

from typing import Any

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from xds_server.envoy.proto import duration, packed, wrapped
from xds_server.mesh.model import Backend, Connections, Http2Keepalive, Outlier

_NAME = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def speaks_http2(backend: Backend) -> bool:
    """Whether every request to it is HTTP/2."""
    connections = backend.policy.connections
    return not connections.use_client_protocol and (
        backend.port.protocol.is_http2 or bool(connections.upgrade_to_http2)
    )


def http_options(backend: Backend) -> dict[str, Any]:
    """The entry for `typed_extension_protocol_options`; empty for plain HTTP/1.1 and for TCP."""
    connections = backend.policy.connections
    parts = {
        "common_http_protocol_options": _common(connections),
        "upstream_http_protocol_options": _server_name(backend),
        "outlier_detection": _errors(backend.policy.outlier),
        **_version(connections, speaks_http2(backend)),
    }
    if all(value is None for value in parts.values()):
        return {}
    if "use_downstream_protocol_config" not in parts and parts["explicit_http_config"] is None:
        parts["explicit_http_config"] = {"http_protocol_options": {}}  # one of the versions must be named
    return {_NAME: packed(http_protocol_options_pb2.HttpProtocolOptions(**parts))}


def _version(connections: Connections, http2: bool) -> dict[str, Any]:
    options = {
        "max_concurrent_streams": wrapped(connections.max_concurrent_streams),
        "connection_keepalive": _keepalive(connections.http2_keepalive),
    }
    if connections.use_client_protocol:
        return {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": options}}
    return {"explicit_http_config": {"http2_protocol_options": options} if http2 else None}


def _keepalive(keepalive: Http2Keepalive | None) -> dict[str, Any] | None:
    if keepalive is None:
        return None
    return {"interval": duration(keepalive.interval), "timeout": duration(keepalive.timeout)}


def _errors(outlier: Outlier | None) -> dict[str, Any] | None:
    """What outlier detection counts as errors, where it is not 500 to 599."""
    if outlier is None or not outlier.error_statuses:
        return None
    one_of = "|".join(str(status) for status in outlier.error_statuses)
    status = {"name": ":status", "string_match": {"safe_regex": {"regex": one_of}}}
    return {"error_matcher": {"http_response_headers_match": {"headers": [status]}}}


def _common(connections: Connections) -> dict[str, Any] | None:
    parts = {
        "idle_timeout": duration(connections.http_idle_timeout or connections.tcp_idle_timeout),
        "max_connection_duration": duration(connections.max_duration),
        "max_requests_per_connection": wrapped(connections.max_requests_per_connection),
    }
    return parts if any(parts.values()) else None


def _server_name(backend: Backend) -> dict[str, Any] | None:
    """Without an SNI of its own, TLS asks for the host of the request, and its certificate must be for it."""
    tls = backend.policy.tls
    if tls is None or tls.sni:
        return None
    return {"auto_sni": True, "auto_san_validation": tls.verify and not tls.subject_alt_names}
