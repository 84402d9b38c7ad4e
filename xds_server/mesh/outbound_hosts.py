"""The route tables of places that clients of many services come to: a virtual host for each service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xds_server.incremental import Fixed, Pieces, derived, fixed, pieces, rekeyed, stable
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo, canonical
from xds_server.mesh import names
from xds_server.mesh.model import Destination, Forward, Match, Respond, Route, RouteTable, VirtualHost
from xds_server.mesh.outbound_places import Offer, Place
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Key, Mesh, beside_lookups, looking
from xds_server.mesh.route_tables import Gathered, Part
from xds_server.mesh.scope import Scope
from xds_server.mesh.service_hosts import MeshRoutes, ServiceRoutes, domains, with_port
from xds_server.mesh.special_backends import OWN

HTTP_PORT = 80
_Plain = tuple[str, tuple[tuple[str, ...], ...]]
"""A host, and the domains of each of its offers."""


class Hosts:
    """Makes route tables for one sidecar; lives only while its view is made.

    unknown: the backend for hosts that nobody knows, empty for none. parts: where what a table needs is put."""

    def __init__(
        self, mesh: Mesh, proxy: Proxy, scope: Scope, seen: MeshRoutes, memo: Memo, unknown: str, parts: dict[str, Any]
    ) -> None:
        self._mesh, self._proxy, self._scope, self._seen, self._memo = mesh, proxy, scope, seen, memo
        self._unknown, self._parts = unknown, parts

    def unknown(self, place: Place) -> VirtualHost:
        """For hosts that nobody knows."""
        # Who comes to a port of the proxy itself did not want to go anywhere else.
        nowhere = ("", names.BLACK_HOLE, names.PASSTHROUGH) if place.binds else ("", names.BLACK_HOLE)
        return _BLOCK_ALL if self._unknown in nowhere else self._memo(_allow_any, self._unknown)

    def table(
        self,
        name: str,
        place: Place,
        offers: Fixed[str, tuple[Offer, ...]],
        virtual_only: bool,
        ports_in_domains: bool = False,
    ) -> RouteTable:
        """virtual_only: with the hosts that only a VirtualService names; as in Istio they are served on port 80."""
        memo, key = self._memo, (self._proxy, self._scope, place, name)
        plain = derived(
            memo,
            ("domains", key),
            lambda host, same: (host, tuple(self._domains(o, ports_in_domains) for o in same)),
            offers,
        )
        claims, several = rekeyed(memo, ("claims", key), {"": plain}, _claims)
        lost: dict[str, set[str]] = {}
        for domain, same in several.items():
            for _, host in sorted(same)[1:]:
                lost.setdefault(host, set()).add(domain)
        losses = stable(
            memo, ("losses", key), fixed((host, canonical(memo, frozenset(found))) for host, found in lost.items())
        )
        served = self._served(key, offers, plain, losses)
        self._parts[f"hosts of {name}"] = served
        hosts = pieces(memo, ("hosts", key), served, lambda part: part.virtual_hosts)
        caught = "*" in claims
        if virtual_only:
            only = self._virtual_only(key, claims, ports_in_domains)
            self._parts[f"virtual hosts of {name}"] = only
            more = pieces(memo, ("virtual only", key), only, lambda part: part.virtual_hosts)
            hosts, caught = memo(_joined, hosts, more), caught or bool((star := only.get("*")) and star.virtual_hosts)
        return memo(_route_table, name, hosts, None if caught else self.unknown(place), ports_in_domains)

    def _domains(self, offer: Offer, ports_in_domains: bool) -> tuple[str, ...]:
        plain = domains(offer.service, self._proxy.namespace)
        if not ports_in_domains:
            return plain
        number = offer.port.number
        return (*with_port(plain, number), *(plain if number == HTTP_PORT else ()))

    def _served(
        self,
        key: object,
        offers: Fixed[str, tuple[Offer, ...]],
        plain: Fixed[str, _Plain],
        losses: Fixed[str, frozenset[str]],
    ) -> Fixed[str, Part]:
        lookups, mesh = looking(self._mesh, self._seen.by_host, plain, losses)
        by_host, domains_of, lost_of = lookups.views[-3:]

        def serve(host: str, same: tuple[Offer, ...]) -> Part:
            gathered = Gathered()
            routes = ServiceRoutes(mesh, self._proxy, self._seen, self._memo, gathered, by_host)
            taken = set(lost_of.get(host, ()))
            made = []
            for offer, every in zip(same, domains_of[host][1], strict=True):
                free = tuple(domain for domain in every if domain not in taken)
                taken.update(free)
                service, found = offer.service, routes.of(offer.service, offer.port)
                if free:
                    name = names.virtual_host(service.host, offer.port.number)
                    made.append(VirtualHost(name, free, found, origins=(service.origin,)))
            return gathered.part(virtual_hosts=tuple(made))

        context = (self._seen.by_wildcard, *beside_lookups(self._mesh))
        return derived(self._memo, ("served", key), serve, offers, lookups, context)

    def _virtual_only(self, key: object, claims: Fixed[str, str], ports_in_domains: bool) -> Fixed[str, Part]:
        lookups, mesh = looking(self._mesh, self._seen.services, claims)
        known, claimed = lookups.views[-2:]

        def serve(host: str, services: Mapping[Key, VirtualService]) -> Part | None:
            if host in known:
                return None
            gathered = Gathered()
            routes = ServiceRoutes(mesh, self._proxy, self._seen, self._memo, gathered)
            found = routes.of_virtual_services(self._seen.oldest(services), HTTP_PORT)
            every = (*with_port((host,), HTTP_PORT), host) if ports_in_domains else (host,)
            free = tuple(domain for domain in every if domain not in claimed)
            made = VirtualHost(names.virtual_host(host, HTTP_PORT), free, found)
            return gathered.part(virtual_hosts=(made,) if found and free else ())

        return derived(
            self._memo, ("virtual only", key), serve, self._seen.by_host, lookups, beside_lookups(self._mesh)
        )


def _claims(plain: _Plain) -> list[tuple[str, str]]:
    host, offers = plain
    return [(domain, host) for domain in dict.fromkeys(domain for offer in offers for domain in offer)]


def _joined(one: Pieces[VirtualHost], other: Pieces[VirtualHost]) -> Pieces[VirtualHost]:
    return Pieces((*one.pieces, *other.pieces))


def _route_table(
    name: str, hosts: Pieces[VirtualHost], unknown: VirtualHost | None, ports_in_domains: bool
) -> RouteTable:
    return RouteTable(name, hosts.followed_by((unknown,)) if unknown else hosts, (), ports_in_domains)


_BLOCK_ALL = VirtualHost("block_all", ("*",), (Route("block_all", Match(), Respond(502), OWN),))


def _allow_any(backend: str) -> VirtualHost:
    return VirtualHost("allow_any", ("*",), (Route("allow_any", Match(), Forward((Destination(backend),)), OWN),))
