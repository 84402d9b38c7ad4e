"""Endpoints from EndpointSlices, and from objects of the legacy kind Endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import Endpoint as SliceEndpoint
from xds_server.kube.discovery import EndpointPort, EndpointSlice
from xds_server.kube.pod import Pod
from xds_server.mesh.endpoints import (
    REGION,
    ZONE,
    Candidate,
    ServiceEndpoints,
    assembled,
    families,
    is_ip,
    labels_of,
    node_locality,
    target_port,
    workload_locality,
)
from xds_server.mesh.model import Endpoint, Health, Labels, Locality, Whereabouts
from xds_server.mesh.origin import Origin
from xds_server.mesh.workload_endpoints import with_addresses, workload_candidates
from xds_server.mesh.workloads import Workload

SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
FQDN = "FQDN"


def only_names(slices: tuple[EndpointSlice, ...]) -> bool:
    """Whether the endpoints are DNS names: then the proxy resolves them."""
    return bool(slices) and all(piece.address_type == FQDN for piece in slices)


_NOWHERE = Locality()


class _Known:
    """The Pods and Nodes that the slices name."""

    def __init__(self, pods: tuple[Pod, ...], nodes: tuple[core.Node, ...]) -> None:
        self._pods: Mapping[str, Mapping[str, str]] = {pod.metadata.name: pod.metadata.labels for pod in pods}
        self._labels = {name: labels_of(labels) for name, labels in self._pods.items()}
        self._localities = {node.metadata.name: node_locality(node) for node in nodes}

    def labels(self, pod: str) -> Labels:
        return self._labels.get(pod, ())

    def locality(self, pod: str, node: str | None, zone: str | None = "", region: str = "") -> Locality:
        """The Pod's own label wins over what the slice says, and that over the Node."""
        place = self._localities.get(node or "", _NOWHERE)
        if zone or region:
            place = Locality(place.region or region, zone or place.zone, place.subzone)
        labels = self._pods.get(pod)
        return workload_locality(labels, place) if labels else place


def _pod_name(target: core.ObjectReference | None) -> str:
    return target.name if target is not None and target.kind == "Pod" else ""


def from_slices(
    service: core.Service,
    slices: tuple[EndpointSlice, ...],
    pods: tuple[Pod, ...],
    nodes: tuple[core.Node, ...],
    workloads: tuple[Workload, ...] = (),
) -> ServiceEndpoints:
    """pods, nodes: those that the slices name; they give labels (for subsets) and localities.
    workloads: WorkloadEntries that the service selects, of which slices know nothing."""
    known, named = _Known(pods, nodes), only_names(slices)
    used = tuple(piece for piece in slices if named or piece.address_type != FQDN)
    notes = [diagnostic("XDS2031", piece.ref, ("addressType",)) for piece in slices if piece not in used]
    hostnames: dict[str, dict[str, None]] = {}
    by_port: dict[int, list[Candidate]] = {port.port: [] for port in service.spec.ports}
    anyway = service.spec.publish_not_ready_addresses
    for piece in used:
        numbers = {port.port: _numbers(port, piece.ports) for port in service.spec.ports}
        for index, endpoint in enumerate(piece.endpoints):
            # No semantics are defined for addresses beyond the first (discovery/v1 types.go).
            address = endpoint.addresses[0] if endpoint.addresses else ""
            if not _usable(address, piece, index, notes):
                continue
            if endpoint.hostname:
                hostnames.setdefault(endpoint.hostname, {}).update({} if named else {address: None})
            health = Health.HEALTHY if anyway else _health(endpoint)
            if health is None:
                continue
            identity = _pod_name(endpoint.target_ref)
            rest = _all_but_the_address(endpoint, identity, known, health)
            for served, targets in numbers.items():
                by_port[served] += [Candidate(identity, Endpoint(address, number, *rest)) for number in targets]
    workloads = with_addresses(workloads, notes)
    for port in service.spec.ports:
        by_port[port.port] += workload_candidates(port, workloads)
    origins = (*(Origin(piece.ref) for piece in used), *(workload.origin for workload in workloads))
    names = {hostname: tuple(found) for hostname, found in sorted(hostnames.items())}
    return assembled(by_port, origins, notes, names, families(service))


