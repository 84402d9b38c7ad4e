"""What runs where: Pods, Nodes, WorkloadEntries, and the EndpointSlices of services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import EMPTY, Fixed, Lookups, derived, partitioned, rekeyed
from xds_server.kube import core
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.workload_entry import WorkloadEntry
from xds_server.kube.istio.workload_group import WorkloadGroup
from xds_server.kube.pod import Pod
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo
from xds_server.mesh.endpoints import parse_locality, selects, workload_locality
from xds_server.mesh.model import Locality, Value
from xds_server.mesh.origin import Origin

SERVICE_NAME = "kubernetes.io/service-name"
GROUP = "istio.io/autoRegistrationGroup"
T = TypeVar("T")

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


Named = tuple[str, str]
"""Namespace and name."""


Labelled = tuple[str, tuple[str, str]]
"""Namespace and one label."""


class Workloads(Value, frozen=True, eq=False, gc=False):
    """Pods by name, and by each of their labels; Nodes by name; EndpointSlices by the service that they belong to;
    WorkloadEntries by each of their labels. notes: on WorkloadEntries, by name."""

    pods: Mapping[Named, Pod] = EMPTY
    pods_with: Mapping[Labelled, Mapping[Named, Pod]] = EMPTY
    nodes: Mapping[str, core.Node] = EMPTY
    slices: Mapping[Named, Mapping[Named, EndpointSlice]] = EMPTY
    entries_with: Mapping[Labelled, Mapping[Named, Workload]] = EMPTY
    notes: Fixed[Named, tuple[Diagnostic, ...]] = EMPTY

    def selected(self, namespace: str, selector: Mapping[str, str]) -> tuple[Pod, ...]:
        """Sorted by name. An empty selector selects nothing, as in a Service."""
        some = _with_one(self.pods_with, namespace, selector)
        return tuple(some[name] for name in sorted(some) if selects(selector, some[name].metadata.labels))

    def selected_entries(self, namespace: str, selector: Mapping[str, str]) -> tuple[Workload, ...]:
        some = _with_one(self.entries_with, namespace, selector)
        return tuple(some[name] for name in sorted(some) if selects(selector, some[name].labels))

    def slices_of(self, service: Named) -> tuple[EndpointSlice, ...]:
        found = self.slices.get(service)
        return tuple(found[name] for name in sorted(found)) if found else ()

    def pods_named(self, namespace: str, wanted: Iterable[str]) -> tuple[Pod, ...]:
        found = (self.pods.get((namespace, name)) for name in dict.fromkeys(wanted))
        return tuple(pod for pod in found if pod is not None)

    def nodes_named(self, wanted: Iterable[str]) -> tuple[core.Node, ...]:
        found = (self.nodes.get(name) for name in dict.fromkeys(wanted))
        return tuple(node for node in found if node is not None)


def _with_one(
    index: Mapping[Labelled, Mapping[Named, T]], namespace: str, selector: Mapping[str, str]
) -> Mapping[Named, T]:
    """Those with one of the labels: who asks for several is not concerned by all that have another of them."""
    return index.get((namespace, min(selector.items())), {}) if selector else {}


def workloads(snapshot: Snapshot, memo: Memo) -> Workloads:
    pods, groups = snapshot.of(Pod), Lookups(snapshot.of(WorkloadGroup))
    known = groups.views[0]

    def resolved(key: Named, entry: WorkloadEntry) -> Workload:
        group = entry.metadata.annotations.get(GROUP, "")
        return workload(entry, known.get((key[0], group)) if group else None)

    entries = derived(memo, "workload entries", resolved, snapshot.of(WorkloadEntry), groups)
    return Workloads(
        pods,
        partitioned(memo, "pods", _pods_by_label, pods),
        rekeyed(memo, "nodes", {"": snapshot.of(core.Node)}, lambda node: ((node.metadata.name, node),))[0],
        partitioned(memo, "slices", _by_service, snapshot.of(EndpointSlice)),
        partitioned(memo, "workload entries", _entries_by_label, entries),
        derived(memo, "notes on workload entries", lambda key, entry: entry.diagnostics or None, entries),
    )


def _pods_by_label(key: Named, pod: Pod) -> Iterator[tuple[Labelled, Named, Pod]]:
    for label in pod.metadata.labels.items():
        yield (key[0], label), key, pod


def _entries_by_label(key: Named, entry: Workload) -> Iterator[tuple[Labelled, Named, Workload]]:
    for label in entry.labels.items():
        yield (key[0], label), key, entry


def _by_service(key: Named, piece: EndpointSlice) -> Iterator[tuple[Named, Named, EndpointSlice]]:
    yield (key[0], piece.metadata.labels.get(SERVICE_NAME, "")), key, piece


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
