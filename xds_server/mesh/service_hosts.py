"""Virtual hosts of services, as clients inside of the mesh call them: for sidecars and for proxyless gRPC."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xds_server.diagnostics import Path
from xds_server.incremental import Fixed, derived, partitioned
from xds_server.kube.istio.virtual_service import HTTPRetry, VirtualService
from xds_server.kube.meta import Object
from xds_server.memo import Memo
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef, backend_hash_key
from xds_server.mesh.destination_rules import Rules
from xds_server.mesh.model import Destination, Forward, Match, Route, Service, ServicePort, Value
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.registry import Registry
from xds_server.mesh.resolve import Key, Mesh, age
from xds_server.mesh.route_tables import Gathered, merge, routes_for
from xds_server.mesh.routes.actions import mesh_retry
from xds_server.mesh.routes.clients import Client
from xds_server.mesh.routes.targets import DestinationLike, Resolver, Target
from xds_server.mesh.scope import Egress
from xds_server.mesh.visibility import visible

Bound = Fixed[str, Fixed[Key, VirtualService]]
"""Host, perhaps a wildcard -> VirtualServices of the `mesh` gateway that one namespace sees."""


class MeshRoutes(Value, frozen=True, eq=False, gc=False):
    """What one client namespace finds when it looks for a host. by_wildcard: those of wildcards alone."""

    services: Fixed[str, Service]
    by_host: Bound
    by_wildcard: Bound

    def of(self, host: str, by_host: Mapping[str, Fixed[Key, VirtualService]]) -> tuple[VirtualService, ...]:
        """Those of the most specific host that stands for `host`, the oldest first. by_host: our own, or a view of
        it."""
        found = by_host.get(host)
        rest = host if found is None and self.by_wildcard else ""
        while rest and found is None:
            _, _, rest = rest.partition(".")
            found = self.by_wildcard.get(f"*.{rest}" if rest else "*")
        return self.oldest(found) if found else ()

    @staticmethod
    def oldest(found: Mapping[Key, VirtualService]) -> tuple[VirtualService, ...]:
        """The oldest first."""
        return tuple(sorted(found.values(), key=age))


def mesh_routes(mesh: Mesh, namespace: str, egress: tuple[Egress, ...], memo: Memo) -> MeshRoutes:
    """egress: all that may be seen."""
    routes = mesh.routes

    def spread(wildcards: bool) -> Callable[[Any, Any], Iterator[tuple[str, Key, VirtualService]]]:
        def hosts(key: Key, service: VirtualService) -> Iterator[tuple[str, Key, VirtualService]]:
            if visible(routes.exported_to(service), namespace):
                for host in service.spec.hosts:
                    full = names.full_host(host, key[0])
                    if (not wildcards or full.startswith("*")) and any(out.meets(key[0], full) for out in egress):
                        yield full, key, service

        return hosts

    bound, context = routes.in_mesh, (namespace, egress, routes.default_export)
    return MeshRoutes(
        seen_services(mesh.registry, namespace, egress, memo),
        partitioned(memo, ("mesh routes", context), spread(False), bound),
        partitioned(memo, ("wildcards", context), spread(True), bound),
    )


def host_names(service: Service, namespace: str) -> tuple[str, ...]:
    """The names by which a client in `namespace` may call the service: full, short, and those of its aliases."""
    hosts = [service.host, *(alias.host for alias in service.aliases if visible(alias.exported_to, namespace))]
    return tuple(dict.fromkeys(name for host in hosts for name in (host, *names.short_hosts(host, namespace))))


def domains(service: Service, namespace: str) -> tuple[str, ...]:
    """Every name that a client in `namespace` may write in Host for the service."""
    full = {service.host, *(alias.host for alias in service.aliases)}
    called = host_names(service, namespace)
    plain = [form for name in called for form in ((name, f"{name}.") if name in full else (name,))]
    plain += [f"[{ip}]" if ":" in ip else ip for ip in service.addresses if "/" not in ip]
    if service.headless:
        plain.append(f"*.{service.host}")
    return tuple(dict.fromkeys(plain))


def with_port(plain: tuple[str, ...], port: int) -> tuple[str, ...]:
    """The same names with the port behind them."""
    return tuple(f"{name}:{port}" for name in plain)


def default_route(service: Service, port: ServicePort, rules: Rules | None, retries: HTTPRetry | None) -> Route:
    key = backend_hash_key(service, rules, "", port.number)
    retry = mesh_retry(retries, key is not None)
    action = Forward(
        (Destination(names.outbound(port.number, "", service.host)),), retry=retry, hash_keys=(key,) if key else ()
    )
    return Route("default", Match(), action, service.origin)


class ServiceRoutes:
    """Makes the routes of services for one client namespace. mesh: as `derived` sees it. by_host: as well, or
    None for what is seen itself."""

    def __init__(
        self,
        mesh: Mesh,
        proxy: Proxy,
        seen: MeshRoutes,
        memo: Memo,
        gathered: Gathered,
        by_host: Mapping[str, Fixed[Key, VirtualService]] | None = None,
    ) -> None:
        self._mesh, self._proxy, self._memo, self._gathered = mesh, proxy, memo, gathered
        self._seen, self._by_host = seen, seen.by_host if by_host is None else by_host

    def client(self, port: int) -> Client:
        retries = self._mesh.config.default_http_retry_policy
        return Client(names.MESH_GATEWAY, port, self._proxy.namespace, self._proxy.labels, retries)

    def bound_to(self, host: str) -> tuple[VirtualService, ...]:
        return self._seen.of(host, self._by_host)

    def destination(self, destination: DestinationLike, of: Object, path: Path) -> str:
        """The backend of a destination that another resource than a VirtualService names."""
        host = names.full_host(destination.host, of.metadata.namespace)
        service = self._mesh.registry.find(host, self._proxy.namespace)
        rules = self._mesh.rules.find(service, self._proxy.namespace, self._proxy.labels) if service else None
        resolver = Resolver(of.ref, (Target(host, service, rules),), 0, self._gathered.notes)
        name, _ = resolver.backend(destination, path)
        self._gathered.backends |= resolver.used
        return name

    def of_virtual_services(self, found: tuple[VirtualService, ...], port: int) -> tuple[Route, ...]:
        parts = [routes_for(self._mesh, s, self.client(port), self._memo, self._gathered) for s in found if s.spec.http]
        return merge(dict.fromkeys(parts), self._memo, self._gathered)

    def of(self, service: Service, port: ServicePort) -> tuple[Route, ...]:
        """The routes of the VirtualServices for this host, or one to all endpoints of the service."""
        found = self.bound_to(service.host)
        return self.of_virtual_services(found, port.number) or (self.default(service, port),)

    def default(self, service: Service, port: ServicePort) -> Route:
        retries = self._mesh.config.default_http_retry_policy
        return self._memo(default_route, service, port, self.backend(service, port).rules, retries)

    def backend(self, service: Service, port: ServicePort, chosen: bool = False) -> BackendRef:
        """All endpoints of the service; chosen: the very one that the client wanted to reach."""
        rules = self._mesh.rules.find(service, self._proxy.namespace, self._proxy.labels)
        ref = BackendRef(service, port, "", rules, chosen=chosen)
        self._gathered.backends.add(ref)
        return ref


def seen_services(registry: Registry, namespace: str, egress: tuple[Egress, ...], memo: Memo) -> Fixed[str, Service]:
    """One service for each host: of several namespaces, the client's own comes first."""

    def see(host: str, same: tuple[Service, ...]) -> Service | None:
        return _seen(same, namespace, egress)

    by_host: Any = registry.by_host
    return derived(memo, ("seen", namespace, egress), see, by_host)


def _seen(same: tuple[Service, ...], namespace: str, egress: tuple[Egress, ...]) -> Service | None:
    seen = [s for s in same if visible(s.exported_to, namespace) and any(takes(out, s) for out in egress)]
    return next((s for s in seen if s.namespace == namespace), seen[0] if seen else None)


def takes(egress: Egress, service: Service) -> bool:
    """Whether a way out leads to the service, by its host or by an alias."""
    return any(egress.takes(service.namespace, host) for host in all_hosts(service))


def all_hosts(service: Service) -> tuple[str, ...]:
    """Its own and those of its aliases."""
    return (service.host, *(alias.host for alias in service.aliases))
