"""The route tables of a gateway: a virtual host for each host under which its servers serve VirtualServices."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from xds_server.incremental import EMPTY, Fixed, Lookups, Pieces, derived, partitioned, pieces_of_each, rekeyed
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.gateway_chains import Claim, claims, client_of
from xds_server.mesh.gateway_ports import OpenPort, ServedTable
from xds_server.mesh.gateway_servers import BoundServer
from xds_server.mesh.hosts import most_specific
from xds_server.mesh.model import Match, Respond, Route, RouteTable, VirtualHost
from xds_server.mesh.names import virtual_host as virtual_host_name
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Key, Mesh, age, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part, merge, routes_for
from xds_server.mesh.routes.clients import Client
from xds_server.mesh.routes.virtual_service import HttpRoutes

Place = tuple[str, int]
"""The name of a route table, and the place of a server among those that it is for."""


class GatewayHosts(NamedTuple):
    """The parts of the virtual hosts, by route table and host; and of the route tables, by name."""

    hosts: Fixed[tuple[str, str], Part]
    tables: Fixed[str, Part]


def gateway_hosts(mesh: Mesh, proxy: Proxy, ports: Fixed[Any, OpenPort], memo: Memo) -> GatewayHosts:
    found, _ = rekeyed(
        memo, ("tables", proxy), {"": ports}, lambda port: ((table.name, table) for table in port.tables)
    )
    # A port that is opened anew has new tables, most of them like the old: an equal one stays the same object.
    tables = derived(memo, ("same tables", proxy), lambda _, table: table, found)
    claimed = claims(mesh, ("requests", proxy), partitioned(memo, ("routing", proxy), _by_gateway, tables), memo)
    by_host = partitioned(memo, ("served", proxy), _by_host, claimed, tables)
    hosts = _virtual_hosts(mesh, proxy, tables, by_host, memo)
    return GatewayHosts(hosts, _route_tables(proxy, tables, hosts, memo))


def _by_gateway(_: str, table: ServedTable) -> Iterator[tuple[Key, Place, tuple[Place, BoundServer]]]:
    for index, server in enumerate(table.servers):
        place = (table.name, index)
        yield server.gateway_key, place, (place, server)


def _by_host(key: Any, row: ServedTable | tuple[Claim, ...]) -> Iterator[tuple[tuple[str, str], Hashable, Any]]:
    """What is served at each host: claims, or the table that redirects it."""
    if isinstance(row, ServedTable):
        for host in row.redirected:
            yield (row.name, host), "", row
        return
    for claim in row:
        table, index = claim.place
        yield (table, claim.host), (index, key), claim


def _virtual_hosts(
    mesh: Mesh,
    proxy: Proxy,
    tables: Fixed[str, ServedTable],
    by_host: Fixed[tuple[str, str], Fixed[Any, Claim | ServedTable]],
    memo: Memo,
) -> Fixed[tuple[str, str], Part]:
    lookups, seen = looking(mesh, tables)
    table_of = lookups.views[-1]
    clients: dict[int, Client] = {}  # of a server by its id: one object for all of its hosts

    def virtual_host(key: tuple[str, str], found: Mapping[Any, Claim | ServedTable]) -> Part | None:
        name, host = key
        table = table_of[name]
        gathered = Gathered()
        redirected = host in table.redirected
        parts: dict[tuple[VirtualService, Client], HttpRoutes] = {}  # two servers may take the same one
        if not table.inside or most_specific(host, table.ours | table.inside) in table.ours:
            of_services = [claim for claim in found.values() if isinstance(claim, Claim)]
            for _, server, _, service in sorted(of_services, key=_order):
                client = clients.get(id(server)) or clients.setdefault(id(server), client_of(seen, proxy, server))
                if (service, client) not in parts:
                    parts[service, client] = routes_for(seen, service, client, memo, gathered)
                redirected |= server.redirects
        if not parts and not redirected:
            return None
        routes = merge(parts.values(), memo, gathered)
        origins = tuple(Origin(service.ref) for service in dict.fromkeys(service for service, _ in parts))
        made = VirtualHost(virtual_host_name(host, table.port), (host,), routes, redirected, table.http3_port, origins)
        return gathered.part(virtual_hosts=(made,))

    return derived(memo, ("hosts", proxy), virtual_host, by_host, lookups, beside_lookups(mesh))


def _order(claim: Claim) -> tuple[Any, ...]:
    return (claim.place[1], age(claim.service))


def _route_tables(
    proxy: Proxy, tables: Fixed[str, ServedTable], hosts: Fixed[tuple[str, str], Part], memo: Memo
) -> Fixed[str, Part]:
    by_table: Fixed[str, Fixed[str, Part]] = partitioned(
        memo, ("hosts by table", proxy), lambda key, part: [(*key, part)], hosts
    )
    ordered = pieces_of_each(memo, ("ordered", proxy), by_table, lambda part: part.virtual_hosts)
    lookups = Lookups(by_table, ordered)
    named, sequence = lookups.views

    def route_table(name: str, table: ServedTable) -> Part:
        there: Mapping[str, Part] = named.get(name, EMPTY)
        found: Pieces[VirtualHost] = sequence.get(name, Pieces())
        origins = tuple(dict.fromkeys(server.origin for server in table.servers))
        elsewhere = tuple(sorted(host for host in table.elsewhere if host not in there))
        if elsewhere:
            found = found.followed_by((_misdirected(table.port, elsewhere, origins),))
        elif not found:  # everything is answered 404, as Istio does
            found = found.followed_by((VirtualHost(f"blackhole:{table.port}", ("*",), ()),))
        return Part(route_tables=(RouteTable(name, found, origins),))

    return derived(memo, ("route tables", proxy), route_table, tables, lookups)


def _misdirected(port: int, hosts: tuple[str, ...], origins: tuple[Origin, ...]) -> VirtualHost:
    answer = Respond(421, b"this host is served on another connection\n")
    return VirtualHost(f"misdirected:{port}", hosts, (Route("misdirected", Match(), answer, origins[0]),))