def _numbers(port: core.ServicePort, listed: tuple[EndpointPort, ...]) -> list[int]:
    """Where a slice's endpoints serve a port of the service. A slice port without a number stands for all ports."""
    return [each.port or target_port(port, None) or port.port for each in listed if each.name == port.name]


def _usable(address: str, piece: EndpointSlice, index: int, notes: list[Diagnostic]) -> bool:
    """Envoy refuses a whole assignment for one address that is none."""
    if piece.address_type == FQDN or is_ip(address):
        return bool(address)
    path = ("endpoints", index, "addresses")
    notes.append(diagnostic("XDS2030", piece.ref, path, address=address, wanted="an IP address"))
    return False


def _health(endpoint: SliceEndpoint) -> Health | None:
    """None: leave it out. A terminating endpoint that still serves finishes what it has."""
    conditions = endpoint.conditions
    if conditions.ready is not False:
        return Health.HEALTHY
    return Health.DRAINING if conditions.serving and conditions.terminating else None


_Rest = tuple[Labels, Locality, int, Health, int, tuple[str, ...], Whereabouts]
"""The fields of an Endpoint after its address and port."""
_ANYWHERE = Whereabouts()


def _all_but_the_address(endpoint: SliceEndpoint, pod: str, known: _Known, health: Health) -> _Rest:
    old, hints = endpoint.deprecated_topology, endpoint.hints
    zone, region = endpoint.zone, ""
    if old:
        zone, region = zone or old.get(ZONE), old.get(REGION, "")
    locality = known.locality(pod, endpoint.node_name, zone, region)
    place = _ANYWHERE
    if endpoint.node_name or endpoint.hostname or hints:
        place = Whereabouts(
            endpoint.node_name or "",
            endpoint.hostname or "",
            tuple(sorted(zone.name for zone in hints.for_zones)) if hints else (),
            tuple(sorted(node.name for node in hints.for_nodes)) if hints else (),
        )
    return known.labels(pod), locality, 1, health, 0, (), place


def from_endpoints(
    service: core.Service,
    listed: core.Endpoints,
    pods: tuple[Pod, ...],
    nodes: tuple[core.Node, ...],
    workloads: tuple[Workload, ...] = (),
) -> ServiceEndpoints:
    """From an object of the legacy kind Endpoints, as a cluster's controller mirrors it into slices."""
    known = _Known(pods, nodes)
    hostnames: dict[str, dict[str, None]] = {}
    notes: list[Diagnostic] = []
    by_port: dict[int, list[Candidate]] = {}
    workloads = with_addresses(workloads, notes)
    anyway = service.spec.publish_not_ready_addresses
    for port in service.spec.ports:
        found = by_port.setdefault(port.port, [])
        for index, subset in enumerate(listed.subsets):
            numbers = [each.port for each in subset.ports if each.name == port.name]
            for address, ready in _addresses(subset):
                if not is_ip(address.ip):
                    path = ("subsets", index, "addresses")
                    notes.append(diagnostic("XDS2030", listed.ref, path, address=address.ip, wanted="an IP address"))
                    continue
                if address.hostname:
                    hostnames.setdefault(address.hostname, {})[address.ip] = None
                if ready or anyway:
                    identity = _pod_name(address.target_ref)
                    labels = known.labels(identity)
                    locality = known.locality(identity, address.node_name)
                    whereabouts = Whereabouts(address.node_name or "", address.hostname)
                    found += [
                        Candidate(identity, Endpoint(address.ip, number, labels, locality, whereabouts=whereabouts))
                        for number in numbers
                    ]
        found += workload_candidates(port, workloads)
    origins = (Origin(listed.ref), *(workload.origin for workload in workloads))
    names = {hostname: tuple(found) for hostname, found in sorted(hostnames.items())}
    return assembled(by_port, origins, notes, names, families(service))


def _addresses(subset: core.EndpointSubset) -> Iterator[tuple[core.EndpointAddress, bool]]:
    for address in subset.addresses:
        yield address, True
    for address in subset.not_ready_addresses:
        yield address, False
