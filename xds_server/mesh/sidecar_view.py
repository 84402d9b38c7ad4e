"""What a sidecar sees: its way out, its way in, and the names that it answers for.

The way out is made without looking at endpoints, but for those of headless services, so that nothing of it is made
again when only endpoints change, which is most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio.mesh_config import MeshConfig
from xds_server.kube.snapshot import Table
from xds_server.memo import Fixed, Memo
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.destination_rules import RuleIndex
from xds_server.mesh.endpoints import is_ip
from xds_server.mesh.inbound import Inbound
from xds_server.mesh.model import Alias, Backend, Listener, NameTable, RouteTable, Service, Value
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound import Outbound
from xds_server.mesh.outbound_places import Pods
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.registry import Registry
from xds_server.mesh.resolve import Mesh, RouteIndex
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.scope import Scope, Sidecars, scope
from xds_server.mesh.service_hosts import all_hosts, host_names, seen_services
from xds_server.mesh.special_backends import OWN

DNS_PORT = 15053


class SidecarView(Value, frozen=True, eq=False, gc=False):
    """The parts of one sidecar's view that are a sidecar's alone."""

    listeners: tuple[Listener, ...]
    route_tables: tuple[RouteTable, ...]
    name_tables: tuple[NameTable, ...]


class OutboundPart(Value, frozen=True, eq=False, gc=False):
    """What an `Outbound` has collected."""

    listeners: tuple[Listener, ...]
    route_tables: tuple[RouteTable, ...]
    backends: frozenset[BackendRef]
    special: tuple[Backend, ...]
    diagnostics: tuple[Diagnostic, ...]


def sidecar_view(mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> SidecarView:
    limits = memo(scope, mesh.sidecars.of(proxy), proxy.namespace, mesh.config.allows_any)
    inbound = Inbound(mesh, proxy, limits, memo, gathered)
    taken = tuple((listener.name, str(listener.origins[0].ref)) for listener in inbound.listeners)
    hosts, aliases = mesh.registry.by_host, mesh.registry.by_alias
    lasting = memo(_without_endpoints, mesh.config, hosts, aliases, mesh.rules, mesh.routes)
    services = memo(seen_services, lasting.registry, proxy.namespace, limits.egress)
    pods = tuple(_pods(mesh.registry, services))
    outbound = memo(_outbound, lasting, proxy, limits, pods, taken, memo)
    gathered.backends |= outbound.backends
    gathered.special |= {backend.name: backend for backend in outbound.special}
    gathered.notes += outbound.diagnostics
    gathered.notes += memo(_unknown_hosts, limits, services, lasting.routes)
    table = memo(_name_table, services, pods, proxy.namespace) if proxy.dns_capture else None
    return SidecarView(
        listeners=(*outbound.listeners, *inbound.listeners),
        route_tables=(*outbound.route_tables, *inbound.route_tables),
        name_tables=(table,) if table else (),
    )


def _without_endpoints(
    config: MeshConfig,
    hosts: Fixed[str, tuple[Service, ...]],
    aliases: Fixed[str, tuple[Alias, Service]],
    rules: RuleIndex,
    routes: RouteIndex,
) -> Mesh:
    """The mesh as far as the way out of a sidecar depends on it."""
    return Mesh(
        config=config,
        registry=Registry(hosts, by_alias=aliases),
        rules=rules,
        routes=routes,
        gateways=(),
        sidecars=Sidecars(),
        kubernetes_services=Table(),
        service_entries=Table(),
        secrets=Table(),
        diagnostics=(),
    )


def _unknown_hosts(limits: Scope, services: tuple[Service, ...], routes: RouteIndex) -> tuple[Diagnostic, ...]:
    """Hosts of the Sidecar's ways out that nothing has: neither a service nor a VirtualService."""
    if limits.sidecar is None:
        return ()
    owned = [(service.namespace, host) for service in services for host in all_hosts(service)]
    owned += [
        (virtual.metadata.namespace, names.full_host(host, virtual.metadata.namespace))
        for virtual in routes.by_gateway.get(names.MESH_GATEWAY, ())
        for host in virtual.spec.hosts
    ]
    notes = []
    for egress in limits.egress:
        for number, wanted in enumerate(egress.hosts):
            if wanted.host != "*" and wanted.namespace != "~" and not any(wanted.meets(*one) for one in owned):
                path = ("spec", "egress", egress.index, "hosts", number)
                shown = f"{wanted.namespace}/{wanted.host}"
                notes.append(diagnostic("XDS2010", limits.sidecar.ref, path, host=shown))
    return tuple(notes)


def _pods(registry: Registry, services: tuple[Service, ...]) -> Iterator[tuple[tuple[Service, int], tuple[str, ...]]]:
    for service in services:
        if service.headless:
            for port, endpoints in registry.endpoints[service].by_port.items():
                addresses = (ip for each in endpoints for ip in (each.address, *each.more_addresses))
                yield (service, port), tuple(sorted({ip for ip in addresses if is_ip(ip)}))


def _outbound(
    mesh: Mesh, proxy: Proxy, limits: Scope, pods: Pods, taken: tuple[tuple[str, str], ...], memo: Memo
) -> OutboundPart:
    gathered = Gathered()
    made = Outbound(mesh, proxy, limits, pods, dict(taken), memo, gathered)
    return OutboundPart(
        listeners=tuple(made.listeners),
        route_tables=tuple(made.route_tables.values()),
        backends=frozenset(gathered.backends),
        special=tuple(gathered.special.values()),
        diagnostics=tuple(dict.fromkeys(gathered.notes)),
    )


def _name_table(services: tuple[Service, ...], pods: Pods, namespace: str) -> NameTable:
    """Every name of every service that has addresses: its virtual IPs, or those of its endpoints when headless."""
    of_pods: dict[Service, set[str]] = {}
    for (service, _), addresses in pods:
        of_pods.setdefault(service, set()).update(addresses)
    hosts: dict[str, tuple[str, ...]] = {}
    origins: list[Origin] = [OWN]
    for service in services:
        known = of_pods.get(service, ()) if service.headless else service.addresses
        found = tuple(sorted(address for address in known if "/" not in address))
        if found and not service.host.startswith("*"):
            origins.append(service.origin)
            for name in host_names(service, namespace):
                hosts.setdefault(name, found)
    return NameTable("dns", "127.0.0.1", DNS_PORT, tuple(sorted(hosts.items())), tuple(origins))
