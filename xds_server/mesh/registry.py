"""All services and their endpoints, indexed by what the rest asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.meta import Object
from xds_server.kube.pod import Pod
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.memo import Memo
from xds_server.mesh import endpoints as ep
from xds_server.mesh.model import Service, Value
from xds_server.mesh.services import Found, entry_services, kubernetes_service
from xds_server.mesh.visibility import visible

K = TypeVar("K", bound=Object)


class Workloads(Value, frozen=True, eq=False, gc=False):
    """What runs where: Pods by namespace, Nodes by name, EndpointSlices by the service that they belong to."""

    pods: Mapping[str, Mapping[str, Pod]] = {}
    nodes: Mapping[str, core.Node] = {}
    slices: Mapping[tuple[str, str], tuple[EndpointSlice, ...]] = {}

    def selected(self, namespace: str, selector: Mapping[str, str]) -> tuple[Pod, ...]:
        """An empty selector selects nothing, as in a Service."""
        if not selector:
            return ()
        pods = self.pods.get(namespace, {}).values()
        return tuple(pod for pod in pods if ep.selects(selector, pod.metadata.labels))

    def pods_named(self, namespace: str, wanted: Iterable[str]) -> tuple[Pod, ...]:
        pods = self.pods.get(namespace, {})
        return tuple(pods[name] for name in dict.fromkeys(wanted) if name in pods)

    def nodes_named(self, wanted: Iterable[str]) -> tuple[core.Node, ...]:
        return tuple(self.nodes[name] for name in dict.fromkeys(wanted) if name in self.nodes)


NO_WORKLOADS = Workloads()


class Registry(Value, frozen=True, eq=False, gc=False):
    """by_host: host -> its services, the one that wins first. endpoints: of every service."""

    by_host: Mapping[str, tuple[Service, ...]] = {}
    endpoints: Mapping[Service, ep.ServiceEndpoints] = {}
    workloads: Workloads = NO_WORKLOADS
    diagnostics: tuple[Diagnostic, ...] = ()

    def find(self, host: str, namespace: str) -> Service | None:
        """The service of this host that a client in `namespace` sees: its own namespace's, else the first."""
        seen = [s for s in self.by_host.get(host, ()) if visible(s.exported_to, namespace)]
        return next((s for s in seen if s.namespace == namespace), seen[0] if seen else None)

    def seen_from(self, namespace: str) -> tuple[Service, ...]:
        """One service for each host, sorted by host."""
        found = (self.find(host, namespace) for host in self.by_host)
        return tuple(service for service in found if service is not None)


def registry(snapshot: Snapshot, memo: Memo) -> Registry:
    notes: list[Diagnostic] = []
    endpoints: dict[Service, ep.ServiceEndpoints] = {}
    by_host: dict[str, list[Service]] = {}
    index = memo(_workloads, snapshot.of(Pod), snapshot.of(core.Node), snapshot.of(EndpointSlice))
    legacy = snapshot.of(core.Endpoints)
    for kube in snapshot.of(core.Service).values():
        for service in _services(memo, kube, kubernetes_service, notes):
            by_host.setdefault(service.host, []).append(service)
            endpoints[service] = _attempted(memo, kube, notes, *_endpoint_inputs(kube, index, legacy))
    for entry in snapshot.of(ServiceEntry).values():
        for service in _services(memo, entry, entry_services, notes):
            by_host.setdefault(service.host, []).append(service)
            selector = entry.spec.workload_selector
            pods = index.selected(entry.metadata.namespace, selector.labels if selector else {})
            endpoints[service] = _attempted(memo, entry, notes, ep.from_entry, entry, service.host, pods)
    ranked = {host: tuple(sorted(same, key=_rank)) for host, same in sorted(by_host.items())}
    for host, same in ranked.items():
        notes += [diagnostic("XDS3007", s.origin.ref, (), host=host, first=same[0].origin.ref) for s in same[1:]]
    return Registry(ranked, endpoints, index, tuple(notes))


def _rank(service: Service) -> tuple[object, ...]:
    """A Kubernetes Service before a ServiceEntry, the oldest first."""
    return (service.origin.ref.kind != "Service", service.created, service.namespace, service.name)


def _services(memo: Memo, kube: K, convert: Callable[[K], Found], notes: list[Diagnostic]) -> tuple[Service, ...]:
    found = attempt(memo, kube.ref, convert, kube)
    if isinstance(found, Diagnostic):
        notes.append(found)
        return ()
    notes += found[1]
    return found[0]


def _attempted(
    memo: Memo, kube: Object, notes: list[Diagnostic], find: Callable[..., ep.ServiceEndpoints], *args: object
) -> ep.ServiceEndpoints:
    found = attempt(memo, kube.ref, find, *args)
    if isinstance(found, Diagnostic):
        notes.append(found)
        return ep.NO_ENDPOINTS
    notes += found.diagnostics
    return found


def _workloads(pods: Table[Pod], nodes: Table[core.Node], slices: Table[EndpointSlice]) -> Workloads:
    by_namespace: dict[str, dict[str, Pod]] = {}
    for (namespace, name), pod in pods.items():
        by_namespace.setdefault(namespace, {})[name] = pod
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for (namespace, _), piece in slices.items():
        by_service.setdefault((namespace, piece.metadata.labels.get(ep.SERVICE_NAME, "")), []).append(piece)
    return Workloads(
        by_namespace,
        {name: node for (_, name), node in nodes.items()},
        {service: tuple(pieces) for service, pieces in by_service.items()},
    )


def _endpoint_inputs(
    kube: core.Service, index: Workloads, legacy: Table[core.Endpoints]
) -> tuple[Callable[..., ep.ServiceEndpoints], *tuple[object, ...]]:
    """The function that makes a service's endpoints, and all that they depend on."""
    key = (kube.metadata.namespace, kube.metadata.name)
    if kube.spec.type == "ExternalName":
        return (ep.from_external_name, kube)
    if slices := index.slices.get(key):
        listed = [endpoint for piece in slices for endpoint in piece.endpoints]
        targets = (endpoint.target_ref.name for endpoint in listed if endpoint.target_ref)
        nodes = index.nodes_named(endpoint.node_name or "" for endpoint in listed)
        return (ep.from_slices, kube, slices, index.pods_named(key[0], targets), nodes)
    if listing := legacy.get(key):
        addresses = [address for subset in listing.subsets for address in subset.addresses]
        targets = (address.target_ref.name for address in addresses if address.target_ref)
        nodes = index.nodes_named(address.node_name or "" for address in addresses)
        return (ep.from_endpoints, kube, listing, index.pods_named(key[0], targets), nodes)
    pods = index.selected(key[0], kube.spec.selector)
    return (ep.from_pods, kube, pods, index.nodes_named(pod.spec.node_name for pod in pods))
