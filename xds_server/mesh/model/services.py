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
    """target: where connections go with `Discovery.ORIGINAL_DESTINATION`, 0 for the port that they wanted to reach."""

    number: int
    name: str
    protocol: Protocol
    target: int = 0


class Locality(msgspec.Struct, frozen=True, order=True, gc=False):
    region: str = ""
    zone: str = ""
    subzone: str = ""


class Whereabouts(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an endpoint runs, and for whom it is meant: the mesh chooses the endpoints of a proxy by it.
    hostname: its own name below that of a headless service. for_zones, for_nodes: empty for everybody."""

    node: str = ""
    hostname: str = ""
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """address: an IP, a DNS name (only with `Discovery.DNS*`) or a unix socket path; then `port` is 0.
    priority: those of 0 are used first, those of 1 when too few of them are healthy, and so on.
    more_addresses: of the same endpoint in other address families, tried when the first does not answer."""

    address: str
    port: int
    labels: Labels = ()
    locality: Locality = Locality()
    weight: int = 1
    health: Health = Health.HEALTHY
    priority: int = 0
    more_addresses: tuple[str, ...] = ()
    whereabouts: Whereabouts = Whereabouts()


class Nearness(enum.Enum):
    """Which endpoints a client should rather use: those of its own zone, or of its own node."""

    ZONE = "zone"
    NODE = "node"


class Alias(msgspec.Struct, frozen=True, gc=False):
    """Another host of a service, and the namespaces that see it."""

    host: str
    exported_to: frozenset[str]


class Service(Value, frozen=True, eq=False, gc=False):
    """host: the name that clients use, in lower case. addresses: virtual IPs or CIDRs.
    exported_to: namespaces that see it, `*` for all. external: not part of the mesh.
    sticky: all that comes from one address goes to one endpoint. node_local: only endpoints on the client's node.
    prefers: None when all endpoints are equal.
    parent: the headless service that this one is a single endpoint of; its policies apply.
    """

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
    sticky: bool = False
    node_local: bool = False
    prefers: Nearness | None = None
    parent: str = ""
    aliases: tuple[Alias, ...] = ()
