"""Virtual hosts from the VirtualServices that share them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.incremental import Fixed
from xds_server.kube.istio.virtual_service import VirtualService
from xds_server.memo import Memo
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.model import (
    ApiListener,
    Backend,
    GrpcServer,
    Listener,
    NameTable,
    Route,
    RouteTable,
    Secret,
    Value,
    VirtualHost,
)
from xds_server.mesh.proxy import Proxy
from xds_server.mesh.resolve import Mesh
from xds_server.mesh.routes.clients import Client, narrowed
from xds_server.mesh.routes.delegates import Delegate, Delegates, named
from xds_server.mesh.routes.l4 import L4Routes
from xds_server.mesh.routes.precedence import Taken, by_specificity
from xds_server.mesh.routes.targets import Target, Targets
from xds_server.mesh.routes.virtual_service import HttpRoutes, destination_hosts, http_routes
from xds_server.mesh.suggestions import similar_host
from xds_server.mesh.visibility import EVERYWHERE


class Part(Value, frozen=True, eq=False, gc=False):
    """What something comes to in a view: a virtual host, a place to listen, or all that is not made of many alike.
    special: backends that are no service's."""

    backends: tuple[BackendRef, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    special: tuple[Backend, ...] = ()
    secrets: tuple[Secret, ...] = ()
    virtual_hosts: tuple[VirtualHost, ...] = ()
    listeners: tuple[Listener, ...] = ()
    api_listeners: tuple[ApiListener, ...] = ()
    grpc_servers: tuple[GrpcServer, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    name_tables: tuple[NameTable, ...] = ()


def same_part(memo: Memo, part: Part) -> Part:
    """The same object as the last that was alike."""
    return memo(Part, *msgspec.structs.astuple(part))


Parts = Mapping[str, Fixed[Any, Part]]
"""What a view is made of, by what it is for."""


class Sight(NamedTuple):
    """What a proxy sees. parts: what it has in common with all others that have the same `key`. seat: all of the proxy
    that these, and the backends in them, depend on; limits: what its Sidecar says. own: the rest."""

    seat: Proxy
    parts: Fixed[str, Fixed[Any, Part]]
    own: Part = Part()
    limits: Hashable = None

    @property
    def key(self) -> Hashable:
        return (self.seat, self.limits)


class Gathered:
    """What a part of the view of one proxy needs; lives only while that is made.

    special: backends that are no service's, by name. secrets: by name.
    """

    def __init__(self) -> None:
        self.backends: set[BackendRef] = set()
        self.notes: list[Diagnostic] = []
        self.special: dict[str, Backend] = {}
        self.secrets: dict[str, Secret] = {}

    def alone(self, memo: Memo, **made: Any) -> Part:
        return same_part(memo, self.part(**made))

    def part(self, **made: Any) -> Part:
        return Part(
            backends=tuple(sorted(self.backends, key=lambda ref: ref.name)),
            diagnostics=tuple(dict.fromkeys(self.notes)),
            special=tuple(self.special.values()),
            secrets=tuple(self.secrets.values()),
            **made,
        )


def targets(mesh: Mesh, services: Iterable[VirtualService], client: Client, memo: Memo) -> Targets:
    """What the destinations of VirtualServices mean to a client."""
    found = []
    for host in sorted({host for service in services for host in memo(destination_hosts, service)}):
        target = mesh.registry.find(host, client.namespace)
        rules = mesh.rules.find(target, client.namespace, client.labels) if target else None
        similar = "" if target else similar_host(host, mesh.registry.spelling)
        found.append(Target(host, target, rules, similar))
    return tuple(found)


def delegates(mesh: Mesh, service: VirtualService, memo: Memo) -> Delegates:
    found = []
    for space, name in memo(named, service):
        delegate = mesh.routes.by_name.get((space, name))
        found.append(Delegate(space, name, delegate, mesh.routes.exported_to(delegate) if delegate else EVERYWHERE))
    return tuple(found)


def routes_for(mesh: Mesh, service: VirtualService, client: Client, memo: Memo, gathered: Gathered) -> HttpRoutes:
    """A VirtualService's HTTP routes; none when making them hit a bug."""
    leaving = delegates(mesh, service, memo)
    services = (service, *(delegate.service for delegate in leaving if delegate.service is not None))
    known = targets(mesh, services, client, memo)
    seen = memo(narrowed, services, client)
    found = attempt(memo, service.ref, http_routes, service, leaving, seen, known)
    if isinstance(found, Diagnostic):
        gathered.notes.append(found)
        return HttpRoutes((), frozenset(), ())
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
    known = targets(mesh, (service,), client, memo)
    found = attempt(memo, service.ref, make, service, memo(narrowed, (service,), client), known)
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
    """The routes of several VirtualServices for one host, the oldest VirtualService first: the most specific route
    comes first, and each VirtualService, taken alone, answers as before (`by_specificity`). What can never be
    reached is left out and named."""
    if len(parts) == 1:
        return Merged(parts[0].routes, ())
    routes: list[Route] = []
    notes: list[Diagnostic] = []
    taken = Taken()
    for route in by_specificity(part.routes for part in parts):
        first = taken.covering(route)
        if first is None:
            taken.add(route)
            routes.append(route)
        elif first.origin != route.origin:  # one VirtualService may come by two Gateways
            notes.append(diagnostic("XDS3003", route.origin.ref, route.origin.path, first=first.origin))
    return Merged(tuple(routes), tuple(notes))


def merge(parts: Iterable[HttpRoutes], memo: Memo, gathered: Gathered) -> tuple[Route, ...]:
    found = memo(merged, tuple(parts))
    gathered.notes += found.diagnostics
    return found.routes
