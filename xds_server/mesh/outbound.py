"""A sidecar's way out: its listeners and route tables for the services that it sees.

Without interception (`NONE`) a listener opens the service's port on 127.0.0.1. With it, connections come to
`virtualOutbound` and are handed on by the address that the client wanted: HTTP ports share a listener of every
address, other ports have one for each address of the service (istio pilot/pkg/networking/core/listener.go).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xds_server.diagnostics import diagnostic
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Forward,
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
from xds_server.mesh.protocols import declared_protocol
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, l4_routes_for
from xds_server.mesh.routes.virtual_service import tcp_routes
from xds_server.mesh.scope import Egress, Scope
from xds_server.mesh.service_hosts import Entry, ServiceRoutes, domains, with_port
from xds_server.mesh.special_backends import OWN, black_hole, passthrough

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
OUTBOUND_PORT = 15001
HTTP_PORT = 80
FIRST_UNPRIVILEGED_PORT = 1024


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a listener listens. shared: clients of many services come to it, so it must tell them apart."""

    address: str
    port: int
    binds: bool
    shared: bool


class Outbound:
    """Collects a sidecar's outbound listeners and route tables; lives only while its view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, scope: Scope, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._scope, self._memo, self._gathered = mesh, proxy, scope, memo, gathered
        self._captures = proxy.interception is not Interception.NONE
        self._routes = ServiceRoutes(mesh, proxy, scope, memo, gathered)
        self.listeners: list[Listener] = []
        self.route_tables: dict[str, RouteTable] = {}
        self._unknown = self._unknown_destination()
        for place, entries in sorted(self._places().items()):
            self._add(place, entries)
        if proxy.http_proxy_port:
            self._add_http_proxy(Place(LOOPBACK, proxy.http_proxy_port, True, True), names.HTTP_PROXY_ROUTES)
        for egress in scope.egress:
            if egress.address.startswith(("/", "@")):
                self._add_http_proxy(Place(egress.address, 0, True, True), egress.address, egress)
        if self._captures:
            self.listeners.append(self._virtual_outbound())

    # --- where each port of each service is reached ------------------------------------------------------

    def _places(self) -> dict[Place, list[Entry]]:
        """The services that share a place, in the order of their hosts. A way out that names its port takes it
        from those that do not."""
        named = {egress.port for egress in self._scope.egress if egress.port and egress.captured}
        found: dict[Place, list[Entry]] = {}
        for egress in self._scope.egress:
            if egress.address.startswith(("/", "@")):
                continue
            for service, port in self._routes.entries():
                fits = port.number == egress.port if egress.port else port.number not in named
                if fits and egress.takes(service.namespace, service.host):
                    protocol = declared_protocol(egress.protocol) or port.protocol
                    entry = (service, msgspec.structs.replace(port, protocol=protocol))
                    for place in self._places_of(entry, egress):
                        sharing = found.setdefault(place, [])
                        sharing += [] if entry in sharing else [entry]
        return {place: entries for place, entries in found.items() if self._may_bind(place, entries)}

    def _places_of(self, entry: Entry, egress: Egress) -> list[Place]:
        service, port = entry
        if not self._captures or not egress.captured:
            return [Place(egress.address or LOOPBACK, port.number, True, True)]
        if egress.address:
            return [Place(egress.address, port.number, False, True)]
        if port.protocol.is_http:
            return [Place(EVERY_ADDRESS, port.number, False, True)]
        addresses = [address for address in service.addresses if "/" not in address]
        if service.headless:
            endpoints = self._mesh.registry.endpoints[service].by_port.get(port.number, ())
            addresses = sorted({endpoint.address for endpoint in endpoints})
        if addresses:
            return [Place(address, port.number, False, False) for address in addresses]
        has_range = any("/" in address for address in service.addresses)
        if port.protocol is Protocol.TCP and not has_range:
            # A listener of every address would take what is meant for others (istio#6695, #24937).
            path = ("spec", "ports")
            self._gathered.notes.append(diagnostic("XDS4015", service.origin.ref, path, port=port.number))
            return []
        return [Place(EVERY_ADDRESS, port.number, False, True)]

    def _may_bind(self, place: Place, entries: list[Entry]) -> bool:
        origins = [service.origin for service, _ in entries]
        path = ("spec", "ports")
        if place.binds and place.port == self._proxy.http_proxy_port and place.address == LOOPBACK:
            first = "the HTTP proxy port"
            self._gathered.notes += [diagnostic("XDS3005", o.ref, path, port=place.port, first=first) for o in origins]
            return False
        if place.binds and self._proxy.unprivileged and place.port < FIRST_UNPRIVILEGED_PORT:
            self._gathered.notes += [diagnostic("XDS4012", o.ref, path, port=place.port) for o in origins]
            return False
        return True

    # --- listeners ---------------------------------------------------------------------------------------

    def _add(self, place: Place, entries: list[Entry]) -> None:
        detected = [entry for entry in entries if entry[1].protocol is Protocol.AUTO]
        http = [entry for entry in entries if entry[1].protocol.is_http] + detected
        raw = [entry for entry in entries if not entry[1].protocol.is_http]
        default = self._default_chain(place, raw)
        chains: list[Chain] = []
        if http:
            service, _ = http[0]
            name = names.sidecar_routes(place.port) if place.shared else names.virtual_host(service.host, place.port)
            self._add_route_table(name, place, http)
            match = ChainMatch(detected_http=default is not None)
            chains.append(Chain(name, match, Http(name, f"outbound_{name}"), origins=_origins(http)))
        chains += [self._range_chain(entry) for entry in raw if any("/" in a for a in entry[0].addresses)]
        chains += [self._tls_chain(entry) for entry in raw if entry[1].protocol is Protocol.TLS]
        self.listeners.append(self._memo(_listener, place, tuple(chains), default, _origins(entries)))

    def _default_chain(self, place: Place, raw: list[Entry]) -> Chain | None:
        """For connections that are not HTTP and of no known SNI."""
        if self._captures and place.shared and not place.binds:
            return self._unknown_chain("PassthroughFilterChain")
        owner = self._owner(place, raw)
        if owner is None:
            return None
        name = names.outbound(owner[1].number, "", owner[0].host)
        return Chain(name, ChainMatch(), self._tcp(owner, name), origins=(owner[0].origin,))

    def _owner(self, place: Place, entries: list[Entry]) -> Entry | None:
        """With one address for all services there can be only one. The proxy's own namespace comes first, then the
        oldest."""
        if not entries:
            return None
        ranked = sorted(entries, key=self._owner_rank)
        first = ranked[0][0].origin.ref
        for service, port in ranked[1:]:
            # Of a port that did not say what it speaks, HTTP still works.
            code = {Protocol.TCP: "XDS3005", Protocol.AUTO: "XDS3009"}.get(port.protocol)
            if code:
                path = ("spec", "ports")
                where = f"{place.address}:{place.port}"
                self._gathered.notes.append(diagnostic(code, service.origin.ref, path, where=where, first=first))
        return ranked[0]

    def _owner_rank(self, entry: Entry) -> tuple[object, ...]:
        service, port = entry
        ours = service.namespace == self._proxy.namespace
        return (port.protocol is Protocol.TLS, not ours, service.created, service.namespace, service.name)

    def _tcp(self, entry: Entry, stat_prefix: str) -> Tcp:
        """Passed on by the `tcp` routes for the service's host, else to all its endpoints."""
        service, port = entry
        client = self._routes.client(port.number)
        for virtual in self._routes.bound_to(service.host):
            found = l4_routes_for(self._mesh, virtual, client, tcp_routes, self._memo, self._gathered)
            for route in found.routes:
                if route.destinations:
                    return Tcp(route.destinations, stat_prefix)
        self._routes.default(service, port)
        return Tcp((Destination(names.outbound(port.number, "", service.host)),), stat_prefix)

    def _range_chain(self, entry: Entry) -> Chain:
        service, port = entry
        name = names.outbound(port.number, "", service.host)
        match = ChainMatch(destinations=tuple(a for a in service.addresses if "/" in a))
        return Chain(name, match, self._tcp(entry, name), origins=(service.origin,))

    def _tls_chain(self, entry: Entry) -> Chain:
        """Clients that name the service in the SNI."""
        service, port = entry
        name = f"sni:{names.outbound(port.number, '', service.host)}"
        server_names = tuple(sorted({service.host, *names.short_hosts(service.host, self._proxy.namespace)}))
        match = ChainMatch(server_names, tls=True)
        return Chain(name, match, self._tcp(entry, name), origins=(service.origin,))

    def _virtual_outbound(self) -> Listener:
        """What redirection gives the proxy: handed on to the listener of its address, if there is one."""
        loop = Chain("virtualOutbound-blackhole", ChainMatch(port=OUTBOUND_PORT), Tcp((), "blackhole"))
        return Listener(
            name="virtualOutbound",
            address=EVERY_ADDRESS,
            port=OUTBOUND_PORT,
            direction=Direction.OUTBOUND,
            chains=(loop,),
            origins=(self._scope.origin or OWN,),
            default_chain=self._unknown_chain("virtualOutbound-catchall-tcp"),
            captures=True,
            transparent=self._proxy.interception is Interception.TPROXY,
            hands_on=True,
        )

    # --- what nobody knows ---------------------------------------------------------------------------------

    def _unknown_destination(self) -> str:
        """The backend for hosts that nobody knows; empty for none. There is nothing to pass on to without
        interception: the client wanted to reach the proxy itself."""
        if not self._captures:
            return ""
        sidecar = self._scope.sidecar
        policy = sidecar.spec.outbound_traffic_policy if sidecar else None
        if sidecar and policy and policy.egress_proxy:
            path = ("spec", "outboundTrafficPolicy", "egressProxy")
            return self._routes.destination(policy.egress_proxy, sidecar, path)
        made = passthrough() if self._scope.allow_any else black_hole()
        self._gathered.special[made.name] = made
        return made.name

    def _unknown_chain(self, name: str) -> Chain:
        return Chain(name, ChainMatch(), Tcp((Destination(self._unknown),), self._unknown), origins=(OWN,))

    def _unknown_host(self) -> VirtualHost:
        if not self._unknown or self._unknown == names.BLACK_HOLE:
            return _BLOCK_ALL
        return self._memo(_allow_any, self._unknown)

    # --- route tables --------------------------------------------------------------------------------------

    def _add_route_table(self, name: str, place: Place, entries: Iterable[Entry]) -> None:
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        known = list(entries)
        for service, port in known:
            plain = domains(service, port.number, self._proxy.namespace)
            hosts.append(self._host(service.host, port.number, plain, self._routes.of(service, port), taken))
        if place.shared:
            hosts += self._virtual_only(place.port, taken)
        self._add_table(name, hosts, False, known)

    def _add_table(self, name: str, hosts: list[VirtualHost], ports_in_domains: bool, entries: list[Entry]) -> None:
        made = (*hosts, self._unknown_host())
        self.route_tables[name] = self._memo(_route_table, name, made, ports_in_domains, _origins(entries))

    def _virtual_only(self, number: int, taken: set[str]) -> list[VirtualHost]:
        """Hosts that only a VirtualService names; as in Istio they are served on port 80."""
        if number != HTTP_PORT:
            return []
        known = {service.host for service, _ in self._routes.entries()}
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

    def _add_http_proxy(self, place: Place, name: str, egress: Egress | None = None) -> None:
        """One listener for all HTTP services, told apart by host and port."""
        entries = [
            (service, port)
            for service, port in self._routes.entries()
            if (port.protocol.is_http or port.protocol is Protocol.AUTO)
            and (egress is None or egress.takes(service.namespace, service.host))
        ]
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        for service, port in entries:
            plain = domains(service, port.number, self._proxy.namespace)
            both = (*with_port(plain, port.number), *(plain if port.number == HTTP_PORT else ()))
            hosts.append(self._host(service.host, port.number, both, self._routes.of(service, port), taken))
        self._add_table(name, hosts, True, entries)
        chain = Chain(name, ChainMatch(), Http(name, name), origins=_origins(entries))
        self.listeners.append(self._memo(_listener, place, (chain,), None, _origins(entries)))


def _origins(entries: Iterable[Entry]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(service.origin for service, _ in entries))


_BLOCK_ALL = VirtualHost("block_all", ("*",), (Route("block_all", Match(), Respond(502), OWN),))


def _allow_any(backend: str) -> VirtualHost:
    return VirtualHost("allow_any", ("*",), (Route("allow_any", Match(), Forward((Destination(backend),)), OWN),))


def _listener(place: Place, chains: tuple[Chain, ...], default: Chain | None, origins: tuple[Origin, ...]) -> Listener:
    name = names.listener(place.address, place.port) if place.port else place.address
    return Listener(name, place.address, place.port, Direction.OUTBOUND, chains, origins, default, place.binds)


def _virtual_host(host: str, port: int, plain: tuple[str, ...], routes: tuple[Route, ...]) -> VirtualHost:
    return VirtualHost(names.virtual_host(host, port), plain, routes)


def _route_table(
    name: str, hosts: tuple[VirtualHost, ...], ports_in_domains: bool, origins: tuple[Origin, ...]
) -> RouteTable:
    return RouteTable(name, tuple(host for host in hosts if host.domains), origins, ports_in_domains)
