"""What the objects mean together: indexes over everything, before any proxy is looked at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from xds_server.diagnostics import Diagnostic, Found, diagnostic
from xds_server.incremental import EMPTY, Fixed, Lookups, derived, partitioned, united
from xds_server.kube import core
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.mesh_config import NAME, NAMESPACE, ConfigMap, MeshConfig, mesh_config
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.sidecar import Sidecar
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.memo import Memo, no_memo
from xds_server.mesh import names
from xds_server.mesh.aliases import overruled
from xds_server.mesh.destination_rules import RuleIndex, rule_index
from xds_server.mesh.hosts import bindable
from xds_server.mesh.model import Value
from xds_server.mesh.registry import Registry, registry
from xds_server.mesh.routes.clients import gateways_of
from xds_server.mesh.routes.delegates import named
from xds_server.mesh.scope import Sidecars, sidecars
from xds_server.mesh.selection import Selectors, selectors
from xds_server.mesh.suggestions import did_you_mean
from xds_server.mesh.visibility import exported_to

Key = tuple[str, str]
"""Namespace and name."""


class RouteIndex(Value, frozen=True, eq=False, gc=False):
    """VirtualServices by name; in_mesh: those for sidecars.
    asked: the labels of clients on which conditions depend."""

    in_mesh: Fixed[Key, VirtualService] = EMPTY
    by_name: Mapping[Key, VirtualService] = {}
    default_export: tuple[str, ...] = ()
    asked: Mapping[str, str] = EMPTY

    def exported_to(self, service: VirtualService) -> frozenset[str]:
        """The namespaces that see it."""
        return exported_to(service.spec.export_to, service.metadata.namespace, self.default_export)


class Mesh(Value, frozen=True, eq=False, gc=False):
    """kubernetes_services, service_entries: as written, by what they select."""

    config: MeshConfig
    registry: Registry
    rules: RuleIndex
    routes: RouteIndex
    gateways: Table[Gateway]
    sidecars: Sidecars
    kubernetes_services: Selectors[core.Service]
    service_entries: Selectors[ServiceEntry]
    secrets: Table[core.Secret]
    found: Found


def resolve(snapshot: Snapshot, memo: Memo) -> Mesh:
    config, config_notes = memo(mesh_config, snapshot.of(ConfigMap).get((NAMESPACE, NAME)))
    found = registry(snapshot, memo, config.default_service_export_to)
    exports = config.default_destination_rule_export_to
    rules = rule_index(snapshot.of(DestinationRule), config.root, exports, memo)
    gateways, services = snapshot.of(Gateway), snapshot.of(VirtualService)
    restrictions = sidecars(snapshot.of(Sidecar), memo, config.root)
    lost: tuple[Diagnostic, ...] = ()
    if found.by_alias:
        by_host = partitioned(memo, "routes by host", _hosts, services)
        routes = {alias: tuple(by_host[alias].values()) for alias in found.by_alias if alias in by_host}
        lost = tuple(overruled(found.by_alias, routes, rules.by_host))
    return Mesh(
        config=config,
        registry=found,
        rules=rules,
        routes=route_index(services, config.default_virtual_service_export_to, memo),
        gateways=gateways,
        sidecars=restrictions,
        kubernetes_services=selectors(memo, "services", lambda s: s.spec.selector, snapshot.of(core.Service)),
        service_entries=selectors(memo, "entries", _selector, snapshot.of(ServiceEntry)),
        secrets=snapshot.of(core.Secret),
        found=(
            config_notes,
            found.diagnostics,
            rules.diagnostics,
            restrictions.diagnostics,
            unbound(services, gateways, memo),
            lost,
        ),
    )


def looking(mesh: Mesh, *more: Fixed[Any, Any]) -> tuple[Lookups, Mesh]:
    """The mesh as functions of `derived` see it, which remember what they look up in it. more: further collections in
    which they do, the last of the views."""
    found, rules, routes = mesh.registry, mesh.rules, mesh.routes
    sources = (
        found.by_host,
        found.by_alias,
        found.endpoints,
        found.spelling,
        rules.by_host,
        routes.by_name,
        mesh.secrets,
    )
    lookups = Lookups(*sources, *more)
    by_host, by_alias, endpoints, spelling, rules_by_host, by_name, secrets = lookups.views[: len(sources)]
    seen = replace(
        mesh,
        registry=replace(found, by_host=by_host, by_alias=by_alias, endpoints=endpoints, spelling=spelling),
        rules=replace(rules, by_host=rules_by_host),
        routes=replace(routes, by_name=by_name),
        secrets=secrets,
    )
    return lookups, seen


def beside_lookups(mesh: Mesh) -> tuple[object, ...]:
    """What such functions use of the mesh without looking it up: part of their context."""
    return mesh.config, mesh.rules.by_wildcard, mesh.rules.root, mesh.routes.default_export


def _selector(entry: ServiceEntry) -> Mapping[str, str]:
    return entry.spec.workload_selector.labels if entry.spec.workload_selector else {}


def age(thing: VirtualService | Gateway) -> tuple[str, str, str]:
    """By which the oldest comes first."""
    meta = thing.metadata
    return (meta.creation_timestamp or "", meta.namespace, meta.name)


def route_index(
    services: Table[VirtualService], default_export: tuple[str, ...] = (), memo: Memo = no_memo
) -> RouteIndex:
    asked = united(memo, "labels asked for by routes", {"": services}, _source_labels)
    in_mesh = derived(
        memo, "routes in the mesh", lambda _, s: s if names.MESH_GATEWAY in gateways_of(s) else None, services
    )
    return RouteIndex(in_mesh, services, default_export, asked)


def _source_labels(service: VirtualService) -> Iterator[str]:
    written: tuple[Any, ...] = (*service.spec.http, *service.spec.tcp, *service.spec.tls)
    for route in written:
        for match in route.match:
            yield from match.source_labels


def _hosts(key: Key, service: VirtualService) -> Iterator[tuple[str, tuple[Key, int], tuple[VirtualService, int]]]:
    """The hosts that it has for sidecars, with their places among its hosts."""
    if names.MESH_GATEWAY in gateways_of(service):
        for index, text in enumerate(service.spec.hosts):
            yield names.full_host(text, key[0]), (key, index), (service, index)


def unbound(services: Table[VirtualService], gateways: Table[Gateway], memo: Memo = no_memo) -> Collection[Diagnostic]:
    """VirtualServices whose gateways do not exist, or do not serve their hosts; and those without hosts to which
    nobody delegates."""
    delegating = partitioned(memo, "delegates", lambda key, s: ((name, key, s) for name in named(s)), services)
    lookups = Lookups(gateways, delegating)
    known, delegated = lookups.views

    def notes(key: Key, service: VirtualService) -> tuple[Diagnostic, ...] | None:
        if service.spec.hosts:
            return tuple(_unserved(service, known)) or None
        return None if key in delegated else (diagnostic("XDS2008", service.ref, ("spec", "hosts")),)

    return united(memo, "unbound", {"": derived(memo, "unbound", notes, services, lookups)}, lambda found: found)


def _unserved(service: VirtualService, gateways: Mapping[Key, Gateway]) -> Iterator[Diagnostic]:
    for index, reference in enumerate(gateways_of(service)):
        if reference == names.MESH_GATEWAY:
            continue
        namespace, _, name = reference.partition("/")
        gateway = gateways.get((namespace, name))
        if gateway is None:
            known = ", ".join(f"{ns}/{n}" for ns, n in gateways if n == name) or "none of that name"
            path = ("spec", "gateways", index)
            hint = did_you_mean(reference, (f"{ns}/{n}" for ns, n in gateways))
            yield diagnostic("XDS2004", service.ref, path, gateway=reference, known=known, suggestion=hint)
            continue
        for number, host in enumerate(service.spec.hosts):
            if not any(bindable(server.hosts, gateway, service, host) for server in gateway.spec.servers):
                yield diagnostic("XDS4007", service.ref, ("spec", "hosts", number), host=host, gateway=gateway.ref)
