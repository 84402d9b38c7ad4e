"""The core API group, version v1: of each kind what says something about traffic."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from xds_server.kube.meta import Ignored, Model, Object
from xds_server.kube.rules import check, rule
from xds_server.kube.units import Count, Port

Protocol = Literal["TCP", "UDP", "SCTP"]


class ServicePort(Model, frozen=True, eq=False, gc=False):
    port: Port
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None
    target_port: int | str | None = None
    node_port: Count | None = None


class ClientIPConfig(Model, frozen=True, eq=False, gc=False):
    timeout_seconds: Count | None = None


class SessionAffinityConfig(Model, frozen=True, eq=False, gc=False):
    client_ip: ClientIPConfig | None = field(name="clientIP", default=None)


class ServiceSpec(Model, frozen=True, eq=False, gc=False):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = field(name="clusterIPs", default=())
    external_ips: tuple[str, ...] = field(name="externalIPs", default=())
    external_name: str = ""
    load_balancer_ip: str = field(name="loadBalancerIP", default="")
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: Ignored | None = None
    allocate_load_balancer_node_ports: Ignored | None = None
    health_check_node_port: Ignored | None = None
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = ()
    ip_family_policy: Ignored | None = None
    publish_not_ready_addresses: bool = False
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    external_traffic_policy: Literal["Cluster", "Local"] = "Cluster"
    traffic_distribution: str | None = None

    def __post_init__(self) -> None:
        names = [port.name for port in self.ports]
        keys = [(port.port, port.protocol) for port in self.ports]
        check(
            rule(self.type != "ExternalName" or bool(self.external_name), (), "an ExternalName needs externalName"),
            rule(len(names) < 2 or all(names), ("ports",), "each of several ports needs a name"),
            rule(len(set(names)) == len(names) or not all(names), ("ports",), "two ports have the same name"),
            rule(len(set(keys)) == len(keys), ("ports",), "two ports have the same number and protocol"),
        )


class LoadBalancerIngress(Model, frozen=True, eq=False, gc=False):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    ports: Ignored | None = None


class LoadBalancerStatus(Model, frozen=True, eq=False, gc=False):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Model, frozen=True, eq=False, gc=False):
    load_balancer: LoadBalancerStatus | None = None
    conditions: Ignored | None = None


class Service(Object, frozen=True, eq=False, gc=False):
    GROUP = ""
    KIND = "Service"

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus | None = None


class Namespace(Object, frozen=True, eq=False, gc=False):
    GROUP = ""
    KIND = "Namespace"

    spec: Ignored | None = None
    status: Ignored | None = None


class Node(Object, frozen=True, eq=False, gc=False):
    """Only its labels matter: they say where the pods on it are."""

    GROUP = ""
    KIND = "Node"

    spec: Ignored | None = None
    status: Ignored | None = None


class Secret(Object, frozen=True, eq=False, gc=False):
    """`data` is base64 in the file and bytes here; `stringData` is plain and wins, as in the API server."""

    GROUP = ""
    KIND = "Secret"

    type: str = "Opaque"
    data: dict[str, bytes] = {}
    string_data: dict[str, str] = {}
    immutable: Ignored | None = None

    def content(self, key: str) -> bytes | None:
        """The bytes of one key, or None."""
        plain = self.string_data.get(key)
        return self.data.get(key) if plain is None else plain.encode()

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"


class ObjectReference(Model, frozen=True, eq=False, gc=False):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: Ignored | None = None
    field_path: Ignored | None = None


class EndpointAddress(Model, frozen=True, eq=False, gc=False):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Model, frozen=True, eq=False, gc=False):
    port: Port
    name: str = ""
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Model, frozen=True, eq=False, gc=False):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Object, frozen=True, eq=False, gc=False):
    """The endpoints of the Service of the same name, as they were before EndpointSlices."""

    GROUP = ""
    KIND = "Endpoints"

    subsets: tuple[EndpointSubset, ...] = ()
