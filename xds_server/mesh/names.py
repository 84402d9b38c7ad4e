"""The names of xDS resources, as Istio gives them. Every name has an inverse.

Sources: istio pilot/pkg/model/service.go (BuildSubsetKey, ParseSubsetKey), pilot/pkg/model/gateway.go
(ParseGatewayRDSRouteName), pkg/model/credentials (resource names of SDS).
"""

from __future__ import annotations

from typing import NamedTuple

from xds_server.diagnostics import ObjectRef

CLUSTER_DOMAIN = "cluster.local"
MESH_REF = ObjectRef("", "Mesh", "", "")
"""The origin of what no object of the user made, but the server itself."""
MESH_GATEWAY = "mesh"
"""The reserved name in `VirtualService.gateways` for all sidecars."""


class ClusterName(NamedTuple):
    """`outbound|80|v1|reviews.default.svc.cluster.local`; `inbound|8080||`."""

    direction: str
    port: int
    subset: str
    host: str

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"


def outbound(port: int, subset: str, host: str) -> str:
    """The cluster, and the load assignment, of one port of a service."""
    return str(ClusterName("outbound", port, subset, host))


def chosen(port: int, host: str) -> str:
    """`chosen|5432||db.shop.svc.cluster.local`: the cluster of connections to one endpoint of a headless service, which
    the client has chosen. Istio calls it `outbound|...`; here that is the one that balances."""
    return str(ClusterName("chosen", port, "", host))


def parse_cluster(name: str) -> ClusterName:
    """The inverse of `outbound`, `chosen` and `inbound`. Raises ValueError when the name is not of this form."""
    direction, port, subset, host = name.split("|")
    return ClusterName(direction, int(port), subset, host)


def sni_dnat(port: int, subset: str, host: str) -> str:
    """`outbound_.80_.v1_.reviews.default.svc.cluster.local`: the server name by which a gateway that passes TLS on
    finds the cluster, and that cluster's name."""
    return f"outbound_.{port}_.{subset}_.{host}"


def parse_sni_dnat(name: str) -> ClusterName:
    """The inverse of `sni_dnat`. Raises ValueError when the name is not of this form."""
    direction, port, subset, host = name.split("_.", 3)
    return ClusterName(direction, int(port), subset, host)


def service_host(name: str, namespace: str) -> str:
    return f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"


def full_host(host: str, namespace: str) -> str:
    """A host as Istio reads it in a resource of `namespace`: without a dot it is the name of a service there."""
    host = host.lower()
    return host if "." in host or "*" in host else service_host(host, namespace)


def short_hosts(host: str, namespace: str) -> tuple[str, ...]:
    """The shorter names by which a client in `namespace` can call the service `host`, longest first.

    Empty for hosts that are not of a Kubernetes service.
    """
    suffix = f".svc.{CLUSTER_DOMAIN}"
    stem = host.removesuffix(suffix)
    if stem == host or stem.count(".") not in (1, 2):  # 2: one endpoint of a headless service
        return ()
    name, _, service_namespace = stem.rpartition(".")
    names = (f"{stem}.svc", stem)
    return (*names, name) if service_namespace == namespace else names


def listener(address: str, port: int) -> str:
    """`0.0.0.0_8080`."""
    return f"{address}_{port}"


def quic_listener(address: str, port: int) -> str:
    """`udp_0.0.0.0_8443`, beside the TCP listener `0.0.0.0_8443`."""
    return f"udp_{listener(address, port)}"


def parse_listener(name: str) -> tuple[str, int]:
    """Of either kind."""
    address, _, port = name.removeprefix("udp_").rpartition("_")
    return address, int(port)


GRPC_SERVER = "xds.istio.io/grpc/lds/inbound/%s"
"""The listener that an xDS-enabled gRPC server asks for, of the address that it listens on (gRFC A36)."""


def grpc_server(address: str, port: int) -> str:
    """`xds.istio.io/grpc/lds/inbound/0.0.0.0:8080`; of an IPv6 address, `.../[::]:8080`."""
    return GRPC_SERVER % (f"[{address}]:{port}" if ":" in address else f"{address}:{port}")


