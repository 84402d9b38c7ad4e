"""A sidecar's way out: its listeners and route tables for the services that it sees."""

from __future__ import annotations

from xds_server.diagnostics import diagnostic
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.chains import distinct
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
from xds_server.mesh.outbound_chains import RawChains, http_chains
from xds_server.mesh.outbound_places import (
    EVERY_ADDRESS,
    LOOPBACK,
    OUTBOUND_PORT,
    REDIRECTED,
    RESERVED_PORTS,
    Offer,
    Place,
    Pods,
    places,
)
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.scope import Egress, Scope
from xds_server.mesh.service_hosts import ServiceRoutes, domains, takes, with_port
from xds_server.mesh.special_backends import OWN, black_hole, passthrough

HTTP_PORT = 80


class Outbound:
    """Collects a sidecar's outbound listeners and route tables; lives only while its view is made.

    taken: the names of the listeners that the proxy has already, and what has them, in words.
    """

    def __init__(
        self,
        mesh: Mesh,
        proxy: Proxy,
        scope: Scope,
        pods: Pods,
        taken: dict[str, str],
        memo: Memo,
        gathered: Gathered,
    ) -> None:
        self._proxy, self._scope, self._memo, self._gathered = proxy, scope, memo, gathered
        self._captures = proxy.interception is not Interception.NONE
        self._routes = ServiceRoutes(mesh, proxy, scope, memo, gathered)
        self._raw = RawChains(mesh, proxy, self._routes, memo, gathered)
        self._taken = taken
        self.listeners: list[Listener] = []
        self.route_tables: dict[str, RouteTable] = {}
        self._unknown = self._unknown_destination()
        if self._captures:
            self._add(self._virtual_outbound())
        if port := proxy.http_proxy_port or mesh.config.proxy_http_port:
            self._add_http_proxy(Place(LOOPBACK, port, True, True), names.HTTP_PROXY_ROUTES)
        for egress in scope.egress:
            if egress.is_http_proxy:
                place = Place(egress.address or LOOPBACK, egress.port, True, True)
                self._add_http_proxy(place, str(place), egress)
        offered = places(pods, proxy, scope, self._routes.services, gathered.notes)
        for place, offers in sorted(offered.items()):
            self._add_place(place, offers)

    # --- listeners ---------------------------------------------------------------------------------------

    def _add(self, listener: Listener, words: str = "") -> None:
        """Of two listeners with the same address only the first can listen. words: what it is."""
        first = self._taken.get(listener.name, "") or self._reserved(listener)
        if not first:
            self._taken[listener.name] = words or str(listener.origins[0].ref)
            self.listeners.append(listener)
            return
        where = f"{listener.address}:{listener.port}" if listener.port else listener.address
        for each in listener.origins:
            note = diagnostic("XDS3013", each.ref, each.path or ("spec",), where=where, first=first)
            self._gathered.notes.append(note)

    def _reserved(self, listener: Listener) -> str:
        """What has the port, in words: a listener of it, at whichever address, would take what is redirected there."""
        is_ours = listener.captures or not (listener.binds or listener.address == EVERY_ADDRESS)
        return REDIRECTED if self._captures and listener.port in RESERVED_PORTS and not is_ours else ""

    def _add_place(self, place: Place, offers: list[Offer]) -> None:
        http = [offer for offer in offers if offer.is_http]
        raw = [offer for offer in offers if not offer.protocol.is_http]
        default = self._unknown_chain("PassthroughFilterChain") if place.captured else self._raw.rest(place, raw)
        chains = list(self._raw.of(place, raw))
        if http:
            name = self._route_table_name(place, http)
            self._add_route_table(name, place, http)
            chains = [*http_chains(name, http, chains, detects=default is not None), *chains]
        kept, clashes = distinct(chains)
        for clash in clashes:
            origin, first = clash.chain.origins[-1], clash.first.origins[-1]
            if clash.chain.origins == clash.first.origins[:1]:  # routes in the place of the service's own endpoints
                continue
            path = origin.path or ("spec",)
            note = diagnostic("XDS3014", origin.ref, path, what=clash.what, where=str(place), first=first.ref)
            self._gathered.notes.append(note)
        self._add(self._memo(_listener, place, kept, default, _origins(offers)))

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
        """The backend for hosts that nobody knows; empty for none. Without interception there is nothing to pass on
        to, since the client wanted to reach the proxy itself, but for the proxy that a Sidecar names."""
        sidecar = self._scope.sidecar
        policy = sidecar.spec.outbound_traffic_policy if sidecar else None
        if sidecar and policy and policy.egress_proxy:
            path = ("spec", "outboundTrafficPolicy", "egressProxy")
            return self._routes.destination(policy.egress_proxy, sidecar, path)
        if not self._captures:
            return ""
        made = passthrough() if self._scope.allow_any else black_hole()
        self._gathered.special[made.name] = made
        return made.name

    def _unknown_chain(self, name: str) -> Chain:
        return Chain(name, ChainMatch(), Tcp((Destination(self._unknown),), self._unknown), origins=(OWN,))

    def _unknown_host(self, place: Place) -> VirtualHost:
        # Who comes to a port of the proxy itself did not want to go anywhere else.
        nowhere = ("", names.BLACK_HOLE, names.PASSTHROUGH) if place.binds else ("", names.BLACK_HOLE)
        return _BLOCK_ALL if self._unknown in nowhere else self._memo(_allow_any, self._unknown)

    # --- route tables --------------------------------------------------------------------------------------

    def _route_table_name(self, place: Place, http: list[Offer]) -> str:
        """The port, where all clients of the port come to; else what tells the place from that."""
        if not place.shared:
            return names.virtual_host(http[0].service.host, place.port)
        usual = EVERY_ADDRESS if self._captures else LOOPBACK
        return names.sidecar_routes(place.port) if place.address == usual else str(place)

    def _add_route_table(self, name: str, place: Place, http: list[Offer]) -> None:
        if name in self.route_tables:  # the endpoints of a headless service share theirs
            return
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        for offer in [*http, *(() if place.shared else self._members(http))]:
            plain = domains(offer.service, self._proxy.namespace)
            hosts.append(self._host(offer, plain, taken))
        if place.shared:
            hosts += self._virtual_only(place.port, False, taken)
        if "*" not in taken:
            hosts.append(self._unknown_host(place))
        self._add_table(name, hosts, False, http)

    def _members(self, http: list[Offer]) -> list[Offer]:
        """The endpoints with names of their own, of those services that are headless."""
        found = {offer.service.host: offer for offer in http if offer.service.headless}
        return [
            Offer(service, port, found[service.parent].protocol, True)
            for service in self._routes.services
            if service.parent in found
            for port in service.ports
            if port.number == found[service.parent].port.number
        ]

    def _add_table(self, name: str, hosts: list[VirtualHost], ports_in_domains: bool, offers: list[Offer]) -> None:
        self.route_tables[name] = self._memo(_route_table, name, tuple(hosts), ports_in_domains, _origins(offers))

    def _virtual_only(self, number: int, ports_in_domains: bool, taken: set[str]) -> list[VirtualHost]:
        """Hosts that only a VirtualService names; as in Istio they are served on port 80."""
        if number != HTTP_PORT:
            return []
        known = {service.host for service in self._routes.services}
        result = []
        for host, found in sorted(self._routes.bound.by_host.items()):
            routes = self._routes.of_virtual_services(found, number) if host not in known else ()
            if routes:
                plain = (*with_port((host,), number), host) if ports_in_domains else (host,)
                result.append(self._memo(_virtual_host, host, number, _free(plain, taken), routes))
        return result

    def _host(self, offer: Offer, plain: tuple[str, ...], taken: set[str]) -> VirtualHost:
        service, port = offer.service, offer.port
        routes = self._routes.of(service, port)
        return self._memo(_virtual_host, service.host, port.number, _free(plain, taken), routes)

    def _add_http_proxy(self, place: Place, name: str, egress: Egress | None = None) -> None:
        """One listener for all HTTP services, told apart by host and port."""
        offers = [
            Offer(service, port, port.protocol)
            for service, port in self._routes.entries()
            if (port.protocol.is_http or port.protocol is Protocol.AUTO) and (egress is None or takes(egress, service))
        ]
        hosts: list[VirtualHost] = []
        taken: set[str] = set()
        for offer in offers:
            plain = domains(offer.service, self._proxy.namespace)
            number = offer.port.number
            both = (*with_port(plain, number), *(plain if number == HTTP_PORT else ()))
            hosts.append(self._host(offer, both, taken))
        hosts += self._virtual_only(HTTP_PORT, True, taken)
        if "*" not in taken:
            hosts.append(self._unknown_host(place))
        self._add_table(name, hosts, True, offers)
        said = (self._scope.origin,) if egress and self._scope.origin else ()
        origins = (*said, *_origins(offers)) or (OWN,)
        chain = Chain(name, ChainMatch(), Http(name, name), origins=origins)
        self._add(self._memo(_listener, place, (chain,), None, origins), "the HTTP proxy")


