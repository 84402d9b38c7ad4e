"""`xds-server bootstrap`: the file that an Envoy starts with, to be configured by this server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from xds_server.cli.options import Command
from xds_server.cli.output import FORMATS, formatted

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


def _labels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    for value, (key, equals, _text) in zip(values, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"{value!r} must be of the form key=value")
    return tuple((key, text) for key, _, text in pairs)


@click.command("bootstrap", cls=Command)
@click.option("--node-id", default="", help="The proxy's name in logs and status.  [default: ROLE.NAMESPACE]")
@click.option("--role", type=click.Choice(["gateway", "sidecar"]), default="gateway", show_default=True)
@click.option("--namespace", "-n", default="default", show_default=True, help="Namespace of the proxy.")
@click.option("--label", "-l", "labels", multiple=True, callback=_labels, help="key=value; repeat for more.")
@click.option("--service-account", default="", help="Service account of the proxy's workload.")
@click.option(
    "--interception",
    type=click.Choice(["NONE", "REDIRECT", "TPROXY"]),
    default="NONE",
    show_default=True,
    help="How traffic gets into a sidecar; NONE: listeners bind 127.0.0.1:PORT of each service.",
)
@click.option("--http-proxy-port", type=click.IntRange(0, 65535), default=0, help="A sidecar's HTTP proxy port.")
@click.option("--unprivileged", is_flag=True, help="The proxy cannot bind ports below 1024.")
@click.option("--xds-host", default="127.0.0.1", show_default=True, help="Address or name of the xDS server.")
@click.option("--xds-port", type=click.IntRange(1, 65535), default=15010, show_default=True)
@click.option("--admin-port", type=click.IntRange(0, 65535), default=9901, show_default=True, help="On 127.0.0.1.")
@click.option("--admin-uds", type=click.Path(path_type=Path), help="A unix socket for the admin interface instead.")
@click.option("--output", "-o", type=click.Choice(FORMATS), default="yaml", show_default=True)
def command(
    xds_host: str, xds_port: int, admin_port: int, admin_uds: Path | None, output: str, node_id: str, **node: Any
) -> None:
    """Print an Envoy bootstrap: `xds-server bootstrap > envoy.yaml && envoy -c envoy.yaml`.

    It gets everything over one delta ADS stream, with keepalive.
    """
    if node["role"] != "sidecar":
        if node["http_proxy_port"]:
            raise click.UsageError("--http-proxy-port is for --role sidecar")
        node["interception"] = ""
    who = Node(id=node_id or f"{node['role']}.{node['namespace']}", **node)
    admin = Admin(admin_port, str(admin_uds) if admin_uds else "")
    click.echo(formatted(bootstrap(who, xds_host, xds_port, admin), output), nl=False)