def parse_grpc_server(name: str) -> tuple[str, int]:
    address, _, port = name.removeprefix(GRPC_SERVER % "").rpartition(":")
    return address.strip("[]"), int(port)


def virtual_host(host: str, port: int) -> str:
    """`myapp.example.com:80`."""
    return f"{host}:{port}"


def parse_virtual_host(name: str) -> tuple[str, int]:
    host, _, port = name.rpartition(":")
    return host, int(port)


class GatewayRoutes(NamedTuple):
    """A gateway's route configuration: `http.8080`, or `https.443.https.my-gateway.default`."""

    port: int
    bind: str = ""
    port_name: str = ""
    gateway: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        end = f".{self.bind}" if self.bind else ""
        if not self.gateway:
            return f"http.{self.port}{end}"
        return f"https.{self.port}.{self.port_name}.{self.gateway}.{self.namespace}{end}"


def parse_gateway_routes(name: str) -> GatewayRoutes:
    """The inverse of `str(GatewayRoutes(...))`. Raises ValueError when the name is not of this form."""
    scheme, _, rest = name.partition(".")
    if scheme == "http":
        port, _, bind = rest.partition(".")
        return GatewayRoutes(int(port), bind)
    if scheme != "https":
        raise ValueError(f"{name!r} is not the name of a gateway's route configuration")
    port, port_name, gateway, namespace, *bind_parts = rest.split(".", 4)
    return GatewayRoutes(int(port), "".join(bind_parts), port_name, gateway, namespace)


PASSTHROUGH = "PassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"


def inbound(port: int) -> str:
    """The cluster of one port of the workload itself."""
    return str(ClusterName("inbound", port, "", ""))


HTTP_PROXY_ROUTES = "http_proxy"
"""A sidecar's route configuration for its HTTP proxy port."""


def sidecar_routes(port: int) -> str:
    """A sidecar's route configuration for one port: `80`, shared by all hosts on the port."""
    return str(port)


_CREDENTIAL = "kubernetes://"
_CA_SUFFIX = "-cacert"


class Credential(NamedTuple):
    """`kubernetes://myapp-tls`; `kubernetes://ns/myapp-tls` for a Secret outside of the proxy's namespace;
    `...-cacert` for the certificate authorities in it."""

    name: str
    namespace: str = ""
    authorities: bool = False

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{_CREDENTIAL}{where}{self.name}{_CA_SUFFIX if self.authorities else ''}"


def parse_credential(name: str) -> Credential:
    """The inverse of `str(Credential(...))`. Raises ValueError when the name is not of this form."""
    if not name.startswith(_CREDENTIAL):
        raise ValueError(f"{name!r} is not the name of a credential")
    namespace, _, secret = name.removeprefix(_CREDENTIAL).rpartition("/")
    return Credential(secret.removesuffix(_CA_SUFFIX), namespace, secret.endswith(_CA_SUFFIX))


_FILE_CERTIFICATE, _FILE_TRUST = "file-cert:", "file-root:"


def file_certificate(chain: str, key: str) -> str:
    """`file-cert:/etc/certs/tls.crt~/etc/certs/tls.key`: a certificate in files of the proxy."""
    return f"{_FILE_CERTIFICATE}{chain}~{key}"


def parse_file_certificate(name: str) -> tuple[str, str]:
    """The inverse of `file_certificate`, for paths without `~`. Raises ValueError when it is not of this form."""
    return _file_parts(name, _FILE_CERTIFICATE)


def file_trust(authorities: str, revoked: str = "") -> str:
    """`file-root:/etc/certs/ca.crt`; with a revocation list, `...~/etc/certs/ca.crl`, which Istio leaves out."""
    return f"{_FILE_TRUST}{authorities}" + (f"~{revoked}" if revoked else "")


def parse_file_trust(name: str) -> tuple[str, str]:
    """The inverse of `file_trust`."""
    return _file_parts(name, _FILE_TRUST)


def _file_parts(name: str, prefix: str) -> tuple[str, str]:
    if not name.startswith(prefix):
        raise ValueError(f"{name!r} does not name files")
    first, _, second = name.removeprefix(prefix).partition("~")
    return first, second
