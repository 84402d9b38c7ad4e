"""The services of Kubernetes Services, ServiceEntries and ExternalNames, each with its endpoints.

Every step is a collection made from collections (`incremental`), so that a change costs what it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, cast

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic
from xds_server.incremental import Fixed, Lookups, derived, fixed, rekeyed, united
from xds_server.kube import core
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.meta import Object
from xds_server.kube.snapshot import Snapshot
from xds_server.memo import Memo, no_memo
from xds_server.mesh import names
from xds_server.mesh.aliases import ExternalName, external_name
from xds_server.mesh.endpoints import NO_ENDPOINTS, ServiceEndpoints
from xds_server.mesh.entry_endpoints import from_entry, from_external_name
from xds_server.mesh.headless import named_endpoints
from xds_server.mesh.model import Service, Value
from xds_server.mesh.service_entries import automatic_addresses, entry_services, no_address_left, wants_address
from xds_server.mesh.services import Found, exports, kubernetes_service
from xds_server.mesh.slice_endpoints import SKIP_MIRROR, from_endpoints, from_slices, only_names
from xds_server.mesh.workload_endpoints import from_pods
from xds_server.mesh.workloads import Named, Workloads

ServiceKey = tuple[str, str, str, str]
"""Host, and the kind, namespace and name of the object that has it: what stays when a service changes."""


class Converted(Value, frozen=True, eq=False, gc=False):
    """The services of one object."""

    object: Object
    services: tuple[Service, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


class Located(Value, frozen=True, eq=False, gc=False):
    """Services with their endpoints."""

    pairs: tuple[tuple[Service, ServiceEndpoints], ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def service_key(service: Service) -> ServiceKey:
    return (service.host, service.origin.ref.kind, service.namespace, service.name)


def notes_of(memo: Memo, name: str, rows: Fixed[Any, Any]) -> Fixed[Any, tuple[Diagnostic, ...]]:
    return derived(memo, ("notes", name), lambda key, row: row.diagnostics or None, rows)


def _converted(of: Object, convert: Callable[..., Found], *more: object) -> Converted:
    found = attempt(no_memo, of.ref, convert, of, *more)
    return Converted(of, (), (found,)) if isinstance(found, Diagnostic) else Converted(of, *found)


def _found(
    of: Object, notes: list[Diagnostic], find: Callable[..., ServiceEndpoints], *inputs: object
) -> ServiceEndpoints:
    found = attempt(no_memo, of.ref, find, *inputs)
    if isinstance(found, Diagnostic):
        notes.append(found)
        return NO_ENDPOINTS
    notes += found.diagnostics
    return found


def kubernetes_services(
    snapshot: Snapshot, index: Workloads, memo: Memo, default_export: tuple[str, ...], notes: list[Any]
) -> tuple[Fixed[Named, Located], Fixed[Named, core.Service]]:
    """Those with their endpoints, and apart from them the ExternalNames."""
    tables = snapshot.of(core.Service)
    listed = cast("Fixed[Named, Any]", index.slices)
    named = derived(memo, "named by slices", lambda key, _: only_names(index.slices_of(key)) or None, listed)
    lookups = Lookups(named)
    resolved = lookups.views[0]

    def convert(key: Named, kube: core.Service) -> Converted | None:
        if kube.spec.type == "ExternalName":
            return None
        return _converted(kube, kubernetes_service, resolved.get(key, False), default_export)

    converted = derived(memo, "services", convert, tables, lookups, default_export)
    sources = Lookups(
        snapshot.of(core.Endpoints), index.slices, index.pods, index.pods_with, index.nodes, index.entries_with
    )
    legacy, slices, pods, pods_with, nodes, entries_with = sources.views
    known = Workloads(pods, pods_with, nodes, slices, entries_with)

    def locate(key: Named, found: Converted) -> Located:
        said: list[Diagnostic] = []
        pairs: list[tuple[Service, ServiceEndpoints]] = []
        kube: Any = found.object
        for service in found.services:
            endpoints = _found(found.object, said, *endpoint_inputs(kube, known, legacy.get(key)))
            pairs.append((service, endpoints))
            pairs += named_endpoints(service, endpoints) if service.headless else ()
        return Located(tuple(pairs), tuple(said))

    located = derived(memo, "located services", locate, converted, sources)
    notes += [notes_of(memo, "services", converted), notes_of(memo, "located services", located)]
    outer = derived(memo, "outer", lambda key, kube: kube if kube.spec.type == "ExternalName" else None, tables)
    return located, outer


def endpoint_inputs(
    kube: core.Service, index: Workloads, legacy: core.Endpoints | None
) -> tuple[Callable[..., ServiceEndpoints], *tuple[object, ...]]:
    """The function that makes a service's endpoints, and all that they depend on."""
    namespace = kube.metadata.namespace
    entries = index.selected_entries(namespace, kube.spec.selector)
    if slices := index.slices_of((namespace, kube.metadata.name)):
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


