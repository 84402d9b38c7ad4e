"""What the objects mean together: indexes over everything, before any proxy is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube import core
from xds_server.kube.istio.destination_rule import DestinationRule
from xds_server.kube.istio.gateway import Gateway
from xds_server.kube.istio.mesh_config import NAME, NAMESPACE, ConfigMap, MeshConfig, mesh_config
from xds_server.kube.istio.service_entry import ServiceEntry
from xds_server.kube.istio.sidecar import Sidecar
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.kube.snapshot import Snapshot, Table
from xds_server.memo import Fixed, Memo
from xds_server.mesh import names
from xds_server.mesh.destination_rules import RuleIndex, rule_index
from xds_server.mesh.hosts import bindable
from xds_server.mesh.model import Value
from xds_server.mesh.registry import Registry
from xds_server.mesh.registry_changes import registry
from xds_server.mesh.routes.clients import gateways_of
from xds_server.mesh.routes.delegates import named
from xds_server.mesh.scope import Sidecars, sidecars
from xds_server.mesh.suggestions import did_you_mean
from xds_server.mesh.visibility import exported_to, visible


class RouteIndex(Value, frozen=True, eq=False, gc=False):
    """VirtualServices, oldest first, by what they are bound to: `namespace/gateway` or `mesh`.
    by_name: all of them, by namespace and name."""

    by_gateway: Mapping[str, tuple[VirtualService, ...]] = {}
    by_name: Mapping[tuple[str, str], VirtualService] = {}
    default_export: tuple[str, ...] = ()

    def bound_to(self, gateway: str, namespace: str) -> tuple[VirtualService, ...]:
        """Those that are exported to `namespace`."""
        found = self.by_gateway.get(gateway, ())
        return tuple(s for s in found if visible(self.exported_to(s), namespace))

    def exported_to(self, service: VirtualService) -> frozenset[str]:
        """The namespaces that see it."""
        return exported_to(service.spec.export_to, service.metadata.namespace, self.default_export)


class Mesh(Value, frozen=True, eq=False, gc=False):
    """gateways: oldest first. kubernetes_services, service_entries, secrets: as written, for what only some proxies
    ask of them."""

    config: MeshConfig
    registry: Registry
    rules: RuleIndex
    routes: RouteIndex
    gateways: tuple[Gateway, ...]
    sidecars: Sidecars
    kubernetes_services: Table[core.Service]
    service_entries: Table[ServiceEntry]
    secrets: Table[core.Secret]
    diagnostics: tuple[Diagnostic, ...]


def resolve(snapshot: Snapshot, memo: Memo) -> Mesh:
    config, config_notes = memo(mesh_config, snapshot.of(ConfigMap).get((NAMESPACE, NAME)))
    found = registry(snapshot, memo, config.default_service_export_to)
    exports = config.default_destination_rule_export_to
    rules = memo(rule_index, snapshot.of(DestinationRule), config.root, exports)
    gateways = snapshot.of(Gateway)
    restrictions = memo(sidecars, snapshot.of(Sidecar), config.root)
    notes = memo(unbound, snapshot.of(VirtualService), gateways)
    return Mesh(
        config=config,
        registry=found,
        rules=rules,
        routes=memo(route_index, snapshot.of(VirtualService), config.default_virtual_service_export_to),
        gateways=memo(_oldest_first, gateways),
        sidecars=restrictions,
        kubernetes_services=snapshot.of(core.Service),
        service_entries=snapshot.of(ServiceEntry),
        secrets=snapshot.of(core.Secret),
        diagnostics=(*config_notes, *found.diagnostics, *rules.diagnostics, *restrictions.diagnostics, *notes),
    )


def lasting(mesh: Mesh, memo: Memo) -> Mesh:
    """The mesh without endpoints: the same object for as long as nothing else changes, which is most of the time."""
    found = mesh.registry
    return memo(
        _lasting,
        mesh.config,
        found.by_host,
        found.by_alias,
        mesh.rules,
        mesh.routes,
        mesh.gateways,
        mesh.sidecars,
        mesh.kubernetes_services,
        mesh.service_entries,
        mesh.secrets,
    )


def _lasting(config: MeshConfig, by_host: Fixed[str, Any], by_alias: Fixed[str, Any], *rest: Any) -> Mesh:
    rules, routes, gateways, restrictions, services, entries, secrets = rest
    known = Registry(by_host, by_alias=by_alias)
    return Mesh(config, known, rules, routes, gateways, restrictions, services, entries, secrets, ())


def _age(thing: VirtualService | Gateway) -> tuple[str, str, str]:
    meta = thing.metadata
    return (meta.creation_timestamp or "", meta.namespace, meta.name)


def _oldest_first(gateways: Table[Gateway]) -> tuple[Gateway, ...]:
    return tuple(sorted(gateways.values(), key=_age))


def route_index(services: Table[VirtualService], default_export: tuple[str, ...] = ()) -> RouteIndex:
    by_gateway: dict[str, list[VirtualService]] = {}
    for service in sorted(services.values(), key=_age):
        for gateway in dict.fromkeys(gateways_of(service)):
            by_gateway.setdefault(gateway, []).append(service)
    return RouteIndex(
        {gateway: tuple(found) for gateway, found in by_gateway.items()}, dict(services.items()), default_export
    )


def unbound(services: Table[VirtualService], gateways: Table[Gateway]) -> tuple[Diagnostic, ...]:
    """VirtualServices whose gateways do not exist, or do not serve their hosts; and those without hosts to which
    nobody delegates."""
    delegated = {key for service in services.values() for key in named(service)}
    notes = []
    for key, service in services.items():
        if not service.spec.hosts:
            notes += [] if key in delegated else [diagnostic("XDS2008", service.ref, ("spec", "hosts"))]
            continue
        for index, reference in enumerate(gateways_of(service)):
            if reference == names.MESH_GATEWAY:
                continue
            namespace, _, name = reference.partition("/")
            gateway = gateways.get((namespace, name))
            if gateway is None:
                known = ", ".join(f"{ns}/{n}" for ns, n in gateways if n == name) or "none of that name"
                path = ("spec", "gateways", index)
                hint = did_you_mean(reference, (f"{ns}/{n}" for ns, n in gateways))
                note = diagnostic("XDS2004", service.ref, path, gateway=reference, known=known, suggestion=hint)
                notes.append(note)
                continue
            for number, host in enumerate(service.spec.hosts):
                if not any(bindable(server, gateway, service, host) for server in gateway.spec.servers):
                    path = ("spec", "hosts", number)
                    notes.append(diagnostic("XDS4007", service.ref, path, host=host, gateway=gateway.ref))
    return tuple(notes)
