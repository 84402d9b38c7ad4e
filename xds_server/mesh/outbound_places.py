"""Where each port of each service is reached by the workload beside a sidecar.

Without interception (`NONE`) a listener opens the service's port on 127.0.0.1. With it, connections come to
`virtualOutbound` and are handed on by the address that the client wanted: HTTP ports share a listener of every
address, other ports have one for each address of the service (istio pilot/pkg/networking/core/listener.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import Fixed, Lookups, derived, partitioned, united
from xds_server.memo import Memo
from xds_server.mesh.endpoints import is_ip
from xds_server.mesh.model import Protocol, Service, ServicePort, Value
from xds_server.mesh.protocols import declared_protocol
from xds_server.mesh.proxy import Interception, Proxy
from xds_server.mesh.resolve import Mesh, looking
from xds_server.mesh.scope import Egress, Scope
from xds_server.mesh.service_hosts import takes

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
FIRST_UNPRIVILEGED_PORT = 1024
OUTBOUND_PORT, INBOUND_PORT = 15001, 15006
RESERVED_PORTS = (OUTBOUND_PORT, INBOUND_PORT)
REDIRECTED = "redirected traffic"


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a listener listens. shared: clients of many services come to it, so it must tell them apart."""

    address: str
    port: int
    binds: bool
    shared: bool

    @property
    def captured(self) -> bool:
        """Whether clients wanted to reach any address there is, also such that nobody knows."""
        return not self.binds and self.address == EVERY_ADDRESS

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.port else self.address


class Offer(msgspec.Struct, frozen=True):
    """A port of a service, at a place. protocol: what is spoken there; a Sidecar may say it.
    member: one endpoint of a headless service, which is there by an address of its own too."""

    service: Service
    port: ServicePort
    protocol: Protocol
    member: bool = False

    @property
    def is_http(self) -> bool:
        """Whether requests are routed: for certain, or when the first bytes are those of HTTP."""
        return self.protocol.is_http or self.protocol is Protocol.AUTO

    @property
    def ranges(self) -> tuple[str, ...]:
        return tuple(address for address in self.service.addresses if "/" in address)


Offers = Fixed[str, tuple[Offer, ...]]
"""What is offered at one place, by the host of the service."""


class _Offered(Value, frozen=True, eq=False, gc=False):
    """What one service offers, and where."""

    host: str
    offers: Mapping[Place, tuple[Offer, ...]]
    diagnostics: tuple[Diagnostic, ...]


def places(
    mesh: Mesh, proxy: Proxy, scope: Scope, services: Fixed[str, Service], memo: Memo
) -> tuple[Fixed[Place, Offers], Iterable[Diagnostic]]:
    """The offers that share a place. A way out that names its port takes it from those that do not."""
    captures = proxy.interception is not Interception.NONE
    named = {egress.port for egress in scope.egress if egress.port and egress.captured}
    lookups = Lookups(services, pods_of(mesh, (proxy.namespace, scope.egress), services, memo))
    known, pods = lookups.views

    def offer(host: str, service: Service) -> _Offered | None:
        found: dict[Place, dict[Offer, None]] = {}
        notes: list[Diagnostic] = []
        parent = known.get(service.parent) if service.parent else None
        is_member = parent is not None and parent.headless
        for egress in scope.egress:
            if egress.is_http_proxy or not takes(egress, service):
                continue
            for port in service.ports:
                if egress.port == port.number if egress.port else egress.is_socket or port.number not in named:
                    said = declared_protocol(egress.protocol)
                    made = Offer(service, port, said or port.protocol, is_member)
                    addresses = pods.get(host, {}) if service.headless else {}
                    for place in _places_of(made, egress, captures, addresses, notes):
                        if _may_bind(place, made, proxy, notes):
                            found.setdefault(place, {})[made] = None
        if not found and not notes:
            return None
        return _Offered(host, {place: tuple(offers) for place, offers in found.items()}, tuple(dict.fromkeys(notes)))

    key = (proxy, scope)
    offered = derived(memo, ("offers", key), offer, services, lookups)
    notes = united(memo, ("notes on offers", key), {"": offered}, lambda each: each.diagnostics)
    return partitioned(memo, ("places", key), _by_place, offered), notes


def _by_place(host: str, offered: _Offered) -> Iterator[tuple[Place, str, tuple[Offer, ...]]]:
    for place, offers in offered.offers.items():
        yield place, host, offers


def pods_of(
    mesh: Mesh, key: object, services: Fixed[str, Service], memo: Memo
) -> Fixed[str, Mapping[int, tuple[str, ...]]]:
    """Headless service -> port -> the addresses of its endpoints."""
    lookups, known = looking(mesh)

    def addresses(host: str, service: Service) -> Mapping[int, tuple[str, ...]] | None:
        if not service.headless:
            return None
        return {
            port: tuple(sorted({ip for each in found for ip in (each.address, *each.more_addresses) if is_ip(ip)}))
            for port, found in known.registry.endpoints_of(service).by_port.items()
        }

    return derived(memo, ("pods", key), addresses, services, lookups)


def _places_of(
    offer: Offer,
    egress: Egress,
    captures: bool,
    pods: Mapping[int, tuple[str, ...]],
    notes: list[Diagnostic],
) -> Iterator[Place]:
    service, number = offer.service, offer.port.number
    if egress.is_socket:
        yield Place(egress.address, 0, True, True)
    elif not captures or not egress.captured:
        if offer.is_http or offer.protocol is Protocol.TLS or not offer.member:
            yield Place(egress.address or LOOPBACK, number, True, True)
    elif egress.address:
        yield Place(egress.address, number, False, True)
    elif offer.protocol.is_http:
        yield Place(EVERY_ADDRESS, number, False, True)
    elif not offer.member:  # else it is found at the places of the whole service
        addresses = pods.get(number, ()) if service.headless else _virtual_ips(service)
        yield from (Place(address, number, False, False) for address in addresses)
        if offer.ranges or (offer.protocol is not Protocol.TCP and not addresses and not service.headless):
            yield Place(EVERY_ADDRESS, number, False, True)
        elif not addresses and not service.headless:
            # A listener of every address would take what is meant for others (istio#6695, #24937).
            notes.append(diagnostic("XDS4015", service.origin.ref, ("spec", "ports"), port=number))


def _virtual_ips(service: Service) -> tuple[str, ...]:
    return tuple(address for address in service.addresses if "/" not in address)


def _may_bind(place: Place, offer: Offer, proxy: Proxy, notes: list[Diagnostic]) -> bool:
    if place.binds and proxy.unprivileged and 0 < place.port < FIRST_UNPRIVILEGED_PORT:
        notes.append(diagnostic("XDS4012", offer.service.origin.ref, ("spec", "ports"), port=place.port))
        return False
    return True
