"""How the connections that come to one place are told apart, and where they go when they are not HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xds_server.diagnostics import diagnostic
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.backends import backend_tcp_options
from xds_server.mesh.hosts import narrower
from xds_server.mesh.model import Chain, ChainMatch, Destination, Http, Protocol, Tcp
from xds_server.mesh.origin import Origin
from xds_server.mesh.outbound_places import Offer, Place
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, l4_routes_for
from xds_server.mesh.routes.l4 import L4Route, tcp_routes, tls_routes
from xds_server.mesh.service_hosts import ServiceRoutes, host_names


class RawChains:
    """Makes the chains of offers that are not HTTP for certain; lives only while a view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, routes: ServiceRoutes, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._routes, self._memo, self._gathered = mesh, proxy, routes, memo, gathered

    def of(self, place: Place, offers: list[Offer]) -> Iterator[Chain]:
        """All but the one for what is left."""
        alone = len(offers) == 1 and not place.shared
        for offer in offers:
            ranges = offer.ranges if place.captured else ()
            if offer.protocol in (Protocol.TLS, Protocol.AUTO):
                yield from self._routed_by_name(offer, ranges)
            if offer.protocol is Protocol.TLS and not alone:
                hosts = tuple(sorted(host_names(offer.service, self._proxy.namespace)))
                yield self._chain("sni:", offer, ChainMatch(hosts, ranges, tls=True))
            else:
                yield from self._routed_by_address(offer)
                if ranges:
                    yield self._chain("", offer, ChainMatch(destinations=ranges))

    def rest(self, place: Place, offers: list[Offer]) -> Chain | None:
        """For what no other chain takes. Where nothing tells services apart, there can be only one: the proxy's own
        namespace comes first, then the oldest."""
        ranked = sorted((offer for offer in offers if not offer.member), key=self._rank)
        for offer in ranked[1:]:
            # Of a port that did not say what it speaks, HTTP still works; TLS is told apart by its SNI.
            code = {Protocol.TCP: "XDS3005", Protocol.AUTO: "XDS3009"}.get(offer.protocol)
            if code:
                first, path = ranked[0].service.origin.ref, ("spec", "ports")
                self._gathered.notes.append(
                    diagnostic(code, offer.service.origin.ref, path, where=str(place), first=first)
                )
        # The client has chosen one endpoint of a headless service, as it must for the members of a database.
        chosen = not place.binds and not place.shared and bool(ranked) and ranked[0].service.headless
        return self._chain("", ranked[0], ChainMatch(), chosen) if ranked else None

    def _rank(self, offer: Offer) -> tuple[object, ...]:
        service = offer.service
        ours = service.namespace == self._proxy.namespace
        return (offer.protocol is Protocol.TLS, not ours, service.created, service.namespace, service.name)

    def _chain(self, prefix: str, offer: Offer, match: ChainMatch, chosen: bool = False) -> Chain:
        """By the `tcp` routes, else to the service's endpoints. chosen: to the very one that the client wanted."""
        name = names.outbound(offer.port.number, "", offer.service.host)
        routes = [route for route in self._tcp(offer) if not route.subnets]
        for other in routes[1:]:
            note = diagnostic("XDS3010", other.origin.ref, other.origin.path, first=routes[0].origin.ref)
            self._gathered.notes.append(note)
        if routes:
            route = routes[0]
            origins = (offer.service.origin, route.origin)
            return Chain(prefix + name, match, route.traffic(name), origins=origins)
        ref = self._routes.backend(offer.service, offer.port, chosen)
        options = backend_tcp_options(ref.service, ref.rules, "", ref.port.number)
        traffic = Tcp(
            (Destination(ref.name),),
            name,
            options.idle_timeout,
            options.max_duration,
            options.hash_source_ip,
            options.tunnel,
        )
        return Chain(prefix + name, match, traffic, origins=(offer.service.origin,))

    def _routed_by_name(self, offer: Offer, ranges: tuple[str, ...]) -> Iterator[Chain]:
        """The `tls` routes of the VirtualServices for the service's host."""
        client = self._routes.client(offer.port.number)
        for virtual in self._routes.bound_to(offer.service.host):
            hosts = [names.full_host(host, virtual.metadata.namespace) for host in virtual.spec.hosts]
            found = l4_routes_for(self._mesh, virtual, client, tls_routes, self._memo, self._gathered)
            for route in found.routes:
                served = tuple(n for n in route.server_names if any(narrower(host, n) == n for host in hosts))
                if served != route.server_names:
                    path, reason = (*route.origin.path, "sniHosts"), "for names that are not among the hosts"
                    note = diagnostic("XDS4009", virtual.ref, path, field="sniHosts", reason=reason)
                    self._gathered.notes.append(note)
                if served:
                    match = ChainMatch(served, route.subnets or ranges, tls=True)
                    traffic = route.traffic(names.outbound(offer.port.number, "", offer.service.host))
                    origins = (offer.service.origin, route.origin)
                    yield Chain(",".join(served), match, traffic, origins=origins)

    def _routed_by_address(self, offer: Offer) -> Iterator[Chain]:
        """The `tcp` routes with subnets of the address that the client wanted to reach."""
        for route in self._tcp(offer):
            if route.subnets:
                name = names.outbound(offer.port.number, "", offer.service.host)
                match = ChainMatch(destinations=route.subnets)
                yield Chain(name, match, route.traffic(name), origins=(offer.service.origin, route.origin))

    def _tcp(self, offer: Offer) -> Iterator[L4Route]:
        client = self._routes.client(offer.port.number)
        for virtual in self._routes.bound_to(offer.service.host):
            found = l4_routes_for(self._mesh, virtual, client, tcp_routes, self._memo, self._gathered)
            yield from found.routes


def http_chains(
    name: str, origins: Sequence[Origin], ranges: Callable[[], set[str]], raw: list[Chain], detects: bool
) -> Iterator[Chain]:
    """The chain of the requests that `name` routes. Once a chain says which addresses it is for, those addresses are
    looked for among such chains alone, so HTTP with ranges of addresses, or routes by address, needs one too.

    origins: of the services there; ranges: their ranges of addresses."""
    traffic, first = Http(name, f"outbound_{name}"), origins[:1]
    if any(chain.match.destinations for chain in raw):
        here = frozenset(origins)
        wanted = ranges() | {ip for chain in raw if chain.origins[0] in here for ip in chain.match.destinations}
        if wanted:
            match = ChainMatch(destinations=tuple(sorted(wanted)), detected_http=detects)
            yield Chain(name, match, traffic, origins=first)
    yield Chain(name, ChainMatch(detected_http=detects), traffic, origins=first)
