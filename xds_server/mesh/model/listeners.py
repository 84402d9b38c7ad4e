"""Where connections come in, and how they are protected."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from xds_server.kube.units import Duration
from xds_server.mesh.model.base import Value
from xds_server.mesh.model.routes import Destination
from xds_server.mesh.origin import Origin


class Direction(enum.Enum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class ClientCertificate(enum.Enum):
    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class ServerTLS(msgspec.Struct, frozen=True, gc=False):
    """TLS that a listener ends. certificates, trust: names of secrets. Versions: "" or "1.0" to "1.3"."""

    certificates: tuple[str, ...]
    trust: str = ""
    client_certificate: ClientCertificate = ClientCertificate.NONE
    min_version: str = "1.2"
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    certificate_hashes: tuple[str, ...] = ()
    certificate_spkis: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ("h2", "http/1.1")


class Http(msgspec.Struct, frozen=True, gc=False):
    """Requests routed by the `RouteTable` of this name. edge: the clients are outside of the mesh, so what
    they say about themselves (X-Forwarded-For, client certificate headers) is not trusted."""

    route_table: str
    stat_prefix: str
    edge: bool = False


class Tunnel(msgspec.Struct, frozen=True, gc=False):
    """A connection sent through an HTTP proxy. target: `host:port`, what the proxy is asked for. post: with POST
    and not with CONNECT."""

    target: str
    post: bool = False


class Tcp(msgspec.Struct, frozen=True, gc=False):
    """Connections passed on; no destinations: closed at once."""

    destinations: tuple[Destination, ...]
    stat_prefix: str
    idle_timeout: Duration | None = None
    max_duration: Duration | None = None
    hash_source_ip: bool = False
    tunnel: Tunnel | None = None


class ChainMatch(msgspec.Struct, frozen=True, gc=False):
    """All of it must hold; empty: always. port: the one that the client wanted to reach, 0 for any.
    detected_http: the first bytes are those of HTTP."""

    server_names: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    detected_http: bool = False
    tls: bool = False
    port: int = 0


class Chain(msgspec.Struct, frozen=True, gc=False):
    name: str
    match: ChainMatch
    traffic: Http | Tcp
    tls: ServerTLS | None = None
    origins: Sequence[Origin] = ()


class Listener(Value, frozen=True, eq=False, gc=False):
    """address: an IP or a unix socket path (then port is 0). default_chain: when no chain matches.

    binds: it opens the port; else it only takes what a listener with `hands_on` gives it.
    captures: connections come to it by redirection, so where they wanted to go must be found out first.
    transparent: the redirection is TPROXY, which keeps the client's address.
    hands_on: to the listener of the address that the client wanted to reach, if there is one.
    silent_ports: on these the server may speak first, so the client's first bytes are not waited for.
    proxy_protocol: connections begin with a PROXY header, in which the load balancer says who the client is.
    quic: the port is UDP, and every chain speaks HTTP/3 over QUIC with the chain's TLS.
    """

    name: str
    address: str
    port: int
    direction: Direction
    chains: tuple[Chain, ...]
    origins: Sequence[Origin]
    default_chain: Chain | None = None
    binds: bool = True
    captures: bool = False
    transparent: bool = False
    hands_on: bool = False
    silent_ports: tuple[int, ...] = ()
    proxy_protocol: bool = False
    quic: bool = False


class NameTable(Value, frozen=True, eq=False, gc=False):
    """A DNS server in the proxy, over UDP. hosts: names, sorted, and the addresses of each: a tuple, or `Pieces` of
    which those that did not change are known. Other names are asked for elsewhere."""

    name: str
    address: str
    port: int
    hosts: Sequence[tuple[str, tuple[str, ...]]]
    origins: Sequence[Origin]


class ApiListener(Value, frozen=True, eq=False, gc=False):
    """What a proxyless gRPC client asks for with the target `xds:///name`."""

    name: str
    route_table: str
    origins: Sequence[Origin]


class GrpcServer(Value, frozen=True, eq=False, gc=False):
    """What an xDS-enabled gRPC server asks for, which listens on this address: it serves whatever it is asked."""

    name: str
    address: str
    port: int
    origins: Sequence[Origin]


class Certificate(Value, frozen=True, eq=False, gc=False):
    """A PEM certificate chain and its private key. `key` never leaves the process but in SDS."""

    name: str
    chain: bytes
    key: bytes
    origin: Origin

    def __repr__(self) -> str:
        return f"Certificate({self.name!r})"


class CertificateFiles(Value, frozen=True, eq=False, gc=False):
    """A certificate chain and its private key in files of the proxy, which reads them again when they change."""

    name: str
    chain: str
    key: str
    origin: Origin


class TrustFiles(Value, frozen=True, eq=False, gc=False):
    """As `Trust`, in files of the proxy. revoked: empty for none."""

    name: str
    authorities: str
    origin: Origin
    revoked: str = ""


class Trust(Value, frozen=True, eq=False, gc=False):
    """PEM certificates of the authorities that are believed, and what they have revoked."""

    name: str
    authorities: bytes
    origin: Origin
    revoked: bytes = b""


Secret = Certificate | Trust | CertificateFiles | TrustFiles
"""What a proxy gets by name, apart from what uses it."""
