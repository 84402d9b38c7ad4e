"""What a sidecar sees: its way out, its way in, and the names that it answers for."""

from __future__ import annotations

from xds_server.memo import Memo
from xds_server.mesh.endpoints import is_ip
from xds_server.mesh.inbound import Inbound
from xds_server.mesh.model import Listener, NameTable, RouteTable, Service, Value
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound import Outbound
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.registry import Registry
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.scope import Egress, scope
from xds_server.mesh.service_hosts import host_names, seen_services
from xds_server.mesh.special_backends import OWN

DNS_PORT = 15053


class SidecarView(Value, frozen=True, eq=False, gc=False):
    """The parts of one sidecar's view that are a sidecar's alone."""

    listeners: tuple[Listener, ...]
    route_tables: tuple[RouteTable, ...]
    name_tables: tuple[NameTable, ...]


def sidecar_view(mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> SidecarView:
    limits = memo(scope, mesh.sidecars.of(proxy), proxy.namespace, mesh.config.allows_any)
    inbound = Inbound(mesh, proxy, limits, memo, gathered)
    taken = {listener.name: str(listener.origins[0].ref) for listener in inbound.listeners}
    outbound = Outbound(mesh, proxy, limits, memo, gathered, taken)
    table = memo(_name_table, mesh.registry, proxy.namespace, limits.egress) if proxy.dns_capture else None
    return SidecarView(
        listeners=(*outbound.listeners, *inbound.listeners),
        route_tables=(*outbound.route_tables.values(), *inbound.route_tables),
        name_tables=(table,) if table else (),
    )


def _name_table(registry: Registry, namespace: str, egress: tuple[Egress, ...]) -> NameTable:
    """Every name of every service that has addresses: its virtual IPs, or those of its endpoints when headless."""
    hosts: dict[str, tuple[str, ...]] = {}
    origins: list[Origin] = [OWN]
    for service in seen_services(registry, namespace, egress):
        addresses = _addresses(registry, service)
        if addresses and not service.host.startswith("*"):
            origins.append(service.origin)
            for name in host_names(service, namespace):
                hosts.setdefault(name, addresses)
    return NameTable("dns", "127.0.0.1", DNS_PORT, tuple(sorted(hosts.items())), tuple(origins))


def _addresses(registry: Registry, service: Service) -> tuple[str, ...]:
    if not service.headless:
        return tuple(address for address in service.addresses if "/" not in address)
    found = registry.endpoints[service].by_port.values()
    addresses = (ip for endpoints in found for each in endpoints for ip in (each.address, *each.more_addresses))
    return tuple(sorted({ip for ip in addresses if is_ip(ip)}))
