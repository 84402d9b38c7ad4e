"""What a gateway sees: the servers of the Gateways that select it, and only what their routes lead to."""

from __future__ import annotations

from collections.abc import Iterator

from xds_server.diagnostics import diagnostic
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.gateway_servers import BoundServer, bound_servers
from xds_server.mesh.hosts import bindable, server_host
from xds_server.mesh.load_balancers import behind_proxy_headers
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Direction,
    Http,
    Listener,
    Protocol,
    Route,
    RouteTable,
    ServerTLS,
    Tcp,
    VirtualHost,
)
from xds_server.mesh.names import listener as listener_name
from xds_server.mesh.names import virtual_host as virtual_host_name
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, l4_routes_for, merge, routes_for
from xds_server.mesh.routes.clients import Client
from xds_server.mesh.routes.l4 import L4Route, tcp_routes, tls_routes
from xds_server.mesh.routes.virtual_service import HttpRoutes
from xds_server.mesh.server_tls import server_tls


class GatewayView:
    """Collects the parts of one gateway's view; lives only while the view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._memo, self._gathered = mesh, proxy, memo, gathered
        self._secrets = ProxySecrets(mesh, proxy, memo, gathered)
        self.listeners: list[Listener] = []
        self.route_tables: list[RouteTable] = []
        for (address, port), servers in bound_servers(mesh, proxy, gathered.notes).items():
            self._add(address, port, servers)

    def _add(self, address: str, port: int, servers: tuple[BoundServer, ...]) -> None:
        first = servers[0]
        if first.protocol.is_http:
            chains = [self._http_chain(servers)]
        elif first.protocol is Protocol.TLS:
            chains = list(self._tls_chains(servers))
        else:
            chains = list(self._tcp_chains(servers))
        if not chains:
            return
        proxied = behind_proxy_headers(self._mesh.kubernetes_services, first.gateway, self._proxy)
        origins = tuple(server.origin for server in servers)
        listener = self._memo(_listener, address, port, tuple(chains), origins, proxied)
        self.listeners.append(listener)

    def _http_chain(self, servers: tuple[BoundServer, ...]) -> Chain:
        name = servers[0].route_table
        self._add_route_table(name, servers)
        origins = tuple(server.origin for server in servers)
        return Chain(name, ChainMatch(), Http(name, name, edge=True), origins=origins)

    def _tls_chains(self, servers: tuple[BoundServer, ...]) -> Iterator[Chain]:
        taken: dict[str, Origin] = {}
        for server in servers:
            if server.is_https:
                tls = server_tls(server, self._secrets, self._gathered.notes)
                if tls is not None:
                    yield from self._https_chain(server, tls, taken)
            elif server.ends_tls:
                tls = server_tls(server, self._secrets, self._gathered.notes)
                if tls is not None:
                    yield from self._ended_tls_chains(server, tls, taken)
            elif server.tls_mode == "PASSTHROUGH":
                yield from self._passthrough_chains(server, taken)
            else:
                path = (*server.path, "tls", "mode")
                self._gathered.notes.append(diagnostic("XDS5004", server.gateway.ref, path, mode=server.tls_mode))

    def _https_chain(self, server: BoundServer, tls: ServerTLS, taken: dict[str, Origin]) -> Iterator[Chain]:
        hosts = [server_host(text, "")[1] for text in server.server.hosts]
        server_names = self._free(hosts, server.origin, taken)
        if server_names is not None:
            name = server.route_table
            self._add_route_table(name, (server,))
            traffic = Http(name, name, edge=True)
            yield Chain(name, ChainMatch(server_names, tls=True), traffic, tls, (server.origin,))

    def _ended_tls_chains(self, server: BoundServer, tls: ServerTLS, taken: dict[str, Origin]) -> Iterator[Chain]:
        """TLS ended here, and what is inside passed on by the `tcp` routes."""
        hosts = [server_host(text, "")[1] for text in server.server.hosts]
        server_names = self._free(hosts, server.origin, taken)
        route = next(self._tcp_routes(server), None)
        if server_names is not None and route is not None:
            name = f"{server.gateway_name}.{server.server.port.name}"
            yield _tcp_chain(name, ChainMatch(server_names, tls=True), route, tls, server.origin)

    def _passthrough_chains(self, server: BoundServer, taken: dict[str, Origin]) -> Iterator[Chain]:
        """Connections passed on by their SNI, unopened."""
        for service, hosts in self._bound(server):
            found = l4_routes_for(self._mesh, service, self._client(server), tls_routes, self._memo, self._gathered)
            for route in found.routes:
                served = [name for name in route.server_names if any(_within(name, host) for host in hosts)]
                server_names = self._free(served, route.origin, taken) if served else None
                if server_names is not None and route.destinations:
                    name = ",".join(server_names) or "*"
                    yield _tcp_chain(name, ChainMatch(server_names, tls=True), route, None, server.origin)

    def _tcp_chains(self, servers: tuple[BoundServer, ...]) -> Iterator[Chain]:
        """One server a port: plain TCP has nothing else to tell connections apart by."""
        server = servers[0]
        route = next(self._tcp_routes(server), None)
        if route is not None:
            name = f"{server.gateway_name}.{server.server.port.name}"
            yield _tcp_chain(name, ChainMatch(), route, None, server.origin)

    def _tcp_routes(self, server: BoundServer) -> Iterator[L4Route]:
        for service, _ in self._bound(server):
            found = l4_routes_for(self._mesh, service, self._client(server), tcp_routes, self._memo, self._gathered)
            yield from (route for route in found.routes if route.destinations)

    def _free(self, hosts: list[str], origin: Origin, taken: dict[str, Origin]) -> tuple[str, ...] | None:
        """The SNI names no other chain of the listener has: Envoy refuses a listener with two equal matches.
        Empty for every name; None when all are taken."""
        result = []
        for host in hosts:
            first = taken.setdefault(host, origin)
            if first == origin:
                result.append(host)
            else:
                self._gathered.notes.append(diagnostic("XDS3008", origin.ref, origin.path, host=host, first=first.ref))
        if not result:
            return None
        return () if "*" in result else tuple(sorted(set(result)))

    def _client(self, server: BoundServer) -> Client:
        return Client(server.gateway_name, server.server.port.number, self._proxy.namespace, self._proxy.labels)

    def _bound(self, server: BoundServer) -> Iterator[tuple[VirtualService, tuple[str, ...]]]:
        """The VirtualServices bound to a server, and the hosts under which it serves them."""
        namespace = server.gateway.metadata.namespace
        for service in self._mesh.routes.bound_to(server.gateway_name, namespace):
            hosts = [h for host in service.spec.hosts for h in bindable(server.server, server.gateway, service, host)]
            if hosts:
                yield service, tuple(dict.fromkeys(hosts))

    def _add_route_table(self, name: str, servers: tuple[BoundServer, ...]) -> None:
        port = servers[0].port
        parts: dict[str, list[HttpRoutes]] = {}
        redirected: set[str] = set()
        origins: dict[Origin, None] = {server.origin: None for server in servers}
        for server in servers:
            redirects = server.server.tls is not None and server.server.tls.https_redirect
            if redirects:
                served = [server_host(text, "")[1] for text in server.server.hosts]
                redirected |= set(served)
                parts |= {host: parts.get(host, []) for host in served}
            for service, hosts in self._bound(server):
                routes = routes_for(self._mesh, service, self._client(server), self._memo, self._gathered)
                origins[Origin(service.ref)] = None
                for host in hosts:
                    parts.setdefault(host, []).append(routes)
                    redirected |= {host} if redirects else set()
        virtual_hosts = tuple(
            self._memo(
                _virtual_host, host, port, merge(dict.fromkeys(same), self._memo, self._gathered), host in redirected
            )
            for host, same in sorted(parts.items())
        )
        self.route_tables.append(self._memo(_route_table, name, port, virtual_hosts, tuple(origins)))


def _within(host: str, allowed: str) -> bool:
    return allowed in (host, "*") or (allowed.startswith("*.") and host.endswith(allowed[1:]))


def _tcp_chain(name: str, match: ChainMatch, route: L4Route, tls: ServerTLS | None, server: Origin) -> Chain:
    return Chain(name, match, Tcp(route.destinations, name), tls, (server, route.origin))


def _listener(
    address: str, port: int, chains: tuple[Chain, ...], origins: tuple[Origin, ...], proxied: bool
) -> Listener:
    name = listener_name(address, port)
    return Listener(name, address, port, Direction.OUTBOUND, chains, origins, proxy_protocol=proxied)


def _virtual_host(host: str, port: int, routes: tuple[Route, ...], require_tls: bool) -> VirtualHost:
    return VirtualHost(virtual_host_name(host, port), (host,), routes, require_tls)


def _route_table(name: str, port: int, hosts: tuple[VirtualHost, ...], origins: tuple[Origin, ...]) -> RouteTable:
    """Without hosts, everything is answered 404, as Istio does."""
    return RouteTable(name, hosts or (VirtualHost(f"blackhole:{port}", ("*",), ()),), origins)