def _origins(offers: list[Offer]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(offer.service.origin for offer in offers))


_BLOCK_ALL = VirtualHost("block_all", ("*",), (Route("block_all", Match(), Respond(502), OWN),))


def _allow_any(backend: str) -> VirtualHost:
    return VirtualHost("allow_any", ("*",), (Route("allow_any", Match(), Forward((Destination(backend),)), OWN),))


def _free(plain: tuple[str, ...], taken: set[str]) -> tuple[str, ...]:
    """Envoy refuses a route configuration in which a domain stands twice: the first keeps it."""
    free = tuple(domain for domain in plain if domain not in taken)
    taken.update(free)
    return free


def _listener(place: Place, chains: tuple[Chain, ...], default: Chain | None, origins: tuple[Origin, ...]) -> Listener:
    name = names.listener(place.address, place.port) if place.port else place.address
    return Listener(name, place.address, place.port, Direction.OUTBOUND, chains, origins, default, place.binds)


def _virtual_host(host: str, port: int, plain: tuple[str, ...], routes: tuple[Route, ...]) -> VirtualHost:
    return VirtualHost(names.virtual_host(host, port), plain, routes)


def _route_table(
    name: str, hosts: tuple[VirtualHost, ...], ports_in_domains: bool, origins: tuple[Origin, ...]
) -> RouteTable:
    return RouteTable(name, tuple(host for host in hosts if host.domains), origins, ports_in_domains)
