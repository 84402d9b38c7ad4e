"""The registry after a change, made from the one before it.

Endpoints change far more often than anything else, and a change of one EndpointSlice must not cost a look at every
service. What is found here is what `gathered` would find (tests/property).
"""

from __future__ import annotations

from itertools import compress
from operator import is_not
from typing import Any

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic
from xds_server.kube import core
from xds_server.kube.discovery import EndpointSlice
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.istio.workload_entry import WorkloadEntry
from xds_server.kube.istio.workload_group import WorkloadGroup
from xds_server.kube.pod import Pod
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.memo import Memo, keep, last
from xds_server.mesh.endpoints import ServiceEndpoints
from xds_server.mesh.model import Service
from xds_server.mesh.names import service_host
from xds_server.mesh.registry import Registry, endpoint_inputs, gathered
from xds_server.mesh.slice_endpoints import only_names
from xds_server.mesh.workloads import SERVICE_NAME, Workloads


def registry(snapshot: Snapshot, memo: Memo, default_export: tuple[str, ...] = ()) -> Registry:
    """default_export: the namespaces that see services which do not say who does.

    When nothing but EndpointSlices has changed, only the services that they belong to are looked at again.
    """
    inputs = (*(snapshot.of(kind) for kind in _INPUTS), default_export)
    slices = snapshot.of(EndpointSlice)
    before = last(memo, registry)
    made = None
    if before is not None:
        old_inputs, old_slices, old = before
        if all(new is known for new, known in zip(inputs[:-1], old_inputs[:-1], strict=True)):
            made = old if slices is old_slices else with_slices(old, snapshot, old_slices, memo)
    if made is None or default_export != before[0][-1]:
        made = _same_names(gathered(snapshot, memo, default_export), before[2] if before else None)
    keep(memo, registry, (inputs, slices, made))
    return made


_INPUTS: tuple[type[Any], ...] = (
    core.Service,
    core.Endpoints,
    core.Node,
    Pod,
    DestinationRule,
    ServiceEntry,
    VirtualService,
    WorkloadEntry,
    WorkloadGroup,
)
"""All that the services and endpoints depend on, but for the EndpointSlices."""


def _same_names(new: Registry, old: Registry | None) -> Registry:
    """The registry with the mappings of the old one where they say the same, so that they are known to."""
    if old is None:
        return new
    by_host = old.by_host if dict.__eq__(old.by_host, new.by_host) else new.by_host
    by_alias = old.by_alias if dict.__eq__(old.by_alias, new.by_alias) else new.by_alias
    return msgspec.structs.replace(new, by_host=by_host, by_alias=by_alias)


def with_slices(old: Registry, snapshot: Snapshot, before: Table[EndpointSlice], memo: Memo) -> Registry | None:
    """The registry after a change of EndpointSlices alone; None when it touches more than the endpoints of services
    with an address of their own."""
    now = snapshot.of(EndpointSlice)
    changed = _changed(now, before)
    owners = {_owner(piece) for key in changed for piece in (before.get(key), now.get(key)) if piece is not None}
    slices = dict(old.workloads.slices)
    for owner in owners:
        kept = {
            piece.metadata.name: piece
            for piece in slices.pop(owner, ())
            if (owner[0], piece.metadata.name) not in changed
        }
        added = (now[key] for key in changed if key in now)
        kept |= {piece.metadata.name: piece for piece in added if _owner(piece) == owner}
        if kept:
            slices[owner] = tuple(kept[name] for name in sorted(kept))
    index = msgspec.structs.replace(old.workloads, slices=slices)
    endpoints = dict(old.endpoints)
    for owner in owners:
        kube = snapshot.of(core.Service).get(owner)
        if kube is None or kube.spec.type == "ExternalName":
            continue
        if not _replaced(kube, old, index, snapshot.of(core.Endpoints).get(owner), endpoints, memo):
            return None
    return msgspec.structs.replace(old, endpoints=endpoints, workloads=index)


def _changed(now: Table[EndpointSlice], before: Table[EndpointSlice]) -> set[tuple[str, str]]:
    """The keys of what came, went or is another. With equal keys, which are sorted, no piece is looked up."""
    if now.keys() == before.keys():
        return set(compress(now, map(is_not, now.values(), before.values())))
    return {key for key, piece in now.items() if before.get(key) is not piece} | (before.keys() - now.keys())


def _owner(piece: EndpointSlice) -> tuple[str, str]:
    """Namespace and name of the Service that a slice belongs to."""
    return piece.metadata.namespace, piece.metadata.labels.get(SERVICE_NAME, "")


def _replaced(
    kube: core.Service,
    old: Registry,
    index: Workloads,
    legacy: core.Endpoints | None,
    endpoints: dict[Service, ServiceEndpoints],
    memo: Memo,
) -> bool:
    """Puts the endpoints of one Service in place. False when more than its endpoints would change."""
    key = (kube.metadata.namespace, kube.metadata.name)
    mine = [s for s in old.by_host.get(service_host(key[1], key[0]), ()) if s.origin.ref == kube.ref]
    if len(mine) != 1 or mine[0].headless:
        return False
    if only_names(index.slices.get(key, ())) != only_names(old.workloads.slices.get(key, ())):
        return False
    was, found = endpoints[mine[0]], attempt(memo, kube.ref, *endpoint_inputs(kube, index, legacy))
    if isinstance(found, Diagnostic) or found.diagnostics != was.diagnostics or found.for_nodes != was.for_nodes:
        return False
    endpoints[mine[0]] = found
    return True
