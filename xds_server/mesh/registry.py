"""All services and their endpoints, indexed by what the rest asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.istio.workload_entry import WorkloadEntry
from xds_server.kube.istio.workload_group import WorkloadGroup
from xds_server.kube.meta import Object
from xds_server.kube.pod import Pod
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Fixed, Memo
from xds_server.mesh.aliases import ExternalName, external_names, overruled, port_notes
from xds_server.mesh.endpoints import NO_ENDPOINTS, ServiceEndpoints, node_locality
from xds_server.mesh.entry_endpoints import from_entry, from_external_name
from xds_server.mesh.headless import named_endpoints
from xds_server.mesh.model import Alias, Locality, Nearness, Service, Value
from xds_server.mesh.service_entries import (
    Key,
    automatic_addresses,
    entry_services,
    no_address_left,
    wants_address,
)
from xds_server.mesh.services import Found, external_addresses, kubernetes_service
from xds_server.mesh.slice_endpoints import SKIP_MIRROR, from_endpoints, from_slices, only_names
from xds_server.mesh.visibility import visible
from xds_server.mesh.workload_endpoints import from_pods
from xds_server.mesh.workloads import NO_WORKLOADS, Workloads, resolved_entries, workloads

K = TypeVar("K", bound=Object)
_NOWHERE = Locality()


class Registry(Value, frozen=True, eq=False, gc=False):
    """by_host: host -> its services, the one that wins first. endpoints: of every service.
    by_alias: another name of a service -> the namespaces that see it, and the service.
    node_matters: whether what a proxy gets may depend on the node that it runs on."""

    by_host: Fixed[str, tuple[Service, ...]] = Fixed()
    endpoints: Mapping[Service, ServiceEndpoints] = {}
    by_alias: Fixed[str, tuple[Alias, Service]] = Fixed()
    workloads: Workloads = NO_WORKLOADS
    node_matters: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()

    def find(self, host: str, namespace: str) -> Service | None:
        """The service of this host that a client in `namespace` sees: its own namespace's, else the first; else the
        one that the host is an alias of."""
        seen = [s for s in self.by_host.get(host, ()) if visible(s.exported_to, namespace)]
        if seen:
            return next((s for s in seen if s.namespace == namespace), seen[0])
        alias, service = self.by_alias.get(host, (None, None))
        return service if alias is not None and visible(alias.exported_to, namespace) else None

    def seen_from(self, namespace: str) -> tuple[Service, ...]:
        """One service for each host, sorted by host."""
        found = (self.find(host, namespace) for host in self.by_host)
        return tuple(service for service in found if service is not None)

    def node_locality(self, node: str) -> Locality:
        """Where a node is, empty when nothing is known of it."""
        return node_locality(self.workloads.nodes.get(node))


def gathered(snapshot: Snapshot, memo: Memo, default_export: tuple[str, ...] = ()) -> Registry:
    """default_export: the namespaces that see services which do not say who does."""
    return _Gathering(snapshot, memo, default_export).registry()


class _Gathering:
    """Collects the services of a snapshot; lives only while the registry is made."""

    def __init__(self, snapshot: Snapshot, memo: Memo, default_export: tuple[str, ...]) -> None:
        self._snapshot, self._memo, self._default_export = snapshot, memo, default_export
        self._notes: list[Diagnostic] = []
        self._endpoints: dict[Service, ServiceEndpoints] = {}
        self._by_host: dict[str, list[Service]] = {}
        self._kube: dict[Service, core.Service] = {}
        entries = resolved_entries(snapshot.of(WorkloadEntry), snapshot.of(WorkloadGroup), memo)
        self._notes += [note for _, found in entries for each in found for note in each.diagnostics]
        self._workloads = memo(workloads, snapshot.of(Pod), snapshot.of(core.Node), snapshot.of(EndpointSlice), entries)

    def registry(self) -> Registry:
        outer: list[core.Service] = []
        for kube in self._snapshot.of(core.Service).values():
            if kube.spec.type == "ExternalName":
                outer.append(kube)
            else:
                self._add_kubernetes(kube)
        self._add_entries()
        aliases = self._add_external_names(outer)
        ranked = {host: tuple(sorted(same, key=_rank)) for host, same in sorted(self._by_host.items())}
        self._note_clashes(ranked)
        finished, by_alias = self._finished(ranked, aliases)
        targets = tuple((host, target.host) for host, (_, target) in by_alias.items())
        rules = self._snapshot.of(DestinationRule)
        self._notes += self._memo(overruled, targets, self._snapshot.of(VirtualService), rules)
        return Registry(
            Fixed((host, tuple(finished[service] for service in same)) for host, same in ranked.items()),
            {finished[service]: found for service, found in self._endpoints.items()},
            Fixed(by_alias),
            self._workloads,
            any(s.node_local or s.prefers is Nearness.NODE for s in self._endpoints)
            or any(found.for_nodes for found in self._endpoints.values()),
            tuple(self._notes),
        )

    def _add(self, service: Service, found: ServiceEndpoints) -> None:
        self._by_host.setdefault(service.host, []).append(service)
        self._endpoints[service] = found

    def _add_kubernetes(self, kube: core.Service) -> None:
        key = (kube.metadata.namespace, kube.metadata.name)
        resolved = only_names(self._workloads.slices.get(key, ()))
        for service in self._converted(kube, kubernetes_service, resolved, self._default_export):
            legacy = self._snapshot.of(core.Endpoints).get(key)
            found = self._found(kube, *endpoint_inputs(kube, self._workloads, legacy))
            self._kube[service] = kube
            self._add(service, found)
            if service.headless:
                for named, one in named_endpoints(service, found, self._memo):
                    self._add(named, one)

    def _add_entries(self) -> None:
        wanting: dict[Key, tuple[ServiceEntry, Service, ServiceEndpoints]] = {}
        taken: set[str] = set()
        for entry in self._snapshot.of(ServiceEntry).values():
            namespace = entry.metadata.namespace
            selector = entry.spec.workload_selector.labels if entry.spec.workload_selector else {}
            pods = self._workloads.selected(namespace, selector)
            selected = self._workloads.selected_entries(namespace, selector)
            nodes = self._workloads.nodes_named(pod.spec.node_name for pod in pods)
            for service in self._converted(entry, entry_services, self._default_export):
                found = self._found(entry, from_entry, entry, service.host, pods, selected, nodes)
                if wants_address(entry, service):
                    wanting[namespace, service.name, service.host] = (entry, service, found)
                else:
                    taken.update(service.addresses)
                    self._add(service, found)
        addresses = self._memo(automatic_addresses, tuple(wanting), frozenset(taken))
        for key, (_, service, found) in wanting.items():
            self._add(self._memo(_with_addresses, service, (addresses[key],)) if key in addresses else service, found)
        self._notes += no_address_left(entry.ref for key, (entry, _, _) in wanting.items() if key not in addresses)

    def _add_external_names(self, outer: list[core.Service]) -> tuple[ExternalName, ...]:
        known = {host: tuple(same) for host, same in self._by_host.items()}
        found, notes = external_names(outer, known, self._default_export)
        self._notes += notes
        for name in found:
            if not name.target:
                for service in self._converted(name.service, kubernetes_service, True, self._default_export):
                    self._add(service, self._found(name.service, from_external_name, name.service))
        return tuple(name for name in found if name.target)

    def _note_clashes(self, ranked: Mapping[str, tuple[Service, ...]]) -> None:
        for host, same in ranked.items():
            for index, service in enumerate(same[1:], 1):
                hidden = any(other.namespace == service.namespace for other in same[:index])
                effect, first = "nobody reaches this one" if hidden else "", same[0].origin.ref
                self._notes.append(diagnostic("XDS3007", service.origin.ref, (), effect=effect, host=host, first=first))

    def _finished(
        self, ranked: Mapping[str, tuple[Service, ...]], names: tuple[ExternalName, ...]
    ) -> tuple[Mapping[Service, Service], Mapping[str, tuple[Alias, Service]]]:
        """Every service -> itself with its external addresses and its aliases."""
        of: dict[Service, list[Alias]] = {}
        targets: dict[str, tuple[Alias, Service]] = {}
        for name in sorted(names, key=lambda name: name.host):
            namespace = name.service.metadata.namespace
            seen = [s for s in ranked.get(name.target, ()) if visible(s.exported_to, namespace)]
            if not seen:  # it hit a bug, which is reported
                continue
            target = next((s for s in seen if s.namespace == namespace), seen[0])
            alias = Alias(name.host, name.exported_to)
            of.setdefault(target, []).append(alias)
            targets[name.host] = (alias, target)
            self._notes += port_notes(name, target)
        more = dict(self._external_addresses(ranked))
        finished = {
            service: self._memo(_complete, service, more.get(service, ()), tuple(of.get(service, ())), names)
            if names or service in more or service in of
            else service
            for same in ranked.values()
            for service in same
            for names in [_more_names(service, same) if len(same) > 1 else ()]
        }
        return finished, {host: (alias, finished[target]) for host, (alias, target) in targets.items()}

    def _external_addresses(
        self, ranked: Mapping[str, tuple[Service, ...]]
    ) -> Iterator[tuple[Service, tuple[str, ...]]]:
        """An address belongs to the service whose cluster IP it is, else to the oldest that claims it."""
        owners = {ip: service for same in ranked.values() for service in same for ip in service.addresses}
        for service, kube in sorted(self._kube.items(), key=lambda pair: _rank(pair[0])):
            addresses, notes = self._memo(external_addresses, kube)
            self._notes += notes
            free = []
            for ip in addresses:
                owner = owners.setdefault(ip, service)
                if owner is service:
                    free.append(ip)
                else:
                    path = ("spec", "externalIPs") if ip in kube.spec.external_ips else ("status", "loadBalancer")
                    self._notes.append(diagnostic("XDS3031", kube.ref, path, address=ip, first=owner.origin.ref))
            if free:
                yield service, tuple(free)

    def _converted(self, kube: K, convert: Callable[..., Found], *more: object) -> tuple[Service, ...]:
        found = attempt(self._memo, kube.ref, convert, kube, *more)
        if isinstance(found, Diagnostic):
            self._notes.append(found)
            return ()
        self._notes += found[1]
        return found[0]

    def _found(self, kube: Object, find: Callable[..., ServiceEndpoints], *inputs: object) -> ServiceEndpoints:
        found = attempt(self._memo, kube.ref, find, *inputs)
        if isinstance(found, Diagnostic):
            self._notes.append(found)
            return NO_ENDPOINTS
        self._notes += found.diagnostics
        return found


def _rank(service: Service) -> tuple[object, ...]:
    """A Kubernetes Service before a ServiceEntry, the oldest first."""
    return (service.origin.ref.kind != "Service", service.created, service.namespace, service.name)


def _with_addresses(service: Service, addresses: tuple[str, ...]) -> Service:
    return msgspec.structs.replace(service, addresses=addresses)


def _more_names(service: Service, same: tuple[Service, ...]) -> tuple[str, ...]:
    """The subjectAltNames that a ServiceEntry of the same host adds to a Kubernetes Service, as in Istio; only one of
    its own namespace, or others could say whom its clients believe."""
    if service.origin.ref.kind != "Service":
        return ()
    found = (s.subject_alt_names for s in same if s is not service and s.namespace == service.namespace)
    return tuple(dict.fromkeys(name for names in found for name in names))


def _complete(
    service: Service, addresses: tuple[str, ...], aliases: tuple[Alias, ...], names: tuple[str, ...]
) -> Service:
    merged = tuple(dict.fromkeys((*service.addresses, *addresses)))
    return msgspec.structs.replace(
        service, addresses=merged, aliases=aliases, subject_alt_names=(*service.subject_alt_names, *names)
    )


def endpoint_inputs(
    kube: core.Service, index: Workloads, legacy: core.Endpoints | None
) -> tuple[Callable[..., ServiceEndpoints], *tuple[object, ...]]:
    """The function that makes a service's endpoints, and all that they depend on."""
    namespace = kube.metadata.namespace
    entries = index.selected_entries(namespace, kube.spec.selector)
    if slices := index.slices.get((namespace, kube.metadata.name)):
        listed = [endpoint for piece in slices for endpoint in piece.endpoints]
        targets = (endpoint.target_ref.name for endpoint in listed if endpoint.target_ref)
        nodes = index.nodes_named(endpoint.node_name or "" for endpoint in listed)
        return (from_slices, kube, slices, index.pods_named(namespace, targets), nodes, entries)
    # The controller that makes slices of Endpoints leaves these alone.
    if legacy is not None and legacy.metadata.labels.get(SKIP_MIRROR) != "true":
        addresses = [a for subset in legacy.subsets for a in (*subset.addresses, *subset.not_ready_addresses)]
        targets = (address.target_ref.name for address in addresses if address.target_ref)
        nodes = index.nodes_named(address.node_name or "" for address in addresses)
        return (from_endpoints, kube, legacy, index.pods_named(namespace, targets), nodes, entries)
    pods = index.selected(namespace, kube.spec.selector)
    return (from_pods, kube, pods, index.nodes_named(pod.spec.node_name for pod in pods), entries)
