"""What a gateway sees: the servers of the Gateways that select it, and only what their routes lead to."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from xds_server.diagnostics import diagnostic
from xds_server.incremental import Fixed, Pieces, derived, fixed, pieces, stable, united
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.gateway_chains import Bindings, PassingChains, served_names
from xds_server.mesh.gateway_servers import BoundServer, bound_servers
from xds_server.mesh.hosts import most_specific, server_host
from xds_server.mesh.load_balancers import behind_proxy_headers
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Direction,
    Http,
    Listener,
    Match,
    Protocol,
    Respond,
    Route,
    RouteTable,
    ServerTLS,
    VirtualHost,
)
from xds_server.mesh.names import listener as listener_name
from xds_server.mesh.names import quic_listener as quic_listener_name
from xds_server.mesh.names import virtual_host as virtual_host_name
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh, age, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part, Sight, merge, routes_for
from xds_server.mesh.routes.clients import Client
from xds_server.mesh.routes.virtual_service import HttpRoutes
from xds_server.mesh.server_tls import server_tls

Servers = tuple[BoundServer, ...]


def gateway_view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Sight:
    gathered = Gathered()
    made = GatewayView(mesh, proxy, memo, gathered)
    own = gathered.alone(memo, listeners=tuple(made.listeners), route_tables=tuple(made.route_tables))
    return Sight(proxy, fixed({"": stable(memo, ("gateway", proxy), fixed({"": own})), **made.hosts}))


class GatewayView:
    """Collects the parts of one gateway's view; lives only while the view is made.

    hosts: by the name of a route table, what its virtual hosts come to."""

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._memo, self._gathered = mesh, proxy, memo, gathered
        self._secrets = ProxySecrets(mesh, proxy, memo, gathered)
        self._bindings = Bindings(mesh, proxy, memo)
        self._passing = PassingChains(mesh, proxy, self._bindings, memo, gathered)
        self.listeners: list[Listener] = []
        self.route_tables: list[RouteTable] = []
        self.hosts: dict[str, Fixed[str, Part]] = {}
        self._over_quic: dict[tuple[str, int], list[Chain]] = {}
        for (address, port), servers in bound_servers(mesh, proxy, memo, gathered.notes).items():
            self._add(address, port, servers)
        for (address, port), chains in sorted(self._over_quic.items()):
            kept = self._passing.without_doubles(iter(chains))
            self.listeners.append(self._memo(_quic_listener, address, port, kept))

    def _add(self, address: str, port: int, servers: Servers) -> None:
        first = servers[0]
        if first.protocol.is_http:
            found: Iterator[Chain] = iter([self._http_chain(servers)])
        elif first.protocol is Protocol.TLS:
            found = self._tls_chains(servers)
        else:
            found = (chain for server in servers for chain in self._told_if_none(server, self._passing.tcp(server)))
        chains = self._passing.without_doubles(found)
        if chains:
            origins = tuple(server.origin for server in servers)
            proxied = behind_proxy_headers(self._mesh.kubernetes_services, first.gateway, self._proxy)
            self.listeners.append(self._memo(_listener, address, port, chains, origins, proxied))

    def _told_if_none(self, server: BoundServer, chains: Iterable[Chain]) -> Iterator[Chain]:
        found = tuple(chains)
        if not found:
            self._gathered.notes.append(diagnostic("XDS4025", server.gateway.ref, server.path))
        yield from found

    def _http_chain(self, servers: Servers) -> Chain:
        name = servers[0].route_table
        self._add_route_table(name, servers, _hosts(servers))
        origins = tuple(server.origin for server in servers)
        prefix = next((server.stat_prefix for server in servers if server.stat_prefix), name)
        return Chain(name, ChainMatch(), Http(name, prefix, edge=True), origins=origins)

    def _tls_chains(self, servers: Servers) -> Iterator[Chain]:
        yield from self._https_chains(tuple(server for server in servers if server.is_https))
        for server in servers:
            if server.is_https:
                continue
            if server.ends_tls:
                tls = server_tls(server, self._secrets, self._gathered.notes)
                yield from self._told_if_none(server, self._passing.tcp(server, tls)) if tls else ()
            elif server.tls_mode == "AUTO_PASSTHROUGH":
                yield from self._passing.auto_passthrough(server)
            elif server.tls_mode == "PASSTHROUGH":
                yield from self._told_if_none(server, self._passing.passthrough(server))
            else:
                self._gathered.notes.append(diagnostic("XDS5003", server.gateway.ref, (*server.path, "tls")))

    def _https_chains(self, servers: Servers) -> Iterator[Chain]:
        """Servers with the same certificates and settings share one chain and one route table.

        A browser uses an HTTP/2 connection for every host that the certificate is good for. What came for a host of
        another chain is answered 421, on which it opens a new connection (RFC 9110, 15.5.20; istio#9429)."""
        groups: dict[ServerTLS, list[BoundServer]] = {}
        taken: dict[str, tuple[BoundServer, ServerTLS]] = {}
        for server in servers:
            tls = server_tls(server, self._secrets, self._gathered.notes)
            free = self._free(server, tls, taken) if tls is not None else None
            if tls is not None and free is not None:
                groups.setdefault(tls, []).append(free)
        everyone = _hosts(server for group in groups.values() for server in group)
        for tls, same in groups.items():
            name = self._unused(same[0])
            quic = self._asking_for_quic(same, tls)
            self._add_route_table(name, tuple(same), everyone, quic.server.port.number if quic else 0)
            names = tuple(served_names(server) for server in same)
            every = () if () in names else tuple(sorted({name for some in names for name in some}))
            prefix = next((server.stat_prefix for server in same if server.stat_prefix), name)
            origins = tuple(server.origin for server in same)
            chain = Chain(name, ChainMatch(every, tls=True), Http(name, prefix, edge=True), tls, origins)
            if quic:
                twin = replace(chain, tls=replace(tls, alpn=("h3",)))
                self._over_quic.setdefault((quic.address, quic.udp_port), []).append(twin)
            yield chain

    def _asking_for_quic(self, servers: Iterable[BoundServer], tls: ServerTLS) -> BoundServer | None:
        """The first server whose port is UDP too; None when there is none. QUIC has TLS 1.3 inside, and Envoy would
        use it whatever the maximum."""
        found = next((server for server in servers if server.udp_port), None)
        if found is not None and tls.max_version not in ("", "1.3"):
            path = (*found.path, "tls", "maxProtocolVersion")
            self._gathered.notes.append(
                diagnostic("XDS5011", found.gateway.ref, path, maximum=f"TLS {tls.max_version}")
            )
            return None
        return found

    def _unused(self, server: BoundServer) -> str:
        """The server's name for a route table, told apart from that of one whose port has the same name."""
        taken = {table.name for table in self.route_tables}
        return server.route_table if server.route_table not in taken else server.numbered_route_table

    def _free(
        self, server: BoundServer, tls: ServerTLS, taken: dict[str, tuple[BoundServer, ServerTLS]]
    ) -> BoundServer | None:
        """The server without the hosts that another chain has; None when none is left."""
        kept = []
        for index, text in enumerate(server.server.hosts):
            host = server_host(text, "")[1]
            first, same = taken.setdefault(host, (server, tls))
            if same == tls:
                kept.append(text)
            else:
                path = (*server.path, "hosts", index)
                note = diagnostic("XDS3008", server.gateway.ref, path, host=host, first=first.origin)
                self._gathered.notes.append(note)
        return self._memo(_with_hosts, server, tuple(kept)) if kept else None

    def _add_route_table(self, name: str, servers: Servers, everyone: frozenset[str], http3_port: int = 0) -> None:
        """everyone: the hosts of all servers of the port; what is not ours belongs on other connections.
        http3_port: the clients' port where the same is served over QUIC; 0 for none."""
        port = servers[0].port
        ours = _hosts(servers)
        wide = any(host.startswith("*") for host in ours)
        # Only these are named: a thousand tables that each name a thousand hosts would be too much, and `*` will do.
        inside = frozenset(host for host in everyone - ours if wide and most_specific(host, ours))
        shared = _Shared(servers, port, http3_port, ours, inside, _hosts(s for s in servers if s.redirects))
        key = (name, self._proxy.namespace, self._proxy.labels)
        found = self._virtual_hosts(key, shared)
        self.hosts[f"hosts of {name}"] = found
        elsewhere: tuple[str, ...] = ()
        if everyone != ours:
            elsewhere = tuple(sorted(host for host in inside | {"*"} if host not in found))
        origins = tuple(dict.fromkeys(server.origin for server in servers))
        ordered = pieces(self._memo, ("virtual hosts", key), found, lambda part: part.virtual_hosts)
        self.route_tables.append(self._memo(_route_table, name, port, ordered, elsewhere, origins))

    def _virtual_hosts(self, key: Hashable, shared: _Shared) -> Fixed[str, Part]:
        bound = [self._bindings.by_host(server) for server in shared.servers]
        lookups, mesh = looking(self._mesh, *bound)
        services = lookups.views[-len(bound) :]
        clients = [self._bindings.client(server) for server in shared.servers]

        def virtual_host(host: str, _: object) -> Part | None:
            gathered = Gathered()
            redirected = host in shared.redirected
            parts: dict[tuple[VirtualService, Client], HttpRoutes] = {}  # two servers may take the same one
            if not shared.inside or most_specific(host, shared.ours | shared.inside) in shared.ours:
                for server, client, by_host in zip(shared.servers, clients, services, strict=True):
                    for service in sorted(by_host.get(host, {}).values(), key=age):
                        if (service, client) not in parts:
                            parts[service, client] = routes_for(mesh, service, client, self._memo, gathered)
                        redirected |= server.redirects
            if not parts and host not in shared.redirected:
                return None
            routes = merge(parts.values(), self._memo, gathered)
            origins = tuple(Origin(service.ref) for service in dict.fromkeys(service for service, _ in parts))
            made = _virtual_host(host, shared.port, routes, redirected, shared.http3_port, origins)
            return gathered.part(virtual_hosts=(made,))

        context = (shared, *beside_lookups(self._mesh))
        items = self._keys(key, bound, shared.redirected)
        return derived(self._memo, ("hosts", key), virtual_host, items, lookups, context)

    def _keys(self, key: Hashable, bound: list[Fixed[str, Any]], more: frozenset[str]) -> Fixed[str, Any]:
        """A collection with the keys of all."""
        if len(bound) == 1 and not more:
            return bound[0]
        named = [
            derived(self._memo, ("keys", key, number), lambda host, _: host, rows) for number, rows in enumerate(bound)
        ]
        labelled = {str(number): rows for number, rows in enumerate([*named, self._memo(_each_by_itself, more)])}
        return united(self._memo, ("keys", key), labelled, lambda host: (host,))


class _Shared(msgspec.Struct, frozen=True):
    """What the virtual hosts of one route table have in common. inside: hosts of others within the wildcards of
    `ours`. redirected: hosts of plaintext servers that send all to HTTPS."""

    servers: Servers
    port: int
    http3_port: int
    ours: frozenset[str]
    inside: frozenset[str]
    redirected: frozenset[str]


def _each_by_itself(values: frozenset[str]) -> Fixed[str, str]:
    return fixed((value, value) for value in values)


def _hosts(servers: Iterable[BoundServer]) -> frozenset[str]:
    return frozenset(server_host(text, "")[1] for server in servers for text in server.server.hosts)


def _with_hosts(server: BoundServer, hosts: tuple[str, ...]) -> BoundServer:
    return replace(server, server=replace(server.server, hosts=hosts))


def _listener(
    address: str, port: int, chains: tuple[Chain, ...], origins: tuple[Origin, ...], proxied: bool
) -> Listener:
    name = listener_name(address, port)
    return Listener(name, address, port, Direction.OUTBOUND, chains, origins, proxy_protocol=proxied)


def _quic_listener(address: str, port: int, chains: tuple[Chain, ...]) -> Listener:
    name = quic_listener_name(address, port)
    origins = tuple(dict.fromkeys(origin for chain in chains for origin in chain.origins))
    return Listener(name, address, port, Direction.OUTBOUND, chains, origins, quic=True)


def _virtual_host(
    host: str, port: int, routes: tuple[Route, ...], require_tls: bool, http3_port: int, origins: tuple[Origin, ...]
) -> VirtualHost:
    return VirtualHost(virtual_host_name(host, port), (host,), routes, require_tls, http3_port, origins)


def _misdirected(port: int, hosts: tuple[str, ...], origins: tuple[Origin, ...]) -> VirtualHost:
    answer = Respond(421, b"this host is served on another connection\n")
    return VirtualHost(f"misdirected:{port}", hosts, (Route("misdirected", Match(), answer, origins[0]),))


def _route_table(
    name: str, port: int, hosts: Pieces[VirtualHost], elsewhere: tuple[str, ...], origins: tuple[Origin, ...]
) -> RouteTable:
    """Without hosts, everything is answered 404, as Istio does."""
    more = (_misdirected(port, elsewhere, origins),) if elsewhere else ()
    if not hosts and not more:
        more = (VirtualHost(f"blackhole:{port}", ("*",), ()),)
    return RouteTable(name, hosts.followed_by(more) if more else hosts, origins)
