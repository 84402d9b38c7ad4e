"""Virtual hosts from the VirtualServices that share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.model import Backend, Route, Secret
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.routes.matches import is_catch_all
from xds_server.mesh.routes.targets import Target, Targets
from xds_server.mesh.routes.virtual_service import (
    Client,
    HttpRoutes,
    L4Routes,
    destination_hosts,
    http_routes,
    narrowed,
)


class Gathered:
    """What the view of one proxy needs beside its listeners; lives only while the view is made.

    special: backends that are no service's, by name. secrets: by name.
    """

    def __init__(self) -> None:
        self.backends: set[BackendRef] = set()
        self.special: dict[str, Backend] = {}
        self.secrets: dict[str, Secret] = {}
        self.notes: list[Diagnostic] = []


def targets(mesh: Mesh, service: VirtualService, client: Client, memo: Memo) -> Targets:
    """What the destinations of a VirtualService mean to a client."""
    found = []
    for host in sorted(memo(destination_hosts, service)):
        target = mesh.registry.find(host, client.namespace)
        rules = mesh.rules.find(target, client.namespace, client.labels) if target else None
        found.append(Target(host, target, rules))
    return tuple(found)


def routes_for(mesh: Mesh, service: VirtualService, client: Client, memo: Memo, gathered: Gathered) -> HttpRoutes:
    """A VirtualService's HTTP routes; none when making them hit a bug."""
    known = targets(mesh, service, client, memo)
    found = attempt(memo, service.ref, http_routes, service, memo(narrowed, service, client), known)
    if isinstance(found, Diagnostic):
        gathered.notes.append(found)
        return HttpRoutes((), False, frozenset(), ())
    gathered.notes += found.diagnostics
    gathered.backends |= found.used
    return found


def l4_routes_for(
    mesh: Mesh,
    service: VirtualService,
    client: Client,
    make: Callable[[VirtualService, Client, Targets], L4Routes],
    memo: Memo,
    gathered: Gathered,
) -> L4Routes:
    """A VirtualService's `tcp` or `tls` routes; none when making them hit a bug."""
    known = targets(mesh, service, client, memo)
    found = attempt(memo, service.ref, make, service, memo(narrowed, service, client), known)
    if isinstance(found, Diagnostic):
        gathered.notes.append(found)
        return L4Routes((), frozenset(), ())
    gathered.notes += found.diagnostics
    gathered.backends |= found.used
    return found


class Merged(msgspec.Struct, frozen=True, eq=False):
    routes: tuple[Route, ...]
    diagnostics: tuple[Diagnostic, ...]


def merged(parts: tuple[HttpRoutes, ...]) -> Merged:
    """The routes of several VirtualServices for one host: in the order given (the oldest first), those that take
    every request last. What can never be reached is left out and named."""
    routes: list[Route] = []
    last: Route | None = None
    notes: list[Diagnostic] = []
    for route in (route for part in parts for route in part.routes):
        if not is_catch_all(route.match):
            routes.append(route)
        elif last is None:
            last = route
        else:
            notes.append(diagnostic("XDS3003", route.origin.ref, route.origin.path, first=last.origin.ref))
    return Merged((*routes, *([last] if last else ())), tuple(notes))


def merge(parts: Iterable[HttpRoutes], memo: Memo, gathered: Gathered) -> tuple[Route, ...]:
    found = memo(merged, tuple(parts))
    gathered.notes += found.diagnostics
    return found.routes
