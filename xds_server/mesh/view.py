"""What one proxy group sees of the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic
from xds_server.memo import Memo, keep, last
from xds_server.mesh.backends import BackendRef, backend, backend_endpoints, site
from xds_server.mesh.endpoints import NO_ENDPOINTS
from xds_server.mesh.gateway_view import GatewayView
from xds_server.mesh.grpc_view import GrpcView, grpc_backend, grpc_servers
from xds_server.mesh.model import (
    ApiListener,
    Backend,
    BackendEndpoints,
    Discovery,
    GrpcServer,
    Listener,
    NameTable,
    RouteTable,
    Secret,
    Value,
    View,
)
from xds_server.mesh.proxy import Proxy, ProxyKind
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh, lasting
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.sidecar_view import sidecar_view
from xds_server.mesh.topology import near, not_one_name, without_original_destination

_DNS = (Discovery.DNS, Discovery.DNS_ROUND_ROBIN)


def view(mesh: Mesh, proxy: Proxy, memo: Memo) -> View:
    shape = _SHAPES[proxy.kind](mesh, proxy, memo)
    refs = memo(_sorted, shape.backends)
    used = _prepared(mesh, proxy, refs, memo)
    backends = memo(_with_special, tuple(part.backend for part in used if part.backend), shape.special)
    secrets = {secret.name: secret for part in used for secret in part.secrets}
    secrets |= {secret.name: secret for secret in shape.secrets}
    notes = (note for part in used for note in part.diagnostics)
    return View(
        listeners=shape.listeners,
        api_listeners=shape.api_listeners,
        grpc_servers=shape.grpc_servers,
        route_tables=shape.route_tables,
        name_tables=shape.name_tables,
        backends=backends,
        endpoints=tuple(part.endpoints for part in used if part.endpoints),
        secrets=tuple(secrets[name] for name in sorted(secrets)),
        diagnostics=tuple(dict.fromkeys((*shape.diagnostics, *notes))),
    )


class Shape(Value, frozen=True, eq=False, gc=False):
    """A view but for its backends, which are named. Of endpoints it depends only on those of headless services."""

    backends: frozenset[BackendRef]
    special: tuple[Backend, ...]
    secrets: tuple[Secret, ...]
    diagnostics: tuple[Diagnostic, ...]
    listeners: tuple[Listener, ...] = ()
    api_listeners: tuple[ApiListener, ...] = ()
    grpc_servers: tuple[GrpcServer, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    name_tables: tuple[NameTable, ...] = ()


def _shape(gathered: Gathered, **parts: Any) -> Shape:
    return Shape(
        backends=frozenset(gathered.backends),
        special=tuple(gathered.special.values()),
        secrets=tuple(gathered.secrets.values()),
        diagnostics=tuple(gathered.notes),
        **parts,
    )


def _gateway(mesh: Mesh, proxy: Proxy, memo: Memo) -> Shape:
    return memo(_gateway_shape, lasting(mesh, memo), proxy, memo)


def _gateway_shape(mesh: Mesh, proxy: Proxy, memo: Memo) -> Shape:
    gathered = Gathered()
    made = GatewayView(mesh, proxy, memo, gathered)
    return _shape(gathered, listeners=tuple(made.listeners), route_tables=tuple(made.route_tables))


def _sidecar(mesh: Mesh, proxy: Proxy, memo: Memo) -> Shape:
    gathered = Gathered()
    made = sidecar_view(mesh, proxy, memo, gathered)
    return _shape(gathered, listeners=made.listeners, route_tables=made.route_tables, name_tables=made.name_tables)


def _grpc(mesh: Mesh, proxy: Proxy, memo: Memo) -> Shape:
    servers, notes = grpc_servers(mesh, proxy, memo)
    return memo(_with_servers, memo(_grpc_shape, lasting(mesh, memo), proxy, memo), servers, notes)


def _with_servers(shape: Shape, servers: tuple[GrpcServer, ...], notes: tuple[Diagnostic, ...]) -> Shape:
    return msgspec.structs.replace(shape, grpc_servers=servers, diagnostics=(*shape.diagnostics, *notes))


def _grpc_shape(mesh: Mesh, proxy: Proxy, memo: Memo) -> Shape:
    gathered = Gathered()
    made = GrpcView(mesh, proxy, memo, gathered)
    return _shape(gathered, api_listeners=tuple(made.api_listeners), route_tables=tuple(made.route_tables))


_SHAPES: dict[ProxyKind, Callable[[Mesh, Proxy, Memo], Shape]] = {
    ProxyKind.GATEWAY: _gateway,
    ProxyKind.SIDECAR: _sidecar,
    ProxyKind.GRPC: _grpc,
}


def _sorted(refs: frozenset[BackendRef]) -> tuple[BackendRef, ...]:
    return tuple(sorted(refs, key=lambda ref: ref.name))


def _with_special(backends: tuple[Backend, ...], special: tuple[Backend, ...]) -> tuple[Backend, ...]:
    return tuple(sorted((*backends, *special), key=lambda made: made.name))


class Prepared(Value, frozen=True, eq=False, gc=False):
    """What one reference comes to. backend None: it cannot be used."""

    backend: Backend | None = None
    endpoints: BackendEndpoints | None = None
    secrets: tuple[Secret, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


def _prepared(mesh: Mesh, proxy: Proxy, refs: tuple[BackendRef, ...], memo: Memo) -> tuple[Prepared, ...]:
    """Whatever the routes and listeners lead to, in the order of `refs`. A reference is looked at again only when the
    endpoints of its service are others."""
    endpoints = mesh.registry.endpoints
    found = [endpoints[ref.service] for ref in refs]
    key, context = (_prepared, proxy), (refs, mesh.config, mesh.secrets)
    before = last(memo, key)
    if before is not None and all(new is old for new, old in zip(context, before[0], strict=True)):
        _, old_found, old_used = before
        pairs = enumerate(zip(found, old_found, strict=True))
        changed = {index: _prepare(mesh, refs[index], proxy, memo) for index, (new, old) in pairs if new is not old}
        used = [changed.get(index, part) for index, part in enumerate(old_used)] if changed else old_used
    else:
        used = [_prepare(mesh, ref, proxy, memo) for ref in refs]
    keep(memo, key, (context, found, used))
    return tuple(used)


def _prepare(mesh: Mesh, ref: BackendRef, proxy: Proxy, memo: Memo) -> Prepared:
    gathered = Gathered()
    backend, endpoints = _backend(mesh, ref, proxy, memo, gathered)
    return Prepared(backend, endpoints, tuple(gathered.secrets.values()), tuple(gathered.notes))


def _backend(
    mesh: Mesh, ref: BackendRef, proxy: Proxy, memo: Memo, gathered: Gathered
) -> tuple[Backend | None, BackendEndpoints | None]:
    found = near(mesh.registry, ref, proxy, memo, gathered.notes)
    dns = found if ref.service.discovery in _DNS else NO_ENDPOINTS
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
    return value, memo(backend_endpoints, ref, found, seen.placement)
