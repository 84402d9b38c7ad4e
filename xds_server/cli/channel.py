"""The gRPC channel of the commands that ask a running server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xds_server.cli.exits import CannotRun

if TYPE_CHECKING:
    import grpc

SERVICE = "xds_server.introspection.v1.Introspection"
SECONDS = 10.0


_SERVER = click.option(
    "--server",
    default="127.0.0.1:15010",
    show_default=True,
    envvar="XDS_SERVER_SERVER",
    show_envvar=True,
    help="Where the server's xDS port is; it answers clients on its own machine only.",
)
_TLS = (
    click.option("--tls-ca", type=click.Path(dir_okay=False), help="Who signed the server's certificate."),
    click.option("--tls-cert", type=click.Path(dir_okay=False), help="The client's certificate."),
    click.option("--tls-key", type=click.Path(dir_okay=False), help="The key of the client's certificate."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--server and the TLS files, for a click command."""
    return _SERVER(tls_options(command))


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The TLS files, for a click command."""
    for option in reversed(_TLS):
        command = option(command)
    return command


def ask(
    method: str, request: Any, response: Any, server: str, tls_ca: str | None, tls_cert: str | None, tls_key: str | None
) -> Any:
    """The server's answer, of the class `response`. Raises CannotRun with what to do next."""
    import grpc  # slow, and not needed for --help

    with _channel(server, tls_ca, tls_cert, tls_key) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            return call(request, timeout=SECONDS)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code is grpc.StatusCode.UNAVAILABLE:
                raise CannotRun(f"no server answers on {server}: {details}; see --server and --tls-ca") from None
            raise CannotRun(f"the server on {server} says {code.name}: {details}") from None


def _channel(server: str, tls_ca: str | None, tls_cert: str | None, tls_key: str | None) -> grpc.Channel:
    import grpc

    if not tls_ca:
        return grpc.insecure_channel(server)
    ca, certificate, key = (_read(path) if path else None for path in (tls_ca, tls_cert, tls_key))
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(ca, key, certificate))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from None
