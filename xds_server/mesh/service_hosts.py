"""Virtual hosts of services, as clients inside of the mesh call them: for sidecars and for proxyless gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xds_server.diagnostics import Diagnostic
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef, backend_hash_key
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.model import Destination, Forward, Labels, Match, Retry, Route, Service, ServicePort, Value
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered, merge, routes_for
from xds_server.mesh.routes.actions import DEFAULT_RETRY
from xds_server.mesh.routes.virtual_service import Client

Entry = tuple[Service, ServicePort]
"""One port of a service."""


class MeshRoutes(Value, frozen=True, eq=False, gc=False):
    """The VirtualServices of the `mesh` gateway that one namespace sees, by host (perhaps a wildcard)."""

    by_host: Mapping[str, tuple[VirtualService, ...]]

    def of(self, host: str) -> tuple[VirtualService, ...]:
        """Those of the most specific host that stands for `host`."""
        if host in self.by_host:
            return self.by_host[host]
        rest = host
        while rest:
            _, _, rest = rest.partition(".")
            wildcard = f"*.{rest}" if rest else "*"
            if wildcard in self.by_host:
                return self.by_host[wildcard]
        return ()


def mesh_routes(mesh: Mesh, namespace: str) -> MeshRoutes:
    by_host: dict[str, list[VirtualService]] = {}
    for service in mesh.routes.bound_to(names.MESH_GATEWAY, namespace):
        for host in service.spec.hosts:
            by_host.setdefault(names.full_host(host, service.metadata.namespace), []).append(service)
    return MeshRoutes({host: tuple(dict.fromkeys(found)) for host, found in by_host.items()})


def domains(service: Service, port: int, namespace: str) -> tuple[str, ...]:
    """Every name that a client in `namespace` may write in Host for this port of the service."""
    plain = [service.host, f"{service.host}.", *names.short_hosts(service.host, namespace)]
    plain += [f"[{ip}]" if ":" in ip else ip for ip in service.addresses if "/" not in ip]
    if service.headless:
        plain.append(f"*.{service.host}")
    return tuple(dict.fromkeys(plain))


def with_port(plain: tuple[str, ...], port: int) -> tuple[str, ...]:
    """The same names with the port behind them."""
    return tuple(f"{name}:{port}" for name in plain)


def default_route(service: Service, port: ServicePort, rules: Rules | None) -> Route:
    key = backend_hash_key(rules, "", port.number)
    retry = Retry(DEFAULT_RETRY.attempts, DEFAULT_RETRY.on, avoid_previous_hosts=key is None)
    action = Forward(
        (Destination(names.outbound(port.number, "", service.host)),), retry=retry, hash_keys=(key,) if key else ()
    )
    return Route("default", Match(), action, service.origin)


class ServiceRoutes:
    """Makes the routes of services for one client namespace; lives only while a view is made."""

    def __init__(self, mesh: Mesh, namespace: str, labels: Labels | None, memo: Memo, gathered: Gathered) -> None:
        self._mesh, self._namespace, self._labels = mesh, namespace, labels
        self._memo, self._gathered = memo, gathered
        self.bound: MeshRoutes = memo(mesh_routes, mesh, namespace)

    def services(self) -> tuple[Service, ...]:
        return self._mesh.registry.seen_from(self._namespace)

    def entries(self) -> Iterator[Entry]:
        for service in self.services():
            for port in service.ports:
                yield service, port

    def client(self, port: int) -> Client:
        return Client(names.MESH_GATEWAY, port, self._namespace, self._labels)

    def of_virtual_services(self, found: tuple[VirtualService, ...], port: int) -> tuple[Route, ...]:
        parts = [routes_for(self._mesh, s, self.client(port), self._memo, self._gathered) for s in found if s.spec.http]
        return merge(dict.fromkeys(parts), self._memo, self._gathered)

    def of(self, service: Service, port: ServicePort) -> tuple[Route, ...]:
        """The routes of the VirtualServices for this host, or one to all endpoints of the service."""
        return self.of_virtual_services(self.bound.of(service.host), port.number) or (self.default(service, port),)

    def default(self, service: Service, port: ServicePort) -> Route:
        rules = self._mesh.rules.find(service, self._namespace)
        self._gathered.backends.add(BackendRef(service, port, "", rules))
        return self._memo(default_route, service, port, rules)

    def note(self, found: Diagnostic) -> None:
        self._gathered.notes.append(found)
