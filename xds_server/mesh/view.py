"""What one proxy group sees of the mesh."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, Found, diagnostic
from xds_server.incremental import Fixed, derived, edited, fixed, rekeyed, united
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef, backend, backend_endpoints, site
from xds_server.mesh.endpoints import NO_ENDPOINTS
from xds_server.mesh.gateway_view import gateway_view
from xds_server.mesh.grpc_view import grpc_backend, grpc_view
from xds_server.mesh.model import Backend, BackendEndpoints, Discovery, Listener, View
from xds_server.mesh.placement import Placement
from xds_server.mesh.proxy import Proxy, ProxyKind
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh, looking
from xds_server.mesh.route_tables import Gathered, Part, Parts, Sight
from xds_server.mesh.sidecar_view import clashes_with_own, first_listener, listener_clashes, sidecar_view
from xds_server.mesh.topology import near, not_one_name, without_original_destination

_DNS = (Discovery.DNS, Discovery.DNS_ROUND_ROBIN)


class Views(NamedTuple):
    """What one proxy group sees: what others see too, those with the same `key`, and what only it does. A listener that
    both have is its own."""

    shared: View
    own: View
    found: Found
    key: Hashable

    def whole(self) -> View:
        fields = [field for field in View.__struct_fields__ if field != "found"]
        both = {field: edited(getattr(self.shared, field), getattr(self.own, field)) for field in fields}
        return View(**both, found=self.found)


def view(mesh: Mesh, proxy: Proxy, memo: Memo) -> Views:
    sight = _SIGHTS[proxy.kind](mesh, proxy, memo)
    shared = memo(_shared, mesh, sight.seat, sight.parts, sight.key, memo)
    own = memo(_own, sight.own)
    clashes = tuple(clashes_with_own(own.listeners.values(), shared.listeners))
    return Views(shared, own, (*shared.found, *own.found, clashes), sight.key)


_SIGHTS: dict[ProxyKind, Callable[[Mesh, Proxy, Memo], Sight]] = {
    ProxyKind.GATEWAY: gateway_view,
    ProxyKind.SIDECAR: sidecar_view,
    ProxyKind.GRPC: grpc_view,
}


def _own(part: Part) -> View:
    def named(values: Iterable[Any]) -> Fixed[str, Any]:
        return fixed((value.name, value) for value in values)

    return View(
        listeners=named(part.listeners),
        api_listeners=named(part.api_listeners),
        grpc_servers=named(part.grpc_servers),
        route_tables=named(part.route_tables),
        name_tables=named(part.name_tables),
        backends=named(part.special),
        secrets=named(part.secrets),
        found=(part.diagnostics,),
    )


def _shared(mesh: Mesh, proxy: Proxy, parts: Parts, key: Hashable, memo: Memo) -> View:
    """The view of all that the parts come to. key: names what of them was kept."""
    refs = united(memo, ("backends", key), parts, lambda part: part.backends)
    prepared, bugs = _prepared(mesh, proxy, refs, key, memo)
    reached = _reached(mesh, proxy, prepared, key, memo)
    everything: dict[str, Any] = {**parts, "backends": prepared, "endpoints": reached}

    def named(kind: str, values: Callable[[Any], Iterable[Any]], of: Parts) -> Fixed[str, Any]:
        return rekeyed(memo, (kind, key), of, lambda part: ((value.name, value) for value in values(part)))[0]

    listeners, several = rekeyed(memo, ("listeners", key), parts, _listeners, first_listener)
    notes = united(memo, ("notes", key), everything, lambda part: part.diagnostics)
    return View(
        listeners=listeners,
        api_listeners=named("api_listeners", lambda part: part.api_listeners, parts),
        grpc_servers=named("grpc_servers", lambda part: part.grpc_servers, parts),
        route_tables=named("route_tables", lambda part: part.route_tables, parts),
        name_tables=named("name_tables", lambda part: part.name_tables, parts),
        backends=named("clusters", lambda part: part.special, everything),
        endpoints=derived(memo, ("endpoints", key), lambda name, part: part.endpoints, reached),
        secrets=named("secrets", lambda part: part.secrets, everything),
        found=(notes, bugs, tuple(listener_clashes(several))),
    )


def _listeners(part: Part) -> Iterator[tuple[str, Listener]]:
    for listener in part.listeners:
        yield listener.name, listener


class Prepared(Part, frozen=True, eq=False, gc=False):
    """What a name of backends comes to: the backend is in `special`, if it can be used.
    reached: what its endpoints are chosen by, if it has any of its own."""

    reached: tuple[BackendRef, Placement | None] | None = None


class Reached(Part, frozen=True, eq=False, gc=False):
    endpoints: BackendEndpoints | None = None


def _prepared(
    mesh: Mesh, proxy: Proxy, refs: Fixed[BackendRef, BackendRef], key: Hashable, memo: Memo
) -> tuple[Fixed[str, Prepared], tuple[Diagnostic, ...]]:
    """Whatever the routes and listeners lead to, by name."""
    named, several = rekeyed(memo, ("refs", key), {"": refs}, lambda ref: ((ref.name, ref),), rank=_first)
    lookups, known = looking(mesh)

    def prepare(name: str, ref: BackendRef) -> Prepared:
        gathered = Gathered()
        backend, reached = _backend(known, ref, proxy, memo, gathered)
        made = gathered.part()
        special = (backend,) if backend else ()
        return Prepared(special=special, secrets=made.secrets, diagnostics=made.diagnostics, reached=reached)

    bugs = [_twice(name, refs) for name, refs in several.items()]
    return derived(memo, ("prepared", key), prepare, named, lookups, mesh.config), tuple(bugs)


def _reached(
    mesh: Mesh, proxy: Proxy, prepared: Fixed[str, Prepared], key: Hashable, memo: Memo
) -> Fixed[str, Reached]:
    """The endpoints of backends, apart from them because they change more often."""
    lookups, known = looking(mesh)

    def reach(name: str, part: Prepared) -> Reached | None:
        if part.reached is None:
            return None
        notes: list[Diagnostic] = []
        ref, placement = part.reached
        found = near(known.registry, ref, proxy, memo, notes)
        made = memo(backend_endpoints, ref, found, placement)
        return Reached(endpoints=made, diagnostics=tuple(notes))

    return derived(memo, ("reached", key), reach, prepared, lookups)


def _first(origin: tuple[str, BackendRef]) -> tuple[str, ...]:
    service = origin[1].service
    return (service.namespace, service.name, str(service.origin.ref))


def _twice(name: str, refs: Mapping[Any, BackendRef]) -> Diagnostic:
    ref = min(refs, key=_first)[1].service.origin.ref
    return diagnostic("XDS1010", ref, detail=f"two backends are named {name!r}")


def _backend(
    mesh: Mesh, ref: BackendRef, proxy: Proxy, memo: Memo, gathered: Gathered
) -> tuple[Backend | None, tuple[BackendRef, Placement | None] | None]:
    named = ref.service.discovery in _DNS
    dns = near(mesh.registry, ref, proxy, memo, gathered.notes) if named else NO_ENDPOINTS
    seen = memo(site, ref, proxy, mesh.config)
    made = attempt(memo, ref.service.origin.ref, backend, ref, dns, seen)
    if isinstance(made, Diagnostic):
        gathered.notes.append(made)
        return None, None
    value = made.backend
    gathered.notes += made.diagnostics
    if proxy.kind is not ProxyKind.GRPC and not ProxySecrets(mesh, proxy, memo, gathered).client(made.secrets):
        return None, None
    if value.discovery is Discovery.DNS_ROUND_ROBIN and len(value.fixed) != 1:
        value, notes = memo(not_one_name, value, ref)
        gathered.notes += notes
    if value.discovery is Discovery.ORIGINAL_DESTINATION and not seen.redirected:
        value, notes = memo(without_original_destination, value, ref)
        gathered.notes += notes
    if proxy.kind is ProxyKind.GRPC:
        value, notes = memo(grpc_backend, value, ref)
        gathered.notes += notes
    if value.discovery is not Discovery.ENDPOINTS:
        return value, None
    return value, (ref, seen.placement)
