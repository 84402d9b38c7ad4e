"""Services and their endpoints."""

from __future__ import annotations

import enum

import msgspec

from xds_server.mesh.model.base import Labels, Value
from xds_server.mesh.origin import Origin


class Protocol(enum.StrEnum):
    """What a port speaks. AUTO: the user did not say; the proxy finds out from the first bytes."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TLS = "tls"
    TCP = "tcp"
    UDP = "udp"
    AUTO = "auto"

    @property
    def is_http(self) -> bool:
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def is_http2(self) -> bool:
        return self in (Protocol.HTTP2, Protocol.GRPC)


class Discovery(enum.Enum):
    """How a proxy learns the endpoints of a service."""

    ENDPOINTS = "endpoints"  # the control plane tells it
    DNS = "dns"  # it resolves every name, and balances over all the addresses
    DNS_ROUND_ROBIN = "dns_round_robin"  # it resolves one name, and connects to the newest address
    ORIGINAL_DESTINATION = "original_destination"  # it connects to where the client wanted to go
    FIXED = "fixed"  # the addresses are part of the backend


class Health(enum.StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


class ServicePort(msgspec.Struct, frozen=True, gc=False):
    number: int
    name: str
    protocol: Protocol


class Locality(msgspec.Struct, frozen=True, order=True, gc=False):
    region: str = ""
    zone: str = ""
    subzone: str = ""


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """address: an IP, a DNS name (only with `Discovery.DNS*`) or a unix socket path; then `port` is 0.
    priority: those of 0 are used first, those of 1 when too few of them are healthy, and so on."""

    address: str
    port: int
    labels: Labels = ()
    locality: Locality = Locality()
    weight: int = 1
    health: Health = Health.HEALTHY
    priority: int = 0


class Service(Value, frozen=True, eq=False, gc=False):
    """host: the name that clients use, in lower case. addresses: virtual IPs or CIDRs.
    exported_to: namespaces that see it, `*` for all. external: not part of the mesh."""

    host: str
    name: str
    namespace: str
    ports: tuple[ServicePort, ...]
    origin: Origin
    addresses: tuple[str, ...] = ()
    discovery: Discovery = Discovery.ENDPOINTS
    headless: bool = False
    external: bool = False
    exported_to: frozenset[str] = frozenset({"*"})
    subject_alt_names: tuple[str, ...] = ()
    created: str = ""
