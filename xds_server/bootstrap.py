"""The file that an Envoy starts with, to be configured by this server."""

from __future__ import annotations

from typing import Any

import msgspec

HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
DOWNSTREAM_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


class Node(msgspec.Struct, frozen=True):
    """Who an Envoy says it is. role: gateway or sidecar; labels choose the Gateways that select it; interception and
    http_proxy_port are for sidecars, "" and 0 leave them out. unprivileged: it cannot bind ports below 1024."""

    id: str
    role: str = "gateway"
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    interception: str = ""
    http_proxy_port: int = 0
    service_account: str = ""
    unprivileged: bool = False


class Admin(msgspec.Struct, frozen=True):
    """Where the Envoy's own admin interface listens: the unix socket, or else the port on loopback."""

    port: int = 9901
    socket: str = ""


def bootstrap(node: Node, xds_host: str = "127.0.0.1", xds_port: int = 15010, admin: Admin | None = None) -> Any:
    """The bootstrap as plain values."""
    return {
        "node": {"id": node.id, "cluster": node.namespace, "metadata": _metadata(node)},
        "admin": {"address": _admin_address(admin or Admin())},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {"clusters": [_xds_cluster(xds_host, xds_port)]},
        # Without a limit, Envoy warns at every start that it is unprotected against too many connections.
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": DOWNSTREAM_CONNECTIONS,
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 50_000,
                    },
                }
            ]
        },
    }


def _metadata(node: Node) -> dict[str, Any]:
    values = {
        "ROLE": node.role,
        "NAMESPACE": node.namespace,
        "LABELS": dict(node.labels),
        "SERVICE_ACCOUNT": node.service_account,
        "INTERCEPTION_MODE": node.interception,
        "HTTP_PROXY_PORT": str(node.http_proxy_port) if node.http_proxy_port else "",
        "UNPRIVILEGED_POD": "true" if node.unprivileged else "",
    }
    return {key: value for key, value in values.items() if value}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _admin_address(admin: Admin) -> dict[str, Any]:
    return {"pipe": {"path": admin.socket}} if admin.socket else _address("127.0.0.1", admin.port)


def _xds_cluster(host: str, port: int) -> dict[str, Any]:
    return {
        "name": "xds",
        "type": "STRICT_DNS",  # also takes an IP address
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
        "typed_extension_protocol_options": {
            HTTP_PROTOCOL_OPTIONS: {
                "@type": f"type.googleapis.com/{HTTP_PROTOCOL_OPTIONS}",
                "explicit_http_config": {
                    # Without keepalive a lost server goes unnoticed for hours, with stale endpoints (envoy#6323).
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        },
    }
