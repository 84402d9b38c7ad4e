"""The endpoints of every port of a service.

They come from EndpointSlices, else from the legacy Endpoints of the same name, else from the Pods that the
Service selects, as a cluster's own controllers would make the slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import Endpoint as SliceEndpoint
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.pod import Pod
from xds_server.mesh.model import Endpoint, Health, Labels, Locality, Value
from xds_server.mesh.origin import Origin

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
SERVICE_NAME = "kubernetes.io/service-name"

ByPort = Mapping[int, tuple[Endpoint, ...]]


class ServiceEndpoints(Value, frozen=True, eq=False, gc=False):
    """by_port: port number of the service -> endpoints, sorted. origins: the objects that list them."""

    by_port: ByPort = {}
    origins: tuple[Origin, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


NO_ENDPOINTS = ServiceEndpoints()


def labels_of(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def node_locality(node: core.Node | None) -> Locality:
    labels = node.metadata.labels if node else {}
    return Locality(labels.get(REGION, ""), labels.get(ZONE, ""), labels.get(SUBZONE, ""))


def from_slices(
    service: core.Service,
    slices: tuple[EndpointSlice, ...],
    pods: tuple[Pod, ...],
    nodes: tuple[core.Node, ...],
) -> ServiceEndpoints:
    """pods, nodes: those that the slices name; they give labels (for subsets) and localities."""
    pod_labels = {pod.metadata.name: labels_of(pod.metadata.labels) for pod in pods}
    localities = {node.metadata.name: node_locality(node) for node in nodes}
    by_port: dict[int, set[Endpoint]] = {}
    for port in service.spec.ports:
        found = by_port.setdefault(port.port, set())
        for piece in slices:
            numbers = [p.port for p in piece.ports if p.name == port.name and p.port]
            for endpoint in piece.endpoints:
                health = _slice_health(endpoint)
                if health is None:
                    continue
                labels = pod_labels.get(_target_pod(endpoint), ())
                locality = _slice_locality(endpoint, localities)
                # No semantics are defined for addresses beyond the first (discovery/v1 types.go).
                address = endpoint.addresses[0]
                found.update(Endpoint(address, number, labels, locality, health=health) for number in numbers)
    return _sorted(by_port, (Origin(piece.ref) for piece in slices))


def _slice_health(endpoint: SliceEndpoint) -> Health | None:
    """None: leave it out. A terminating endpoint that still serves finishes what it has."""
    conditions = endpoint.conditions
    if conditions.ready is not False:
        return Health.HEALTHY
    return Health.DRAINING if conditions.serving and conditions.terminating else None


def _target_pod(endpoint: SliceEndpoint) -> str:
    target = endpoint.target_ref
    return target.name if target is not None and target.kind == "Pod" else ""


def _slice_locality(endpoint: SliceEndpoint, localities: Mapping[str, Locality]) -> Locality:
    of_node = localities.get(endpoint.node_name or "", Locality())
    return Locality(of_node.region, endpoint.zone or of_node.zone, of_node.subzone)


def from_endpoints(
    service: core.Service, listed: core.Endpoints, pods: tuple[Pod, ...], nodes: tuple[core.Node, ...]
) -> ServiceEndpoints:
    """From an object of the legacy kind Endpoints."""
    pod_labels = {pod.metadata.name: labels_of(pod.metadata.labels) for pod in pods}
    localities = {node.metadata.name: node_locality(node) for node in nodes}
    by_port: dict[int, set[Endpoint]] = {}
    for port in service.spec.ports:
        found = by_port.setdefault(port.port, set())
        for subset in listed.subsets:
            numbers = [p.port for p in subset.ports if p.name == port.name]
            for address in subset.addresses:
                target = address.target_ref
                labels = pod_labels.get(target.name, ()) if target and target.kind == "Pod" else ()
                locality = localities.get(address.node_name or "", Locality())
                found.update(Endpoint(address.ip, number, labels, locality) for number in numbers)
    return _sorted(by_port, (Origin(listed.ref),))


def from_pods(service: core.Service, pods: tuple[Pod, ...], nodes: tuple[core.Node, ...]) -> ServiceEndpoints:
    """From the Pods that the service selects."""
    localities = {node.metadata.name: node_locality(node) for node in nodes}
    notes: list[Diagnostic] = []
    by_port: dict[int, set[Endpoint]] = {}
    for index, port in enumerate(service.spec.ports):
        found = by_port.setdefault(port.port, set())
        for pod in pods:
            if not (service.spec.publish_not_ready_addresses or _ready(pod)):
                continue
            number = target_port(port, pod)
            if number is None:
                path = ("spec", "ports", index, "targetPort")
                notes.append(diagnostic("XDS2005", service.ref, path, port=port.target_port, pod=pod.ref))
                continue
            labels = labels_of(pod.metadata.labels)
            locality = localities.get(pod.spec.node_name, Locality())
            addresses = _addresses(pod)
            if not addresses:
                notes.append(diagnostic("XDS2006", pod.ref, ("status", "podIP"), service=service.ref))
            found.update(Endpoint(address, number, labels, locality) for address in addresses)
    result = _sorted(by_port, (Origin(pod.ref) for pod in pods))
    return ServiceEndpoints(result.by_port, result.origins, tuple(dict.fromkeys(notes)))


def _ready(pod: Pod) -> bool:
    """A Pod of a YAML file often has no conditions: it is ready unless something says otherwise."""
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return False
    if status.phase not in ("", "Running"):
        return False
    return all(condition.status == "True" for condition in status.conditions if condition.type == "Ready")


def _addresses(pod: Pod) -> tuple[str, ...]:
    listed = tuple(entry.ip for entry in pod.status.pod_ips)
    return (listed or ((pod.status.pod_ip,) if pod.status.pod_ip else ()))[:1]


def target_port(port: core.ServicePort, pod: Pod | None) -> int | None:
    """The number of a container's port; None when the Pod (which may be unknown) has no port of that name."""
    target = port.target_port
    if target is None or target == "" or target == 0:
        return port.port
    if isinstance(target, int):
        return target
    if target.isdecimal():
        return int(target)
    if pod is None:
        return None
    running = (*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always"))
    for container in running:
        for declared in container.ports:
            if declared.name == target and declared.protocol == port.protocol:
                return declared.container_port
    return None


def from_external_name(service: core.Service) -> ServiceEndpoints:
    host = service.spec.external_name.rstrip(".")
    by_port = {port.port: {Endpoint(host, port.port)} for port in service.spec.ports}
    return _sorted(by_port, (Origin(service.ref, ("spec", "externalName")),))


def from_entry(entry: ServiceEntry, host: str, workloads: tuple[Pod, ...]) -> ServiceEndpoints:
    """From the endpoints of a ServiceEntry, or from the Pods that its workloadSelector picks; with DNS and
    neither, from the host itself."""
    spec = entry.spec
    by_port: dict[int, set[Endpoint]] = {}
    for port in spec.ports:
        found = by_port.setdefault(port.number, set())
        target = port.target_port or port.number
        for endpoint in spec.endpoints:
            address = endpoint.address
            unix = address.startswith("unix://")
            number = 0 if unix else endpoint.ports.get(port.name, target)
            found.add(
                Endpoint(
                    address.removeprefix("unix://") if unix else address,
                    number,
                    labels_of(endpoint.labels),
                    parse_locality(endpoint.locality),
                    endpoint.weight or 1,
                )
            )
        for pod in workloads:
            if _ready(pod):
                labels = labels_of(pod.metadata.labels)
                found.update(Endpoint(address, target, labels) for address in _addresses(pod))
        if not found and spec.resolution in ("DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS") and "*" not in host:
            found.add(Endpoint(host, target))
    return _sorted(by_port, (Origin(entry.ref), *(Origin(pod.ref) for pod in workloads)))


def parse_locality(text: str) -> Locality:
    """`region/zone/subzone`, the later parts optional."""
    region, _, rest = text.partition("/")
    zone, _, subzone = rest.partition("/")
    return Locality(region, zone, subzone)


def _sorted(by_port: Mapping[int, set[Endpoint]], origins: Iterable[Origin]) -> ServiceEndpoints:
    return ServiceEndpoints({port: tuple(sorted(found)) for port, found in by_port.items()}, tuple(origins))