def entry_services_of(
    snapshot: Snapshot, index: Workloads, memo: Memo, default_export: tuple[str, ...], notes: list[Any]
) -> Fixed[Named, Located]:
    def convert(key: Named, entry: ServiceEntry) -> Converted:
        return _converted(entry, entry_services, default_export)

    converted = derived(memo, "entries", convert, snapshot.of(ServiceEntry), context=default_export)
    rows = {"": converted}
    wanting, taken = united(memo, "wanting addresses", rows, _wanting), united(memo, "taken addresses", rows, _taken)
    given = Lookups(memo(_addresses, wanting, taken))
    known_addresses = given.views[0]

    def address(key: Named, found: Converted) -> Converted:
        services, said = [], [*found.diagnostics]
        for service in found.services:
            wanted = _automatic(found.object, service)
            if wanted is not None and wanted not in known_addresses:
                said += no_address_left((found.object.ref,))
            elif wanted is not None:
                service = msgspec.structs.replace(service, addresses=(known_addresses[wanted],))
            services.append(service)
        return Converted(found.object, tuple(services), tuple(said))

    addressed = derived(memo, "addressed entries", address, converted, given)
    sources = Lookups(index.pods_with, index.nodes, index.entries_with)
    pods_with, nodes, entries_with = sources.views
    known = Workloads(pods_with=pods_with, nodes=nodes, entries_with=entries_with)

    def locate(key: Named, found: Converted) -> Located:
        said: list[Diagnostic] = []
        entry: Any = found.object
        selector = entry.spec.workload_selector.labels if entry.spec.workload_selector else {}
        pods, selected = known.selected(key[0], selector), known.selected_entries(key[0], selector)
        on = known.nodes_named(pod.spec.node_name for pod in pods)
        return Located(
            tuple((s, _found(entry, said, from_entry, entry, s.host, pods, selected, on)) for s in found.services),
            tuple(said),
        )

    located = derived(memo, "located entries", locate, addressed, sources)
    notes += [notes_of(memo, "entries", addressed), notes_of(memo, "located entries", located)]
    return located


def _automatic(entry: Any, service: Service) -> tuple[str, str, str] | None:
    """By what the service is known to `automatic_addresses`, if it wants one."""
    return (service.namespace, service.name, service.host) if wants_address(entry, service) else None


def _wanting(found: Converted) -> Iterator[tuple[str, str, str]]:
    yield from filter(None, (_automatic(found.object, service) for service in found.services))


def _taken(found: Converted) -> Iterator[str]:
    yield from chain.from_iterable(service.addresses for service in found.services)


def _addresses(wanting: Fixed[Any, Any], taken: Fixed[str, str]) -> Fixed[Any, str]:
    return fixed(automatic_addresses(wanting, frozenset(taken)))


def external_names(
    outer: Fixed[Named, core.Service],
    inner: Fixed[str, Fixed[ServiceKey, Service]],
    memo: Memo,
    default_export: tuple[str, ...],
    notes: list[Any],
) -> tuple[Fixed[str, ExternalName], Fixed[str, Located]]:
    """The aliases by host, and the services outside of the mesh."""

    def declare(key: Named, kube: core.Service) -> ExternalName:
        return ExternalName(kube, names.service_host(key[1], key[0]), exports(kube, default_export))

    declared = derived(memo, "external names", declare, outer, context=default_export)
    listed, _ = rekeyed(memo, "external names", {"": declared}, lambda name: ((name.host, name),))
    lookups = Lookups(listed, inner)
    of_host, known = lookups.views

    def follow(host: str, name: ExternalName) -> tuple[ExternalName | None, tuple[Diagnostic, ...]]:
        return external_name(name, of_host, known)

    followed = derived(memo, "followed", follow, listed, lookups)
    notes.append(derived(memo, "notes on external names", lambda host, found: found[1] or None, followed))

    def locate(host: str, found: tuple[ExternalName | None, Any]) -> Located | None:
        name = found[0]
        if name is None or name.target:
            return None
        made, said = _converted(name.service, kubernetes_service, True, default_export), list[Diagnostic]()
        pairs = tuple((s, _found(name.service, said, from_external_name, name.service)) for s in made.services)
        return Located(pairs, (*made.diagnostics, *said))

    outside = derived(memo, "outside", locate, followed, context=default_export)
    notes.append(notes_of(memo, "outside", outside))
    aliases = derived(memo, "aliases", lambda host, found: found[0] if found[0] and found[0].target else None, followed)
    return aliases, outside
