"""Endpoints from the Pods and WorkloadEntries that a service selects, as a cluster's controllers would find them."""

from __future__ import annotations

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.pod import Pod
from xds_server.mesh.endpoints import (
    Candidate,
    ServiceEndpoints,
    assembled,
    families,
    family,
    is_ip,
    labels_of,
    node_locality,
    target_port,
    workload_locality,
)
from xds_server.mesh.model import Endpoint, Health, Labels, Locality, Whereabouts
from xds_server.mesh.origin import Origin
from xds_server.mesh.workloads import Workload

SOCKET = "unix://"


def from_pods(
    service: core.Service, pods: tuple[Pod, ...], nodes: tuple[core.Node, ...], workloads: tuple[Workload, ...] = ()
) -> ServiceEndpoints:
    """pods, workloads: those that the service selects. nodes: those that the pods run on."""
    localities = {node.metadata.name: node_locality(node) for node in nodes}
    notes: list[Diagnostic] = []
    by_port: dict[int, list[Candidate]] = {}
    order = families(service)
    workloads = with_addresses(workloads, notes)
    for index, port in enumerate(service.spec.ports):
        found = by_port.setdefault(port.port, [])
        for pod in pods:
            health = pod_health(pod, service.spec.publish_not_ready_addresses)
            if health is None:
                continue
            number = target_port(port, pod)
            if number is None:
                path = ("spec", "ports", index, "targetPort")
                notes.append(diagnostic("XDS2005", service.ref, path, port=port.target_port, pod=pod.ref))
                continue
            addresses = pod_addresses(pod, order)
            if not addresses:
                notes.append(diagnostic("XDS2006", pod.ref, ("status", "podIP"), service=service.ref))
            hostname = pod_hostname(pod, service.metadata.name)
            found += pod_candidates(pod, addresses, number, health, localities, hostname)
        found += workload_candidates(port, workloads)
    hostnames = {
        name: pod_addresses(pod, order)
        for pod in sorted(pods, key=lambda pod: pod.metadata.name)
        if (name := pod_hostname(pod, service.metadata.name))
    }
    origins = (*(Origin(pod.ref) for pod in pods), *(workload.origin for workload in workloads))
    return assembled(by_port, origins, notes, hostnames, order)


def pod_health(pod: Pod, anyway: bool = False) -> Health | None:
    """None: leave it out. A Pod of a YAML file often has no conditions: it is ready unless something says otherwise.
    One that is being deleted finishes what it has. anyway: whether it is ready or not."""
    if pod.status.phase not in ("", "Running", *(("Pending", "Unknown") if anyway else ())):
        return None
    if anyway:
        return Health.HEALTHY
    if not all(condition.status == "True" for condition in pod.status.conditions if condition.type == "Ready"):
        return None
    return Health.HEALTHY if pod.metadata.deletion_timestamp is None else Health.DRAINING


def pod_addresses(pod: Pod, order: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The first address of each family in `order`; without an order, the Pod's first."""
    listed = tuple(entry.ip for entry in pod.status.pod_ips) or (pod.status.pod_ip,)
    found = tuple(ip for ip in listed if is_ip(ip))
    if not order:
        return found[:1]
    return tuple(ip for name in order for ip in [next((ip for ip in found if family(ip) == name), "")] if ip)


def pod_hostname(pod: Pod, service: str) -> str:
    """The Pod's own name below a headless service, which a StatefulSet gives it."""
    spec = pod.spec
    return spec.hostname if spec.subdomain == service else ""


def pod_candidates(
    pod: Pod,
    addresses: tuple[str, ...],
    port: int,
    health: Health,
    localities: dict[str, Locality],
    hostname: str = "",
) -> list[Candidate]:
    labels = labels_of(pod.metadata.labels)
    locality = workload_locality(pod.metadata.labels, localities.get(pod.spec.node_name, Locality()))
    whereabouts = Whereabouts(pod.spec.node_name, hostname)
    return [
        Candidate(pod.metadata.name, Endpoint(address, port, labels, locality, health=health, whereabouts=whereabouts))
        for address in addresses
    ]


def with_addresses(workloads: tuple[Workload, ...], notes: list[Diagnostic]) -> tuple[Workload, ...]:
    """Those that can be endpoints of a Kubernetes Service, which takes IP addresses alone."""
    for each in workloads:
        if each.address and not is_ip(each.address):
            wanted = "an IP address, as a Kubernetes Service needs"
            ref = each.origin.ref
            notes.append(diagnostic("XDS2030", ref, ("spec", "address"), address=each.address, wanted=wanted))
    return tuple(each for each in workloads if each.healthy and is_ip(each.address))


def workload_candidates(port: core.ServicePort, workloads: tuple[Workload, ...]) -> list[Candidate]:
    """The endpoints of WorkloadEntries for a port of a Kubernetes Service."""
    target = port.target_port
    number = target_port(port, None) or port.port
    return [
        Candidate("", workload_endpoint(each, each.ports.get(port.name) or each.ports.get(str(target)) or number))
        for each in workloads
    ]


def workload_endpoint(workload: Workload, port: int) -> Endpoint:
    return endpoint_at(workload.address, port, labels_of(workload.labels), workload.locality, workload.weight)


def endpoint_at(address: str, port: int, labels: Labels, locality: Locality, weight: int) -> Endpoint:
    """A socket (`unix:///path`) has no port."""
    path = address.removeprefix(SOCKET)
    return Endpoint(path, 0 if path != address else port, labels, locality, weight)
