"""`xds-server bootstrap`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xds_server.bootstrap import Admin, Channel, Node, Tls, bootstrap, grpc_bootstrap
from xds_server.cli.options import Command
from xds_server.cli.output import FORMATS, formatted


def _labels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    for value, (key, equals, _text) in zip(values, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"{value!r} must be of the form key=value")
    return tuple((key, text) for key, _, text in pairs)


@click.command("bootstrap", cls=Command)
@click.option("--node-id", default="", help="The proxy's name in logs and status.  [default: ROLE.NAMESPACE]")
@click.option("--role", type=click.Choice(["gateway", "sidecar", "grpc"]), default="gateway", show_default=True)
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
@click.option("--dns-capture", is_flag=True, help="A sidecar answers DNS for services, on 127.0.0.1:15053.")
@click.option("--node-name", default="", help="The cluster's node that the proxy runs on, which says where it is.")
@click.option("--xds-host", default="127.0.0.1", show_default=True, help="Address or name of the xDS server.")
@click.option("--xds-port", type=click.IntRange(1, 65535), default=15010, show_default=True, help="Port of it.")
@click.option("--tls-ca", default="", metavar="FILE", help="Who signs the server's certificate, PEM; means TLS.")
@click.option("--tls-cert", default="", metavar="FILE", help="The proxy's own certificate, PEM.")
@click.option("--tls-key", default="", metavar="FILE", help="The private key of it, PEM.")
@click.option("--tls-server-name", default="", help="Whom the server's certificate is for.  [default: --xds-host]")
@click.option("--admin-port", type=click.IntRange(0, 65535), default=9901, show_default=True, help="On 127.0.0.1.")
@click.option("--admin-uds", type=click.Path(path_type=Path), help="A unix socket for the admin interface instead.")
@click.option("--output", "-o", type=click.Choice(FORMATS), default="yaml", show_default=True)
def command(
    xds_host: str,
    xds_port: int,
    tls_ca: str,
    tls_cert: str,
    tls_key: str,
    tls_server_name: str,
    admin_port: int,
    admin_uds: Path | None,
    output: str,
    node_id: str,
    **node: Any,
) -> None:
    """Print an Envoy bootstrap: `xds-server bootstrap > envoy.yaml && envoy -c envoy.yaml`.

    It gets everything over one delta ADS stream, with keepalive. With --role grpc it is the file of
    GRPC_XDS_BOOTSTRAP instead. The paths of --tls-* are those that the proxy sees; `xds-server certs` makes the files.
    """
    if node["role"] != "sidecar":
        if node["http_proxy_port"]:
            raise click.UsageError("--http-proxy-port is for --role sidecar")
        if node["dns_capture"]:
            raise click.UsageError("--dns-capture is for --role sidecar")
        node["interception"] = ""
    if any((tls_ca, tls_cert, tls_key, tls_server_name)) and not all((tls_ca, tls_cert, tls_key)):
        raise click.UsageError("--tls-ca, --tls-cert and --tls-key belong together")
    if node["role"] == "grpc" and tls_server_name:
        raise click.UsageError("gRPC compares the certificate with --xds-host; it takes no other name")
    who = Node(id=node_id or f"{node['role']}.{node['namespace']}", **node)
    tls = Tls(tls_ca, tls_cert, tls_key, tls_server_name or xds_host) if tls_ca else None
    channel = Channel(xds_host, xds_port, tls)
    if node["role"] == "grpc":
        click.echo(formatted(grpc_bootstrap(who, channel), "json"), nl=False)
        return
    admin = Admin(admin_port, str(admin_uds) if admin_uds else "")
    click.echo(formatted(bootstrap(who, channel, admin), output), nl=False)
