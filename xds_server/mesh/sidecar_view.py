"""What a sidecar sees: its way out, its way in, and the names that it answers for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import Fixed, Lookups, Pieces, derived, fixed, pieces, rekeyed, stable, united
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.inbound import Inbound
from xds_server.mesh.model import Listener, NameTable, Service
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound import PROXY, clash_notes, outbound
from xds_server.mesh.outbound_places import pods_of
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Key, Mesh
from xds_server.mesh.route_tables import Gathered, Part, Sight
from xds_server.mesh.scope import Scope, scope
from xds_server.mesh.service_hosts import MeshRoutes, all_hosts, host_names, mesh_routes
from xds_server.mesh.special_backends import OWN
from xds_server.mesh.topology import anywhere, seat_of

DNS_PORT = 15053


def sidecar_view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Sight:
    limits = memo(scope, mesh.sidecars.of(proxy), proxy.namespace, mesh.config.allows_any)
    gathered = Gathered()
    inbound = Inbound(mesh, proxy, limits, memo, gathered)
    own = gathered.alone(memo, listeners=tuple(inbound.listeners), route_tables=tuple(inbound.route_tables))
    seat = seat_of(mesh, proxy)
    return Sight(seat, memo(_outward, mesh, anywhere(seat), limits, memo), own, limits)


def _outward(mesh: Mesh, proxy: Proxy, limits: Scope, memo: Memo) -> Fixed[str, Fixed[Any, Part]]:
    seen = mesh_routes(mesh, proxy.namespace, limits.egress, memo)
    gathered = Gathered()
    gathered.notes += _unknown_hosts(limits, seen, memo)
    names = (_name_table(mesh, proxy, limits, seen, memo),) if proxy.dns_capture else ()
    named = stable(memo, ("names", proxy, limits), fixed({"": gathered.alone(memo, name_tables=names)}))
    return fixed({"names": named, **outbound(mesh, proxy, limits, seen, memo)})


_ORDER = {"outbound": 0, PROXY: 1}


def first_listener(origin: tuple[str, object]) -> tuple[object, ...]:
    """The rank of a listener's part: what comes first has the address. Places come last, in their order."""
    label, key = origin
    return (_ORDER[label],) if label in _ORDER else (len(_ORDER), key)


def clashes_with_own(own: Iterable[Listener], shared: Mapping[str, Listener]) -> Iterator[Diagnostic]:
    """Of listeners with the same address, which the proxy's own have."""
    for listener in own:
        if listener.name in shared:
            yield from clash_notes(shared[listener.name], str(listener.origins[0].ref))


def listener_clashes(several: Mapping[str, Mapping[tuple[str, object], Listener]]) -> Iterator[Diagnostic]:
    """Of listeners with the same address."""
    for same in several.values():
        first, *others = sorted(same, key=first_listener)
        words = PROXY if first[0] == PROXY else str(same[first].origins[0].ref)
        for other in others:
            yield from clash_notes(same[other], words)


def _unknown_hosts(limits: Scope, seen: MeshRoutes, memo: Memo) -> Iterator[Diagnostic]:
    """Hosts of the Sidecar's ways out that nothing has: neither a service nor a VirtualService."""
    if limits.sidecar is None:
        return
    wanted = [
        (egress.index, number, each)
        for egress in limits.egress
        for number, each in enumerate(egress.hosts)
        if each.host != "*" and each.namespace != "~"
    ]

    def met(owned: Iterable[tuple[str, str]]) -> tuple[tuple[int, int], ...] | None:
        pairs = tuple(owned)
        return tuple((at, number) for at, number, each in wanted if any(each.meets(*pair) for pair in pairs)) or None

    def by_service(host: str, service: Service) -> tuple[tuple[int, int], ...] | None:
        return met((service.namespace, name) for name in all_hosts(service))

    def by_route(host: str, services: Fixed[Key, VirtualService]) -> tuple[tuple[int, int], ...] | None:
        return met((namespace, host) for namespace, _ in services)

    rows = {
        "services": derived(memo, ("met by services", limits), by_service, seen.services),
        "routes": derived(memo, ("met by routes", limits), by_route, seen.by_host),
    }
    found = united(memo, ("met", limits), rows, lambda indexes: indexes)
    for at, number, each in wanted:
        if (at, number) not in found:
            path = ("spec", "egress", at, "hosts", number)
            yield diagnostic("XDS2010", limits.sidecar.ref, path, host=f"{each.namespace}/{each.host}")


def _name_table(mesh: Mesh, proxy: Proxy, limits: Scope, seen: MeshRoutes, memo: Memo) -> NameTable:
    """Every name of every service that has addresses: its virtual IPs, or those of its endpoints when headless."""
    key = (proxy.namespace, limits.egress)
    lookups = Lookups(pods_of(mesh, key, seen.services, memo))
    pods = lookups.views[0]

    def answers(host: str, service: Service) -> tuple[Origin, tuple[str, ...], tuple[str, ...]] | None:
        of_pods = pods.get(host, {}).values() if service.headless else ()
        known = {ip for addresses in of_pods for ip in addresses} if service.headless else service.addresses
        found = tuple(sorted(address for address in known if "/" not in address))
        if not found or service.host.startswith("*"):
            return None
        return service.origin, host_names(service, proxy.namespace), found

    named = derived(memo, ("names", key), answers, seen.services, lookups, proxy.namespace)
    origins = pieces(memo, ("names", key), named, lambda row: (row[0],))
    by_name, _ = rekeyed(memo, ("by name", key), {"": named}, _names)
    return memo(_table, pieces(memo, ("by name", key), by_name, lambda host: (host,)), origins)


def _names(row: tuple[Origin, tuple[str, ...], tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    _, called, addresses = row
    for name in called:
        yield name, (name, addresses)


def _table(hosts: Pieces[tuple[str, tuple[str, ...]]], origins: Pieces[Origin]) -> NameTable:
    return NameTable("dns", "127.0.0.1", DNS_PORT, hosts, Pieces(((OWN,), *origins.pieces)))
