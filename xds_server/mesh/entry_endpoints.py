"""Endpoints of ServiceEntries, and of ExternalNames that lead out of the mesh."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.service_entry import ServiceEntry, ServiceEntryPort
from xds_server.kube.istio.workload_entry import WorkloadEntrySpec
from xds_server.kube.pod import Pod
from xds_server.mesh import checks
from xds_server.mesh.endpoints import (
    Candidate,
    ServiceEndpoints,
    assembled,
    is_ip,
    labels_of,
    node_locality,
    parse_locality,
    workload_locality,
)
from xds_server.mesh.model import Endpoint, Locality
from xds_server.mesh.origin import Origin
from xds_server.mesh.workload_endpoints import (
    SOCKET,
    endpoint_at,
    pod_addresses,
    pod_candidates,
    pod_health,
    workload_endpoint,
)
from xds_server.mesh.workloads import Workload

DNS = ("DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS")


def from_external_name(service: core.Service) -> ServiceEndpoints:
    host = service.spec.external_name.rstrip(".")
    by_port = {port.port: [Candidate("", Endpoint(host, port.port))] for port in service.spec.ports}
    return assembled(by_port, (Origin(service.ref, ("spec", "externalName")),))


def from_entry(
    entry: ServiceEntry,
    host: str,
    pods: tuple[Pod, ...],
    workloads: tuple[Workload, ...],
    nodes: tuple[core.Node, ...],
) -> ServiceEndpoints:
    """From the endpoints of a ServiceEntry, or from the Pods and WorkloadEntries that its workloadSelector picks
    (nodes: those that the pods run on); with DNS and neither, from the host itself."""
    spec = entry.spec
    notes: list[Diagnostic] = []
    localities = {node.metadata.name: node_locality(node) for node in nodes}
    usable = [index for index, endpoint in enumerate(spec.endpoints) if _usable(entry, index, endpoint, notes)]
    picked = tuple(workload for workload in workloads if _picked(entry, workload, notes))
    by_port: dict[int, list[Candidate]] = {}
    for port in spec.ports:
        target = port.target_port or port.number
        found = by_port.setdefault(port.number, [])
        found += [Candidate("", _endpoint(spec.endpoints[index], port)) for index in usable]
        found += [Candidate("", workload_endpoint(each, each.ports.get(port.name, target))) for each in picked]
        for pod in pods:
            health = pod_health(pod)
            if health is not None:
                found += pod_candidates(pod, pod_addresses(pod), target, health, localities)
        if not spec.endpoints and spec.workload_selector is None and spec.resolution in DNS and "*" not in host:
            found.append(Candidate("", Endpoint(host, target)))
    notes += _nothing(entry, host, bool(pods or workloads))
    origins = (Origin(entry.ref), *(Origin(pod.ref) for pod in pods), *(workload.origin for workload in picked))
    return assembled(by_port, origins, notes)


def _nothing(entry: ServiceEntry, host: str, selected: bool) -> list[Diagnostic]:
    """Why there are no endpoints, when it is a mistake."""
    spec = entry.spec
    if spec.workload_selector is not None:
        return [] if selected else [diagnostic("XDS2034", entry.ref, ("spec", "workloadSelector"))]
    if spec.resolution in DNS and "*" in host and not spec.endpoints:
        path = ("spec", "hosts", [text.lower().rstrip(".") for text in spec.hosts].index(host))
        return [diagnostic("XDS2035", entry.ref, path, host=host, resolution=spec.resolution)]
    return []


def _usable(entry: ServiceEntry, index: int, endpoint: WorkloadEntrySpec, notes: list[Diagnostic]) -> bool:
    path = ("spec", "endpoints", index)
    if not endpoint.address:
        notes.append(diagnostic("XDS2036", entry.ref, path))
        return False
    wanted = _wanted(entry.spec.resolution, endpoint.address)
    if wanted:
        notes.append(diagnostic("XDS2030", entry.ref, (*path, "address"), address=endpoint.address, wanted=wanted))
    return not wanted


def _picked(entry: ServiceEntry, workload: Workload, notes: list[Diagnostic]) -> bool:
    if not workload.address or not workload.healthy:
        return False
    wanted = _wanted(entry.spec.resolution, workload.address, f" of {entry.ref}")
    if wanted:
        ref = workload.origin.ref
        notes.append(diagnostic("XDS2030", ref, ("spec", "address"), address=workload.address, wanted=wanted))
    return not wanted


def _wanted(resolution: str, address: str, whose: str = "") -> str:
    """What should stand there instead: Envoy refuses names in what it does not resolve, and sockets in what it does,
    where it would ask for any other text as for a name. Empty when the address can be used."""
    if resolution in DNS:
        usable, wanted = checks.name(address) is None or is_ip(address), "a name or an IP address"
    else:
        usable, wanted = is_ip(address) or address.startswith(SOCKET), "an IP address or a unix socket"
    return "" if usable else f"{wanted}, as resolution {resolution}{whose} needs"


def _endpoint(endpoint: WorkloadEntrySpec, port: ServiceEntryPort) -> Endpoint:
    target = endpoint.ports.get(port.name) or port.target_port or port.number
    locality = parse_locality(endpoint.locality) if endpoint.locality else workload_locality(endpoint.labels, _NOWHERE)
    return endpoint_at(endpoint.address, target, labels_of(endpoint.labels), locality, endpoint.weight or 1)


_NOWHERE = Locality()
