"""What runs where: Pods, Nodes, WorkloadEntries, and the EndpointSlices of services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.workload_entry import WorkloadEntry
from xds_server.kube.istio.workload_group import WorkloadGroup
from xds_server.kube.pod import Pod
from xds_server.kube.snapshot import Table
from xds_server.memo import Memo
from xds_server.mesh.endpoints import parse_locality, selects, workload_locality
from xds_server.mesh.model import Locality, Value
from xds_server.mesh.origin import Origin

SERVICE_NAME = "kubernetes.io/service-name"
GROUP = "istio.io/autoRegistrationGroup"
HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"


class Workload(Value, frozen=True, eq=False, gc=False):
    """A WorkloadEntry with what its WorkloadGroup adds. ports: name of a service's port -> number.
    address: empty when only its network is known."""

    origin: Origin
    address: str
    ports: Mapping[str, int]
    labels: Mapping[str, str]
    locality: Locality
    weight: int
    healthy: bool
    diagnostics: tuple[Diagnostic, ...] = ()


class Workloads(Value, frozen=True, eq=False, gc=False):
    """Pods and WorkloadEntries by namespace, Nodes by name, EndpointSlices by the service that they belong to."""

    pods: Mapping[str, Mapping[str, Pod]]
    nodes: Mapping[str, core.Node]
    slices: Mapping[tuple[str, str], tuple[EndpointSlice, ...]]
    entries: Mapping[str, tuple[Workload, ...]] = {}

    def selected(self, namespace: str, selector: Mapping[str, str]) -> tuple[Pod, ...]:
        """An empty selector selects nothing, as in a Service."""
        if not selector:
            return ()
        pods = self.pods.get(namespace, {}).values()
        return tuple(pod for pod in pods if selects(selector, pod.metadata.labels))

    def selected_entries(self, namespace: str, selector: Mapping[str, str]) -> tuple[Workload, ...]:
        if not selector:
            return ()
        return tuple(entry for entry in self.entries.get(namespace, ()) if selects(selector, entry.labels))

    def pods_named(self, namespace: str, wanted: Iterable[str]) -> tuple[Pod, ...]:
        pods = self.pods.get(namespace, {})
        return tuple(pods[name] for name in dict.fromkeys(wanted) if name in pods)

    def nodes_named(self, wanted: Iterable[str]) -> tuple[core.Node, ...]:
        return tuple(self.nodes[name] for name in dict.fromkeys(wanted) if name in self.nodes)


NO_WORKLOADS = Workloads({}, {}, {})
Entries = tuple[tuple[str, tuple[Workload, ...]], ...]
"""The WorkloadEntries of each namespace."""


def workloads(
    pods: Table[Pod],
    nodes: Table[core.Node],
    slices: Table[EndpointSlice],
    entries: Entries,
) -> Workloads:
    by_namespace: dict[str, dict[str, Pod]] = {}
    for (namespace, name), pod in pods.items():
        by_namespace.setdefault(namespace, {})[name] = pod
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for (namespace, _), piece in slices.items():
        by_service.setdefault((namespace, piece.metadata.labels.get(SERVICE_NAME, "")), []).append(piece)
    return Workloads(
        by_namespace,
        {name: node for (_, name), node in nodes.items()},
        {service: tuple(pieces) for service, pieces in by_service.items()},
        dict(entries),
    )


def resolved_entries(entries: Table[WorkloadEntry], groups: Table[WorkloadGroup], memo: Memo) -> Entries:
    found: dict[str, list[Workload]] = {}
    for (namespace, _), entry in entries.items():
        group = groups.get((namespace, entry.metadata.annotations.get(GROUP, "")))
        found.setdefault(namespace, []).append(memo(workload, entry, group))
    return tuple((namespace, tuple(same)) for namespace, same in found.items())


def workload(entry: WorkloadEntry, group: WorkloadGroup | None) -> Workload:
    """What the entry says wins over its group, the labels of its metadata over those of its spec, as in Istio."""
    spec, meta = entry.spec, entry.metadata
    template = group.spec.template if group else None
    labels: dict[str, str] = {}
    if group is not None:
        labels |= group.spec.metadata.labels | group.spec.template.labels
    labels |= spec.labels | meta.labels
    locality = spec.locality or (template.locality if template else "")
    notes = []
    named = meta.annotations.get(GROUP, "")
    if named and group is None:
        path = ("metadata", "annotations", GROUP)
        notes.append(diagnostic("XDS2032", entry.ref, path, group=f"{meta.namespace}/{named}"))
    if not spec.address:
        notes.append(diagnostic("XDS2036", entry.ref, ("spec",)))
    return Workload(
        origin=Origin(entry.ref),
        address=spec.address,
        ports={**(template.ports if template else {}), **spec.ports},
        labels=labels,
        locality=workload_locality({} if locality else labels, parse_locality(locality)),
        weight=spec.weight or (template.weight if template else None) or 1,
        healthy=_healthy(entry),
        diagnostics=tuple(notes),
    )


def _healthy(entry: WorkloadEntry) -> bool:
    """An entry that an agent checks is not well until the agent says so."""
    found = [each.status for each in (entry.status.conditions if entry.status else ()) if each.type == "Healthy"]
    if found:
        return found[-1] == "True"
    return entry.metadata.annotations.get(HEALTH_CHECKED, "").lower() != "true"
