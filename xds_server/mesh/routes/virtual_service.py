"""The HTTP routes of a VirtualService, as neutral routes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from xds_server.diagnostics import Diagnostic, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.model import Forward, Match, Redirect, Respond, Route
from xds_server.mesh.origin import Origin
from xds_server.mesh.routes import actions
from xds_server.mesh.routes.clients import Client, holds
from xds_server.mesh.routes.delegates import Delegates, Written, written
from xds_server.mesh.routes.headers import Edits, cors, fault, header_edits
from xds_server.mesh.routes.matches import Unusable, http_match
from xds_server.mesh.routes.precedence import Taken
from xds_server.mesh.routes.targets import Resolver, Targets


class HttpRoutes(msgspec.Struct, frozen=True, eq=False):
    """used: what they lead to."""

    routes: tuple[Route, ...]
    used: frozenset[BackendRef]
    diagnostics: tuple[Diagnostic, ...]


def destination_hosts(service: vs.VirtualService) -> frozenset[str]:
    """Every host that its own routes lead to, in full."""
    found = set()
    for route in service.spec.http:
        found |= {entry.destination.host for entry in route.route}
        found |= {mirror.destination.host for mirror in route.mirrors}
        found |= {route.mirror.host} if route.mirror else set()
    found |= {entry.destination.host for tcp in service.spec.tcp for entry in tcp.route}
    found |= {entry.destination.host for tls in service.spec.tls for entry in tls.route}
    return frozenset(names.full_host(host, service.metadata.namespace) for host in found)


def http_routes(service: vs.VirtualService, delegates: Delegates, client: Client, targets: Targets) -> HttpRoutes:
    """One route for each match that can hold for the client, in the order written, but those that no request can
    reach."""
    notes: list[Diagnostic] = []
    resolver = Resolver(service.ref, targets, client.port, notes)
    routes: list[Route] = []
    taken = Taken()
    for entry in written(service, delegates, notes):
        for match, origin, name, stat_prefix in _matches(entry, client, notes):
            route = _route(entry, match, origin, name, stat_prefix, resolver.of(entry.ref), client)
            first = taken.covering(route)
            if first is not None:
                notes.append(diagnostic("XDS3003", origin.ref, origin.path, first=first.origin))
                continue
            taken.add(route)
            routes.append(route)
    return HttpRoutes(tuple(routes), frozenset(resolver.used), tuple(dict.fromkeys(notes)))


def _matches(entry: Written, client: Client, notes: list[Diagnostic]) -> Iterator[tuple[Match, Origin, str, str]]:
    """Match, where it is written, the route's name and its statPrefix."""
    if not entry.matches:
        yield Match(), Origin(entry.ref, entry.path), entry.route.name, ""
        return
    for condition, path, ref in entry.matches:
        if not holds(condition, client, ref.namespace):
            continue
        try:
            match = http_match(condition, ref, path, notes)
        except Unusable:
            continue
        name = ".".join(part for part in (entry.route.name, condition.name) if part)
        yield match, Origin(ref, path), name, condition.stat_prefix


def _route(
    entry: Written,
    match: Match,
    origin: Origin,
    name: str,
    stat_prefix: str,
    resolver: Resolver,
    client: Client,
) -> Route:
    if entry.broken:
        return Route(name, match, actions.BROKEN, origin)
    route, notes = entry.route, resolver.notes
    ref, path = entry.place("headers")
    edits = header_edits(route.headers, ref, (*path, "headers"), notes)
    fault_ref, fault_path = entry.place("fault")
    cors_ref, cors_path = entry.place("corsPolicy")
    return Route(
        name=name,
        match=match,
        action=_action(entry, edits, resolver, client),
        origin=origin,
        request_headers=edits.request,
        response_headers=edits.response,
        fault=fault(route.fault, fault_ref, (*fault_path, "fault"), notes),
        cors=cors(route.cors_policy, cors_ref, (*cors_path, "corsPolicy"), notes),
        stat_prefix=stat_prefix,
    )


def _action(entry: Written, edits: Edits, resolver: Resolver, client: Client) -> Forward | Redirect | Respond:
    route, ref, path, notes = entry.route, entry.ref, entry.path, resolver.notes
    notes += actions.unused(entry)
    if route.redirect is not None:
        return actions.redirect(route.redirect, client.port)
    if route.direct_response is not None:
        return actions.respond(route.direct_response, ref, (*path, "directResponse"), notes)
    if route.route:
        return actions.forward(entry, edits, resolver, client.retries)
    detail = "it has no route, redirect or directResponse"
    notes.append(diagnostic("XDS4005", ref, path, detail=detail))
    return actions.BROKEN
