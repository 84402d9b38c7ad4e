"""The filter chains of a gateway's TLS and TCP servers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import EMPTY, Fixed, Lookups, derived
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.chains import distinct
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.gateway_servers import BoundServer
from xds_server.mesh.hosts import bindable, server_host
from xds_server.mesh.model import Chain, ChainMatch, Destination, Protocol, ServerTLS, Service, Tcp
from xds_server.mesh.names import sni_dnat
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Key, Mesh, age
from xds_server.mesh.route_tables import Gathered, l4_routes_for
from xds_server.mesh.routes.clients import Client, gateways_of
from xds_server.mesh.routes.l4 import L4Route, tcp_routes, tls_routes
from xds_server.mesh.service_rank import seen
from xds_server.mesh.visibility import visible


class Claim(NamedTuple):
    """A VirtualService, and one of the hosts under which a server serves it. place: what the server is for."""

    place: Any
    server: BoundServer
    host: str
    service: VirtualService


def claims(
    mesh: Mesh, name: Hashable, servers: Fixed[Key, Fixed[Any, Any]], memo: Memo
) -> Fixed[Key, tuple[Claim, ...]]:
    """What each VirtualService has at servers. servers: by the Gateway, (place, server); `name` tells them from
    others."""
    routes, services = mesh.routes, mesh.routes.by_name
    assert isinstance(services, Fixed)  # nobody looks at a view of the mesh here
    if not servers:
        return EMPTY
    lookups = Lookups(servers)
    (known,) = lookups.views

    def claimed(key: Key, service: VirtualService) -> tuple[Claim, ...] | None:
        found: dict[tuple[Hashable, str], Claim] = {}
        for reference in gateways_of(service):
            namespace, _, gateway = reference.partition("/")
            bound = known.get((namespace, gateway)) if gateway else None
            if bound and visible(routes.exported_to(service), namespace):
                for place, server in bound.values():
                    for host in service.spec.hosts:
                        for both in bindable(server.hosts, server.gateway, service, host):
                            found[place, both] = Claim(place, server, both, service)
        return tuple(found.values()) or None

    return derived(memo, ("claims", name), claimed, services, lookups, routes.default_export)


def client_of(mesh: Mesh, proxy: Proxy, server: BoundServer) -> Client:
    """Whoever comes through a server."""
    retries = mesh.config.default_http_retry_policy
    return Client(server.gateway_name, server.server.port.number, proxy.namespace, proxy.labels, retries)


Claimed = Mapping[Hashable, Mapping[Any, Claim]]
"""By the place of the server."""


class PassingChains:
    """Makes the chains that pass connections on; lives only while those of one port are made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, claimed: Claimed, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._claimed = mesh, proxy, claimed
        self._memo, self._gathered = memo, gathered

    def tcp(self, server: BoundServer, tls: ServerTLS | None = None) -> Iterator[Chain]:
        """By the `tcp` routes. tls: ended here first."""
        name = server.stat_prefix or f"{server.gateway_name}.{server.server.port.name}"
        names = served_names(server) if tls else ()
        for route in self._tcp_routes(server):
            match = ChainMatch(names, route.subnets, tls=tls is not None)
            yield Chain(name, match, route.traffic(name), tls, (server.origin, route.origin))

    def _bound(self, server: BoundServer) -> Iterator[tuple[VirtualService, tuple[str, ...]]]:
        """The VirtualServices that a server takes, the oldest first, and the hosts under which it serves them."""
        hosts: dict[VirtualService, list[str]] = {}
        for claim in self._claimed.get(server.rank, {}).values():
            hosts.setdefault(claim.service, []).append(claim.host)
        for service in sorted(hosts, key=age):
            yield service, tuple(sorted(hosts[service]))

    def _tcp_routes(self, server: BoundServer) -> Iterator[L4Route]:
        client = client_of(self._mesh, self._proxy, server)
        for service, _ in self._bound(server):
            found = l4_routes_for(self._mesh, service, client, tcp_routes, self._memo, self._gathered)
            yield from found.routes

    def passthrough(self, server: BoundServer) -> Iterator[Chain]:
        """By the server name that the client asks for, unopened."""
        client = client_of(self._mesh, self._proxy, server)
        for service, hosts in self._bound(server):
            found = l4_routes_for(self._mesh, service, client, tls_routes, self._memo, self._gathered)
            for route in found.routes:
                names = tuple(name for name in route.server_names if any(_within(name, host) for host in hosts))
                for name in route.server_names:
                    if name not in names:
                        path = (*route.origin.path, "sniHosts")
                        ref, gateway = route.origin.ref, server.gateway.ref
                        self._gathered.notes.append(diagnostic("XDS4007", ref, path, gateway=gateway, host=name))
                if names:
                    name = server.stat_prefix or ",".join(names)
                    match = ChainMatch(_server_names(names), route.subnets, tls=True)
                    yield Chain(",".join(names), match, route.traffic(name), None, (server.origin, route.origin))

    def auto_passthrough(self, server: BoundServer) -> Iterator[Chain]:
        """Every service within the server's hosts, by the server names that sidecars with mutual TLS use."""
        hosts = tuple(server_host(text, "")[1] for text in server.hosts)
        for _, same in sorted(self._mesh.registry.by_host.items()):
            service = seen(same, self._proxy.namespace)
            if service is None or service.external or not any(_within(service.host, host) for host in hosts):
                continue
            rules = self._mesh.rules.find(service, self._proxy.namespace, self._proxy.labels)
            for ref in _refs_as_is(service, rules):
                self._gathered.backends.add(ref)
                yield self._memo(_auto_chain, ref, server)


def without_doubles(chains: Iterable[Chain], notes: list[Diagnostic]) -> tuple[Chain, ...]:
    """Envoy refuses a listener with two chains for the same connections: the first has them."""
    kept, clashes = distinct(chains)
    for clash in clashes:
        server, *route = clash.chain.origins
        first = clash.first.origins[-1]
        if route:
            notes.append(diagnostic("XDS3010", route[0].ref, route[0].path, first=first))
        else:
            notes.append(diagnostic("XDS3008", server.ref, server.path, host=clash.what, first=first))
    return kept


def _refs_as_is(service: Service, rules: Rules | None) -> Iterator[BackendRef]:
    subsets = ("", *sorted(rules.subsets)) if rules else ("",)
    for port in service.ports:
        if port.protocol is not Protocol.UDP:
            for subset in subsets:
                yield BackendRef(service, port, subset, rules, as_is=True)


def _auto_chain(ref: BackendRef, server: BoundServer) -> Chain:
    name = sni_dnat(ref.port.number, ref.subset, ref.service.host)
    traffic = Tcp((Destination(ref.name),), server.stat_prefix or name)
    return Chain(name, ChainMatch((name,), tls=True), traffic, None, (server.origin, ref.service.origin))


def served_names(server: BoundServer) -> tuple[str, ...]:
    """The SNI hosts of a server; empty for all."""
    return _server_names(tuple(sorted({server_host(text, "")[1] for text in server.hosts})))


def _server_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return () if "*" in names else names


def _within(host: str, allowed: str) -> bool:
    return allowed in (host, "*") or (allowed.startswith("*.") and host.endswith(allowed[1:]))
