"""A sidecar's way out: its listeners and route tables for the services that it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import Fixed, Pieces, derived, fixed, partitioned, pieces, stable
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.chains import distinct
from xds_server.mesh.model import (
    Chain,
    ChainMatch,
    Destination,
    Direction,
    Http,
    Listener,
    RouteTable,
    Service,
    Tcp,
    VirtualHost,
)
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound_chains import RawChains, http_chains
from xds_server.mesh.outbound_hosts import HTTP_PORT, Hosts
from xds_server.mesh.outbound_places import (
    EVERY_ADDRESS,
    LOOPBACK,
    OUTBOUND_PORT,
    REDIRECTED,
    RESERVED_PORTS,
    Offer,
    Offers,
    Place,
    places,
)
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part
from xds_server.mesh.scope import Egress, Scope
from xds_server.mesh.service_hosts import MeshRoutes, ServiceRoutes, domains, takes
from xds_server.mesh.special_backends import OWN, black_hole, passthrough

PROXY = "the HTTP proxy"
"""The label of the parts that are listeners for clients of an HTTP proxy."""


def outbound(mesh: Mesh, proxy: Proxy, scope: Scope, seen: MeshRoutes, memo: Memo) -> dict[str, Fixed[Any, Part]]:
    made = Outbound(mesh, proxy, scope, seen, memo)
    return made.parts


class Outbound:
    """Collects a sidecar's way out; lives only while its view is made. Places that clients of many services come to
    are made of parts for each host, of the others each is a part."""

    def __init__(self, mesh: Mesh, proxy: Proxy, scope: Scope, seen: MeshRoutes, memo: Memo) -> None:
        self._mesh, self._proxy, self._scope, self._seen, self._memo = mesh, proxy, scope, seen, memo
        self._key = (proxy, scope)
        self._captures = proxy.interception is not Interception.NONE
        self._gathered = Gathered()
        self._members = partitioned(memo, ("members", proxy.namespace, scope.egress), _by_parent, seen.services)
        self._unknown = self._unknown_destination()
        self.parts: dict[str, Fixed[Any, Part]] = {}
        self._hosts = Hosts(mesh, proxy, scope, seen, memo, self._unknown, self.parts)
        found, notes = places(mesh, proxy, scope, seen.services, memo)
        self._gathered.notes += notes
        listeners = [self._virtual_outbound()] if self._captures else []
        proxies = self._same(PROXY, dict(enumerate(self._http_proxies())))
        self.parts["alone"] = self._places_alone(found)
        shared = derived(memo, ("shared", self._key), lambda place, offers: offers if place.shared else None, found)
        self.parts["shared"] = self._same(
            "shared", {place: self._shared(place, shared[place]) for place in sorted(shared)}
        )
        self.parts[PROXY] = proxies
        own = self._gathered.alone(memo, listeners=tuple(listeners))
        self.parts["outbound"] = self._same("outbound", {"": own})

    def _same(self, name: str, parts: dict[Any, Part]) -> Fixed[Any, Part]:
        return stable(self._memo, (name, self._key), fixed(parts))

    # --- places ------------------------------------------------------------------------------------------

    def _places_alone(self, found: Fixed[Place, Offers]) -> Fixed[Place, Part]:
        """A part for each place of one service."""
        lookups, mesh = looking(self._mesh, self._members, self._seen.by_host)
        members, by_host = lookups.views[-2:]

        def part(place: Place, offers: Offers) -> Part | None:
            if place.shared:
                return None
            gathered = Gathered()
            routes = ServiceRoutes(mesh, self._proxy, self._seen, self._memo, gathered, by_host)
            ordered = _ordered(offers)
            http = [offer for offer in ordered if offer.is_http]
            tables = []
            name = names.virtual_host(http[0].service.host, place.port) if http else ""
            if http:
                taken: set[str] = set()
                every = [*http, *_named_members(http, members)]
                hosts = [self._host(offer, routes, taken) for offer in every]
                if "*" not in taken:
                    hosts.append(self._hosts.unknown(place))
                tables.append(_route_table(name, hosts, http))
            raw = RawChains(mesh, self._proxy, routes, self._memo, gathered)
            origins = _origins(http)
            listener = self._listener(place, ordered, name, origins, _ranges(http), raw, gathered)
            return gathered.part(listeners=listener, route_tables=tuple(tables))

        context = (self._unknown, self._seen.by_wildcard, *beside_lookups(self._mesh))
        return derived(self._memo, ("alone", self._key), part, found, lookups, context)

    def _host(self, offer: Offer, routes: ServiceRoutes, taken: set[str]) -> VirtualHost:
        service, port = offer.service, offer.port
        free = tuple(domain for domain in domains(service, self._proxy.namespace) if domain not in taken)
        taken.update(free)
        return VirtualHost(names.virtual_host(service.host, port.number), free, routes.of(service, port))

    def _shared(self, place: Place, offers: Offers) -> Part:
        """A place that clients of many services come to."""
        gathered, memo, key = Gathered(), self._memo, (self._key, place)
        routes = ServiceRoutes(self._mesh, self._proxy, self._seen, memo, gathered)
        raw_offers = derived(memo, ("raw", key), lambda _, found: _raw(found), offers)
        http = derived(memo, ("http", key), lambda _, found: _http(found), offers)
        tables = []
        name = ""
        ordered = _ordered(raw_offers)
        origins = pieces(memo, ("origins", key), offers, lambda found: (found[0].service.origin,))
        served = pieces(memo, ("http origins", key), http, lambda found: (found[0].service.origin,))
        if http:
            name = self._route_table_name(place)
            tables.append(self._hosts.table(name, place, http, place.port == HTTP_PORT))
        ranges = derived(
            memo, ("ranges", key), lambda _, found: tuple(ip for o in found for ip in o.ranges) or None, http
        )
        raw = RawChains(self._mesh, self._proxy, routes, memo, gathered)
        listener = self._listener(
            place, ordered, name, served, lambda: set(chain.from_iterable(ranges.values())), raw, gathered, origins
        )
        return gathered.alone(memo, listeners=listener, route_tables=tuple(tables))

    def _listener(
        self,
        place: Place,
        offers: list[Offer],
        name: str,
        http_origins: Sequence[Origin],
        ranges: Callable[[], set[str]],
        raw_chains: RawChains,
        gathered: Gathered,
        origins: Sequence[Origin] | None = None,
    ) -> tuple[Listener, ...]:
        """name: of the route table for HTTP, if there is HTTP. None when the port is not to be had."""
        raw = [offer for offer in offers if not offer.protocol.is_http]
        default = self._unknown_chain("PassthroughFilterChain") if place.captured else raw_chains.rest(place, raw)
        chains = list(raw_chains.of(place, raw))
        if name:
            chains = [*http_chains(name, http_origins, ranges, chains, detects=default is not None), *chains]
        kept, clashes = distinct(chains)
        for clash in clashes:
            origin, first = clash.chain.origins[-1], clash.first.origins[-1]
            if clash.chain.origins == clash.first.origins[:1]:  # routes in the place of the service's own endpoints
                continue
            path = origin.path or ("spec",)
            note = diagnostic("XDS3014", origin.ref, path, what=clash.what, where=str(place), first=first.ref)
            gathered.notes.append(note)
        made = self._memo(_listener, place, kept, default, origins if origins is not None else _origins(offers))
        return self._granted(made, gathered)

    def _granted(self, listener: Listener, gathered: Gathered) -> tuple[Listener, ...]:
        """Nothing where a listener of that port, at whichever address, would take what is redirected there."""
        takes_it = listener.binds or listener.address == EVERY_ADDRESS
        if self._captures and listener.port in RESERVED_PORTS and takes_it:
            gathered.notes += clash_notes(listener, REDIRECTED)
            return ()
        return (listener,)

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
            routes = ServiceRoutes(self._mesh, self._proxy, self._seen, self._memo, self._gathered)
            return routes.destination(policy.egress_proxy, sidecar, path)
        if not self._captures:
            return ""
        made = passthrough() if self._scope.allow_any else black_hole()
        self._gathered.special[made.name] = made
        return made.name

    def _unknown_chain(self, name: str) -> Chain:
        return Chain(name, ChainMatch(), Tcp((Destination(self._unknown),), self._unknown), origins=(OWN,))

    # --- HTTP proxies --------------------------------------------------------------------------------------

    def _http_proxies(self) -> Iterator[Part]:
        if port := self._proxy.http_proxy_port or self._mesh.config.proxy_http_port:
            yield self._http_proxy(Place(LOOPBACK, port, True, True), names.HTTP_PROXY_ROUTES)
        for egress in self._scope.egress:
            if egress.is_http_proxy:
                place = Place(egress.address or LOOPBACK, egress.port, True, True)
                yield self._http_proxy(place, str(place), egress)

    def _http_proxy(self, place: Place, name: str, egress: Egress | None = None) -> Part:
        """One listener for all HTTP services, told apart by host and port."""

        def offer(host: str, service: Service) -> tuple[Offer, ...] | None:
            if egress is not None and not takes(egress, service):
                return None
            offers = (Offer(service, port, port.protocol) for port in service.ports)
            return tuple(each for each in offers if each.is_http) or None

        key = (self._key, place)
        offers = derived(self._memo, ("proxied", key), offer, self._seen.services)
        said = (self._scope.origin,) if egress and self._scope.origin else ()
        found = pieces(self._memo, ("proxied", key), offers, lambda same: (same[0].service.origin,))
        origins = found if found and not said else Pieces((said or (OWN,), *found.pieces))
        table = self._hosts.table(name, place, offers, True, ports_in_domains=True)
        chain = self._memo(_http_chain, name, tuple(origins[:1]))
        listener = self._memo(_listener, place, (chain,), None, origins)
        gathered = Gathered()
        return gathered.alone(self._memo, listeners=self._granted(listener, gathered), route_tables=(table,))

    # --- route tables --------------------------------------------------------------------------------------

    def _route_table_name(self, place: Place) -> str:
        """The port, where all clients of the port come to; else what tells the place from that."""
        usual = EVERY_ADDRESS if self._captures else LOOPBACK
        return names.sidecar_routes(place.port) if place.address == usual else str(place)


def clash_notes(listener: Listener, first: str) -> Iterator[Diagnostic]:
    """Of two listeners with the same address only the first can listen. first: what it is, in words."""
    where = f"{listener.address}:{listener.port}" if listener.port else listener.address
    for origin in listener.origins:
        yield diagnostic("XDS3013", origin.ref, origin.path or ("spec",), where=where, first=first)


def _by_parent(host: str, service: Service) -> Iterator[tuple[str, str, Service]]:
    if service.parent:
        yield service.parent, host, service


def _named_members(http: list[Offer], members: Any) -> Iterator[Offer]:
    """The endpoints with names of their own, of those services that are headless."""
    for offer in http:
        if offer.service.headless:
            for _, service in sorted(members.get(offer.service.host, {}).items()):
                for port in service.ports:
                    if port.number == offer.port.number:
                        yield Offer(service, port, offer.protocol, True)


def _ordered(offers: Offers) -> list[Offer]:
    return [offer for host in sorted(offers) for offer in offers[host]]


def _raw(offers: tuple[Offer, ...]) -> tuple[Offer, ...] | None:
    return tuple(offer for offer in offers if not offer.protocol.is_http) or None


def _http(offers: tuple[Offer, ...]) -> tuple[Offer, ...] | None:
    return tuple(offer for offer in offers if offer.is_http) or None


def _http_chain(name: str, origins: tuple[Origin, ...]) -> Chain:
    return Chain(name, ChainMatch(), Http(name, name), origins=origins)


def _ranges(offers: Iterable[Offer]) -> Callable[[], set[str]]:
    return lambda: {address for offer in offers for address in offer.ranges}


def _origins(offers: Iterable[Offer]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(offer.service.origin for offer in offers))


def _listener(place: Place, chains: tuple[Chain, ...], default: Chain | None, origins: Sequence[Origin]) -> Listener:
    name = names.listener(place.address, place.port) if place.port else place.address
    return Listener(name, place.address, place.port, Direction.OUTBOUND, chains, origins, default, place.binds)


def _route_table(name: str, hosts: list[VirtualHost], offers: list[Offer]) -> RouteTable:
    return RouteTable(name, tuple(host for host in hosts if host.domains), _origins(offers))
