"""What a sidecar sees: every service that is visible from its namespace.

Only `INTERCEPTION_MODE: NONE` so far: the listeners bind the services' own ports on 127.0.0.1, and the HTTP proxy
port when the proxy asks for one.
"""

from __future__ import annotations

from xds_server.diagnostics import diagnostic
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Http,
    Listener,
    Match,
    Protocol,
    Respond,
    Route,
    RouteTable,
    Tcp,
    VirtualHost,
)
from xds_server.mesh.origin import Origin
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, l4_routes_for
from xds_server.mesh.routes.virtual_service import tcp_routes
from xds_server.mesh.service_hosts import Entry, ServiceRoutes, domains, with_port

LOOPBACK = "127.0.0.1"
HTTP_PORT = 80
_UNKNOWN = Origin(names.MESH_REF)


class SidecarView:
    """Collects the parts of one sidecar's view; lives only while the view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._memo, self._gathered = mesh, proxy, memo, gathered
        self._routes = ServiceRoutes(mesh, proxy.namespace, proxy.labels, memo, gathered)
        self.listeners: list[Listener] = []
        self.route_tables: list[RouteTable] = []
        if proxy.interception is not Interception.NONE:
            gathered.notes.append(diagnostic("XDS4013", None, (), mode=proxy.interception))
            return
        by_port: dict[int, list[Entry]] = {}
        for service, port in self._routes.entries():
            by_port.setdefault(port.number, []).append((service, port))
        for number, entries in sorted(by_port.items()):
            self._add_port(number, entries)
        if proxy.http_proxy_port:
            self._add_http_proxy(proxy.http_proxy_port)

    def _add_port(self, number: int, entries: list[Entry]) -> None:
        if number == self._proxy.http_proxy_port:
            self._note_taken(number, entries)
            return
        if self._proxy.unprivileged and number < 1024:
            origin = entries[0][0].origin
            self._gathered.notes.append(diagnostic("XDS4012", origin.ref, ("spec", "ports"), port=number))
            return
        http = [entry for entry in entries if entry[1].protocol.is_http or entry[1].protocol is Protocol.AUTO]
        tls = [entry for entry in entries if entry[1].protocol is Protocol.TLS]
        raw = [entry for entry in entries if not entry[1].protocol.is_http]
        chains: list[Chain] = []
        owner = self._owner(number, raw)
        if http:
            name = names.sidecar_routes(number)
            self._add_route_table(number, http)
            match = ChainMatch(detected_http=owner is not None)
            chains.append(Chain(name, match, Http(name, f"outbound_{name}"), origins=_origins(http)))
        chains += [self._tls_chain(entry) for entry in tls]
        default = self._tcp_chain(owner) if owner else None
        listener = self._memo(_listener, number, tuple(chains), default, _origins(entries))
        self.listeners.append(listener)

    def _note_taken(self, number: int, entries: list[Entry]) -> None:
        for service, _ in entries:
            self._gathered.notes.append(
                diagnostic("XDS3005", service.origin.ref, ("spec", "ports"), port=number, first="the HTTP proxy port")
            )

    def _owner(self, number: int, entries: list[Entry]) -> Entry | None:
        """The service that connections go to which are neither HTTP nor of a known SNI: with one address for all
        services there can be only one. The proxy's own namespace comes first, then the oldest."""
        if not entries:
            return None
        ranked = sorted(entries, key=self._owner_rank)
        owner = ranked[0][0]
        for service, port in ranked[1:]:
            # Of a port that did not say what it speaks, HTTP still works.
            code = {Protocol.TCP: "XDS3005", Protocol.AUTO: "XDS3009"}.get(port.protocol)
            if code:
                path = ("spec", "ports")
                self._gathered.notes.append(
                    diagnostic(code, service.origin.ref, path, port=number, first=owner.origin.ref)
                )
        return ranked[0]

    def _owner_rank(self, entry: Entry) -> tuple[object, ...]:
        service, port = entry
        ours = service.namespace == self._proxy.namespace
        return (port.protocol is Protocol.TLS, not ours, service.created, service.namespace, service.name)

    def _destinations(self, entry: Entry) -> tuple[Destination, ...]:
        """Of the `tcp` routes for the service's host, else all its endpoints."""
        service, port = entry
        client = self._routes.client(port.number)
        for virtual in self._routes.bound.of(service.host):
            found = l4_routes_for(self._mesh, virtual, client, tcp_routes, self._memo, self._gathered)
            for route in found.routes:
                if route.destinations:
                    return route.destinations
        self._routes.default(service, port)
        return (Destination(names.outbound(port.number, "", service.host)),)

    def _tcp_chain(self, entry: Entry) -> Chain:
        service, port = entry
        name = names.outbound(port.number, "", service.host)
        return Chain(name, ChainMatch(), Tcp(self._destinations(entry), name), origins=(service.origin,))

    def _tls_chain(self, entry: Entry) -> Chain:
        """Clients that name the service in the SNI."""
        service, port = entry
        name = f"sni:{names.outbound(port.number, '', service.host)}"
        server_names = tuple(sorted({service.host, *names.short_hosts(service.host, self._proxy.namespace)}))
        match = ChainMatch(server_names, tls=True)
        return Chain(name, match, Tcp(self._destinations(entry), name), origins=(service.origin,))

    def _add_route_table(self, number: int, entries: list[Entry]) -> None:
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        for service, port in entries:
            plain = domains(service, number, self._proxy.namespace)
            hosts.append(self._host(service.host, number, plain, self._routes.of(service, port), taken))
        hosts += self._virtual_only(number, taken)
        hosts.append(_BLOCK_ALL)
        self.route_tables.append(
            self._memo(_route_table, names.sidecar_routes(number), tuple(hosts), False, _origins(entries))
        )

    def _virtual_only(self, number: int, taken: set[str]) -> list[VirtualHost]:
        """Hosts that only a VirtualService names; as in Istio they are served on port 80."""
        if number != HTTP_PORT:
            return []
        known = {service.host for service in self._routes.services()}
        result = []
        for host, found in sorted(self._routes.bound.by_host.items()):
            routes = self._routes.of_virtual_services(found, number) if host not in known else ()
            if routes:
                result.append(self._host(host, number, (host,), routes, taken))
        return result

    def _host(
        self, host: str, port: int, plain: tuple[str, ...], routes: tuple[Route, ...], taken: set[str]
    ) -> VirtualHost:
        """Envoy refuses a route configuration in which a domain stands twice: the first keeps it."""
        free = tuple(domain for domain in plain if domain not in taken)
        taken.update(free)
        return self._memo(_virtual_host, host, port, free, routes)

    def _add_http_proxy(self, number: int) -> None:
        """One listener for all HTTP services, told apart by host and port."""
        entries = [e for e in self._routes.entries() if e[1].protocol.is_http or e[1].protocol is Protocol.AUTO]
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        for service, port in entries:
            plain = domains(service, port.number, self._proxy.namespace)
            both = (*with_port(plain, port.number), *(plain if port.number == HTTP_PORT else ()))
            hosts.append(self._host(service.host, port.number, both, self._routes.of(service, port), taken))
        hosts.append(_BLOCK_ALL)
        name = names.HTTP_PROXY_ROUTES
        self.route_tables.append(self._memo(_route_table, name, tuple(hosts), True, _origins(entries)))
        chain = Chain(name, ChainMatch(), Http(name, name), origins=_origins(entries))
        self.listeners.append(self._memo(_listener, number, (chain,), None, _origins(entries)))


def _origins(entries: list[Entry]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(service.origin for service, _ in entries))


_BLOCK_ALL = VirtualHost("block_all", ("*",), (Route("block_all", Match(), Respond(502), _UNKNOWN),))
"""Hosts that nobody knows. Without interception there is no original destination to pass them on to."""


def _listener(number: int, chains: tuple[Chain, ...], default: Chain | None, origins: tuple[Origin, ...]) -> Listener:
    name = names.listener(LOOPBACK, number)
    return Listener(name, LOOPBACK, number, Direction.OUTBOUND, chains, origins, default)


def _virtual_host(host: str, port: int, plain: tuple[str, ...], routes: tuple[Route, ...]) -> VirtualHost:
    return VirtualHost(names.virtual_host(host, port), plain, routes)


def _route_table(
    name: str, hosts: tuple[VirtualHost, ...], ports_in_domains: bool, origins: tuple[Origin, ...]
) -> RouteTable:
    return RouteTable(name, tuple(host for host in hosts if host.domains), origins, ports_in_domains)
