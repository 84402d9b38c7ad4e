"""What one proxy group sees of the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef, backend, backend_endpoints, site
from xds_server.mesh.endpoints import NO_ENDPOINTS
from xds_server.mesh.gateway_view import GatewayView
from xds_server.mesh.grpc_view import GrpcView, grpc_backend
from xds_server.mesh.model import Backend, BackendEndpoints, Discovery, View
from xds_server.mesh.proxy import Proxy, ProxyKind
from xds_server.mesh.proxy_secrets import ProxySecrets
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.route_tables import Gathered
from xds_server.mesh.sidecar_view import sidecar_view
from xds_server.mesh.topology import near, not_one_name, without_original_destination

_DNS = (Discovery.DNS, Discovery.DNS_ROUND_ROBIN)


def view(mesh: Mesh, proxy: Proxy, memo: Memo) -> View:
    gathered = Gathered()
    parts = _PARTS[proxy.kind](mesh, proxy, memo, gathered)
    backends, endpoints = _backends(mesh, proxy, gathered, memo)
    return View(
        **parts,
        backends=backends,
        endpoints=endpoints,
        secrets=tuple(gathered.secrets[name] for name in sorted(gathered.secrets)),
        diagnostics=tuple(dict.fromkeys(gathered.notes)),
    )


def _gateway(mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> dict[str, Any]:
    made = GatewayView(mesh, proxy, memo, gathered)
    return {"listeners": tuple(made.listeners), "route_tables": tuple(made.route_tables)}


def _sidecar(mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> dict[str, Any]:
    made = sidecar_view(mesh, proxy, memo, gathered)
    return {"listeners": made.listeners, "route_tables": made.route_tables, "name_tables": made.name_tables}


def _grpc(mesh: Mesh, proxy: Proxy, memo: Memo, gathered: Gathered) -> dict[str, Any]:
    made = GrpcView(mesh, proxy, memo, gathered)
    return {"api_listeners": tuple(made.api_listeners), "route_tables": tuple(made.route_tables)}


_PARTS: dict[ProxyKind, Callable[[Mesh, Proxy, Memo, Gathered], dict[str, Any]]] = {
    ProxyKind.GATEWAY: _gateway,
    ProxyKind.SIDECAR: _sidecar,
    ProxyKind.GRPC: _grpc,
}


def _backends(
    mesh: Mesh, proxy: Proxy, gathered: Gathered, memo: Memo
) -> tuple[tuple[Backend, ...], tuple[BackendEndpoints, ...]]:
    """Whatever the routes and listeners lead to, sorted by name."""
    backends, endpoints = [], []
    known = ProxySecrets(mesh, proxy, memo, gathered)
    for ref in sorted(gathered.backends, key=_name):
        found = near(mesh.registry, ref, proxy, memo, gathered.notes)
        dns = found if ref.service.discovery in _DNS else NO_ENDPOINTS
        seen = memo(site, ref, proxy, mesh.config)
        made = attempt(memo, ref.service.origin.ref, backend, ref, dns, seen)
        if isinstance(made, Diagnostic):
            gathered.notes.append(made)
            continue
        value = made.backend
        gathered.notes += made.diagnostics
        if proxy.kind is not ProxyKind.GRPC and not known.client(made.secrets):
            continue
        if value.discovery is Discovery.DNS_ROUND_ROBIN and len(value.fixed) != 1:
            value, notes = memo(not_one_name, value, ref)
            gathered.notes += notes
        if value.discovery is Discovery.ORIGINAL_DESTINATION and not seen.redirected:
            value, notes = memo(without_original_destination, value, ref)
            gathered.notes += notes
        if proxy.kind is ProxyKind.GRPC:
            value, notes = memo(grpc_backend, value, ref)
            gathered.notes += notes
        backends.append(value)
        if value.discovery is Discovery.ENDPOINTS:
            endpoints.append(memo(backend_endpoints, ref, found, seen.placement))
    backends += gathered.special.values()
    return tuple(sorted(backends, key=lambda made: made.name)), tuple(endpoints)


def _name(ref: BackendRef) -> str:
    return ref.name
