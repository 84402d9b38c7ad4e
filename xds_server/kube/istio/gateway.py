"""Istio's Gateway: the ports, hosts and certificates of a proxy at the edge."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import at_most_one, check, is_address, rule
from xds_server.kube.units import Port

TLSVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class ServerPort(Model, frozen=True, eq=False, gc=False):
    """protocol: HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP or TLS, in any case. target_port is deprecated."""

    number: Port
    protocol: str
    name: str
    target_port: Port | None = None


class TLSCertificate(Model, frozen=True, eq=False, gc=False):
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Model, frozen=True, eq=False, gc=False):
    NULLABLE = frozenset({"insecureSkipVerify"})

    mode: Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] = (
        "PASSTHROUGH"
    )
    https_redirect: bool = False
    credential_name: str = ""
    credential_names: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    ca_cert_credential_name: str = ""
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Meta(max_length=2)] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSVersion = "TLS_AUTO"
    max_protocol_version: TLSVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None

    def __post_init__(self) -> None:
        check(
            at_most_one(self, "credential_names", "tls_certificates"),
            at_most_one(self, "credential_names", "credential_name") if self.credential_name else None,
            at_most_one(self, "credential_name", "tls_certificates") if self.credential_name else None,
        )


class Server(Model, frozen=True, eq=False, gc=False):
    port: ServerPort
    hosts: tuple[str, ...]
    name: str = ""
    bind: str = ""
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""

    def __post_init__(self) -> None:
        check(rule(not self.bind or is_address(self.bind), ("bind",), f"{self.bind!r} is not an IP address"))


class GatewaySpec(Model, frozen=True, eq=False, gc=False):
    selector: dict[str, str] = {}
    servers: tuple[Server, ...] = ()


class Gateway(Object, frozen=True, eq=False, gc=False):
    GROUP = "networking.istio.io"
    KIND = "Gateway"

    spec: GatewaySpec = GatewaySpec()
    status: Ignored | None = None
