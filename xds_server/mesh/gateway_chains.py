"""The filter chains of a gateway's TLS and TCP servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from xds_server.diagnostics import diagnostic
from xds_server.incremental import Fixed, partitioned
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
from xds_server.mesh.routes.clients import Client
from xds_server.mesh.routes.l4 import L4Route, tcp_routes, tls_routes
from xds_server.mesh.service_rank import seen
from xds_server.mesh.visibility import visible


class Bound(NamedTuple):
    """A VirtualService bound to a server, and the hosts under which the server serves it."""

    service: VirtualService
    hosts: tuple[str, ...]


class Bindings:
    """Which VirtualServices a proxy's servers take; lives only while its view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, memo: Memo) -> None:
        self._mesh, self._proxy, self._memo = mesh, proxy, memo

    def client(self, server: BoundServer) -> Client:
        retries = self._mesh.config.default_http_retry_policy
        port = server.server.port.number
        return Client(server.gateway_name, port, self._proxy.namespace, self._proxy.labels, retries)

    def by_host(self, server: BoundServer) -> Fixed[str, Fixed[Key, VirtualService]]:
        """Host under which the server serves them -> VirtualServices."""
        gateway, routes = server.gateway, self._mesh.routes

        def spread(key: Key, service: VirtualService) -> Iterator[tuple[str, Key, VirtualService]]:
            if visible(routes.exported_to(service), gateway.metadata.namespace):
                for host in service.spec.hosts:
                    for bound in bindable(server.server, gateway, service, host):
                        yield bound, key, service

        name = ("bound", gateway.ref, server.index, server.server, routes.default_export)
        return partitioned(self._memo, name, spread, routes.bound_to(server.gateway_name))

    def of(self, server: BoundServer) -> Iterator[Bound]:
        """The oldest first."""
        hosts: dict[VirtualService, list[str]] = {}
        for host, services in sorted(self.by_host(server).items()):
            for service in services.values():
                hosts.setdefault(service, []).append(host)
        for service in sorted(hosts, key=age):
            yield Bound(service, tuple(hosts[service]))


class PassingChains:
    """Makes the chains that pass connections on; lives only while a view is made."""

    def __init__(self, mesh: Mesh, proxy: Proxy, bindings: Bindings, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._proxy, self._bindings = mesh, proxy, bindings
        self._memo, self._gathered = memo, gathered

    def tcp(self, server: BoundServer, tls: ServerTLS | None = None) -> Iterator[Chain]:
        """By the `tcp` routes. tls: ended here first."""
        name = server.stat_prefix or f"{server.gateway_name}.{server.server.port.name}"
        names = served_names(server) if tls else ()
        for route in self._tcp_routes(server):
            match = ChainMatch(names, route.subnets, tls=tls is not None)
            yield Chain(name, match, route.traffic(name), tls, (server.origin, route.origin))

    def _tcp_routes(self, server: BoundServer) -> Iterator[L4Route]:
        client = self._bindings.client(server)
        for service, _ in self._bindings.of(server):
            found = l4_routes_for(self._mesh, service, client, tcp_routes, self._memo, self._gathered)
            yield from found.routes

    def passthrough(self, server: BoundServer) -> Iterator[Chain]:
        """By the server name that the client asks for, unopened."""
        client = self._bindings.client(server)
        for service, hosts in self._bindings.of(server):
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
        hosts = tuple(server_host(text, "")[1] for text in server.server.hosts)
        for _, same in sorted(self._mesh.registry.by_host.items()):
            service = seen(same, self._proxy.namespace)
            if service is None or service.external or not any(_within(service.host, host) for host in hosts):
                continue
            rules = self._mesh.rules.find(service, self._proxy.namespace, self._proxy.labels)
            for ref in _refs_as_is(service, rules):
                self._gathered.backends.add(ref)
                yield self._memo(_auto_chain, ref, server)

    def without_doubles(self, chains: Iterator[Chain]) -> tuple[Chain, ...]:
        """Envoy refuses a listener with two chains for the same connections: the first has them."""
        kept, clashes = distinct(chains)
        for clash in clashes:
            server, *route = clash.chain.origins
            first = clash.first.origins[-1]
            if route:
                note = diagnostic("XDS3010", route[0].ref, route[0].path, first=first)
            else:
                note = diagnostic("XDS3008", server.ref, server.path, host=clash.what, first=first)
            self._gathered.notes.append(note)
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
    return _server_names(tuple(sorted({server_host(text, "")[1] for text in server.server.hosts})))


def _server_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return () if "*" in names else names


def _within(host: str, allowed: str) -> bool:
    return allowed in (host, "*") or (allowed.startswith("*.") and host.endswith(allowed[1:]))
