"""The file that an Envoy or a gRPC client starts with, to be configured by this server."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from xds_server.mesh import names

HTTP_PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
DOWNSTREAM_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"


class Node(msgspec.Struct, frozen=True):
    """Who a proxy says it is. role: gateway, sidecar or grpc. labels choose the Gateways that select it. interception
    and http_proxy_port are for sidecars, "" and 0 leave them out. unprivileged: it cannot bind ports below 1024.
    dns_capture: a sidecar answers DNS for the services that it sees.
    node_name: the cluster's node that it runs on; from its labels the server knows the proxy's zone."""

    id: str
    role: str = "gateway"
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    interception: str = ""
    http_proxy_port: int = 0
    service_account: str = ""
    unprivileged: bool = False
    dns_capture: bool = False
    node_name: str = ""


class Admin(msgspec.Struct, frozen=True):
    """Where the Envoy's own admin interface listens: the unix socket, or else the port on loopback."""

    port: int = 9901
    socket: str = ""


class Tls(msgspec.Struct, frozen=True):
    """TLS to the server. Paths of PEM files: ca signs the server's certificate, certificate and key are the proxy's.
    server_name: whom the server's certificate must be for."""

    ca: str
    certificate: str
    key: str
    server_name: str


class Channel(msgspec.Struct, frozen=True):
    """The way to the xDS server. tls: None is plaintext."""

    host: str = "127.0.0.1"
    port: int = 15010
    tls: Tls | None = None


LOCAL = Channel()


def grpc_bootstrap(node: Node, channel: Channel = LOCAL) -> Any:
    """The bootstrap of a gRPC client or server (`GRPC_XDS_BOOTSTRAP`) as plain values: gRFC A27, A36, A65 (TLS)."""
    credentials: dict[str, Any] = {"type": "insecure"}
    if channel.tls:
        # gRPC compares the certificate with the host in server_uri; the name cannot be set.
        credentials = {
            "type": "tls",
            "config": {
                "ca_certificate_file": channel.tls.ca,
                "certificate_file": channel.tls.certificate,
                "private_key_file": channel.tls.key,
            },
        }
    host = f"[{channel.host}]" if ":" in channel.host else channel.host
    return {
        "xds_servers": [
            {
                "server_uri": f"{host}:{channel.port}",
                "channel_creds": [credentials],
                "server_features": ["xds_v3"],
            }
        ],
        "node": _node(node),
        "server_listener_resource_name_template": names.GRPC_SERVER,
    }


def bootstrap(node: Node, channel: Channel = LOCAL, admin: Admin | None = None) -> Any:
    """The bootstrap of an Envoy as plain values."""
    return {
        "node": _node(node),
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
        "static_resources": {"clusters": [_xds_cluster(channel)]},
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


def _node(node: Node) -> dict[str, Any]:
    return {"id": node.id, "cluster": node.namespace, "metadata": _metadata(node)}


def _metadata(node: Node) -> dict[str, Any]:
    values = {
        "ROLE": node.role,
        "NAMESPACE": node.namespace,
        "LABELS": dict(node.labels),
        "SERVICE_ACCOUNT": node.service_account,
        "INTERCEPTION_MODE": node.interception,
        "HTTP_PROXY_PORT": str(node.http_proxy_port) if node.http_proxy_port else "",
        "UNPRIVILEGED_POD": "true" if node.unprivileged else "",
        "DNS_CAPTURE": "true" if node.dns_capture else "",
        "NODE_NAME": node.node_name,
    }
    return {key: value for key, value in values.items() if value}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _admin_address(admin: Admin) -> dict[str, Any]:
    return {"pipe": {"path": admin.socket}} if admin.socket else _address("127.0.0.1", admin.port)


def _xds_cluster(channel: Channel) -> dict[str, Any]:
    cluster = {
        "name": "xds",
        "type": "STRICT_DNS",  # also takes an IP address
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(channel.host, channel.port)}}]}],
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
    return cluster | {"transport_socket": _tls(channel.tls)} if channel.tls else cluster


def _tls(tls: Tls) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            **({} if _is_address(tls.server_name) else {"sni": tls.server_name}),
            "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
                "alpn_protocols": ["h2"],
                "tls_certificates": [
                    {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
                ],
                "validation_context": {
                    "trusted_ca": {"filename": tls.ca},
                    # Without it, any certificate of the authority would do, also another proxy's.
                    "match_typed_subject_alt_names": [
                        {
                            "san_type": "IP_ADDRESS" if _is_address(tls.server_name) else "DNS",
                            "matcher": {"exact": tls.server_name},
                        }
                    ],
                },
            },
        },
    }


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
