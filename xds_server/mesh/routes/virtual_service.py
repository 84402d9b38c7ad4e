"""VirtualServices, as neutral routes.

Conditions on the client (`gateways`, `port`, `sourceLabels`, `sourceNamespace`) are decided here and never sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import names
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.model import Destination, Forward, Labels, Match, Redirect, Respond, Route
from xds_server.mesh.origin import Origin
from xds_server.mesh.routes import actions
from xds_server.mesh.routes.headers import Edits, cors, fault, header_edits
from xds_server.mesh.routes.matches import Unusable, http_match, is_catch_all
from xds_server.mesh.routes.targets import Resolver, Targets


class Client(msgspec.Struct, frozen=True):
    """For whom routes are made. gateway: `namespace/name`, or `mesh` for sidecars. port: where requests come to.
    labels None: unknown, so that conditions on them hold."""

    gateway: str
    port: int
    namespace: str
    labels: Labels | None


class HttpRoutes(msgspec.Struct, frozen=True, eq=False):
    """ends: the last route takes every request, so that nothing after it is reached. used: what they lead to."""

    routes: tuple[Route, ...]
    ends: bool
    used: frozenset[BackendRef]
    diagnostics: tuple[Diagnostic, ...]


class ClientMatch(Protocol):
    """The conditions on the client, which the matches of http, tcp and tls routes share."""

    @property
    def gateways(self) -> Sequence[str]: ...
    @property
    def port(self) -> int | None: ...
    @property
    def source_labels(self) -> Mapping[str, str]: ...
    @property
    def source_namespace(self) -> str: ...


class L4Route(msgspec.Struct, frozen=True):
    """A `tcp` or `tls` route. server_names: SNI hosts (`tls` only); subnets: destination CIDRs."""

    destinations: tuple[Destination, ...]
    origin: Origin
    server_names: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()


class L4Routes(msgspec.Struct, frozen=True, eq=False):
    routes: tuple[L4Route, ...]
    used: frozenset[BackendRef]
    diagnostics: tuple[Diagnostic, ...]


def gateway_name(reference: str, namespace: str) -> str:
    """`ns/name` or a bare name of `namespace` -> `ns/name`; `mesh` stays."""
    if reference == names.MESH_GATEWAY or "/" in reference:
        return reference
    if ".svc." in reference:  # the legacy form name.namespace.svc.cluster.local
        name, namespace = reference.split(".")[:2]
        return f"{namespace}/{name}"
    return f"{namespace}/{reference}"


def gateways_of(service: vs.VirtualService) -> tuple[str, ...]:
    listed = service.spec.gateways or (names.MESH_GATEWAY,)
    return tuple(gateway_name(reference, service.metadata.namespace) for reference in listed)


def narrowed(service: vs.VirtualService, client: Client) -> Client:
    """The client, without what this VirtualService's conditions do not ask for: equal clients share their routes."""
    matches: list[ClientMatch] = [m for http in service.spec.http for m in http.match]
    matches += [m for tcp in service.spec.tcp for m in tcp.match]
    matches += [m for tls in service.spec.tls for m in tls.match]
    labels = client.labels if any(m.source_labels for m in matches) else ()
    namespace = client.namespace if any(m.source_namespace for m in matches) else ""
    return msgspec.structs.replace(client, labels=labels, namespace=namespace)


def destination_hosts(service: vs.VirtualService) -> frozenset[str]:
    """Every host that its routes lead to, in full."""
    found = set()
    for route in service.spec.http:
        found |= {entry.destination.host for entry in route.route}
        found |= {mirror.destination.host for mirror in route.mirrors}
        found |= {route.mirror.host} if route.mirror else set()
    found |= {entry.destination.host for tcp in service.spec.tcp for entry in tcp.route}
    found |= {entry.destination.host for tls in service.spec.tls for entry in tls.route}
    return frozenset(names.full_host(host, service.metadata.namespace) for host in found)


def http_routes(service: vs.VirtualService, client: Client, targets: Targets) -> HttpRoutes:
    """One route for each match that can hold for the client, in the order written, up to the first that always
    matches."""
    ref = service.ref
    notes: list[Diagnostic] = []
    resolver = Resolver(ref, targets, client.port, notes)
    routes: list[Route] = []
    ends = False
    for index, entry in enumerate(service.spec.http):
        path: Path = ("spec", "http", index)
        for match, origin, name, stat_prefix in _matches(entry, client, ref, path, notes):
            if ends:
                notes.append(diagnostic("XDS3003", ref, origin.path, first=routes[-1].origin.ref))
                continue
            routes.append(_route(entry, match, origin, name, stat_prefix, resolver, client))
            ends = is_catch_all(match)
    return HttpRoutes(tuple(routes), ends, frozenset(resolver.used), tuple(dict.fromkeys(notes)))


def _matches(
    entry: vs.HTTPRoute, client: Client, ref: ObjectRef, path: Path, notes: list[Diagnostic]
) -> Iterator[tuple[Match, Origin, str, str]]:
    """Match, where it is written, the route's name and its statPrefix."""
    if not entry.match:
        yield Match(), Origin(ref, path), entry.name, ""
        return
    for index, condition in enumerate(entry.match):
        where = (*path, "match", index)
        if not _holds(condition, client, ref.namespace):
            continue
        try:
            match = http_match(condition, ref, where, notes)
        except Unusable:
            continue
        name = ".".join(part for part in (entry.name, condition.name) if part)
        yield match, Origin(ref, where), name, condition.stat_prefix


def _holds(condition: ClientMatch, client: Client, namespace: str) -> bool:
    if condition.gateways and client.gateway not in {gateway_name(g, namespace) for g in condition.gateways}:
        return False
    if condition.port and condition.port != client.port:
        return False
    if condition.source_namespace and condition.source_namespace != client.namespace:
        return False
    wanted = set(condition.source_labels.items())
    return client.labels is None or wanted <= set(client.labels)


def _route(
    entry: vs.HTTPRoute,
    match: Match,
    origin: Origin,
    name: str,
    stat_prefix: str,
    resolver: Resolver,
    client: Client,
) -> Route:
    ref, notes = origin.ref, resolver.notes
    path: Path = origin.path[:3]
    edits = header_edits(entry.headers, ref, (*path, "headers"), notes)
    return Route(
        name=name,
        match=match,
        action=_action(entry, edits, path, resolver, client, ref),
        origin=origin,
        request_headers=edits.request,
        response_headers=edits.response,
        fault=fault(entry.fault, ref, (*path, "fault"), notes),
        cors=cors(entry.cors_policy, ref, (*path, "corsPolicy"), notes),
        stat_prefix=stat_prefix,
    )


def _action(
    entry: vs.HTTPRoute, edits: Edits, path: Path, resolver: Resolver, client: Client, ref: ObjectRef
) -> Forward | Redirect | Respond:
    if entry.redirect is not None:
        return actions.redirect(entry.redirect, client.port)
    if entry.direct_response is not None:
        return actions.respond(entry.direct_response, ref, (*path, "directResponse"), resolver.notes)
    if entry.route:
        return actions.forward(entry, edits, path, resolver, ref)
    detail = "it has no route, redirect or directResponse"
    resolver.notes.append(diagnostic("XDS4005", ref, path, detail=detail))
    return actions.BROKEN


def tcp_routes(service: vs.VirtualService, client: Client, targets: Targets) -> L4Routes:
    ref = service.ref
    notes: list[Diagnostic] = []
    resolver = Resolver(ref, targets, client.port, notes)
    found = []
    for index, route in enumerate(service.spec.tcp):
        path: Path = ("spec", "tcp", index)
        holding = [m for m in route.match if _holds(m, client, ref.namespace)]
        if not route.match or holding:
            subnets = tuple(sorted({subnet for m in holding for subnet in m.destination_subnets}))
            destinations = _l4_destinations(route.route, ref, path, resolver)
            found.append(L4Route(destinations, Origin(ref, path), subnets=subnets))
    return L4Routes(tuple(found), frozenset(resolver.used), tuple(notes))


def tls_routes(service: vs.VirtualService, client: Client, targets: Targets) -> L4Routes:
    ref = service.ref
    notes: list[Diagnostic] = []
    resolver = Resolver(ref, targets, client.port, notes)
    found = []
    for index, route in enumerate(service.spec.tls):
        path: Path = ("spec", "tls", index)
        destinations = _l4_destinations(route.route, ref, path, resolver)
        for number, match in enumerate(route.match):
            if _holds(match, client, ref.namespace):
                origin = Origin(ref, (*path, "match", number))
                server_names = tuple(sorted({host.lower() for host in match.sni_hosts}))
                subnets = tuple(sorted(set(match.destination_subnets)))
                found.append(L4Route(destinations, origin, server_names, subnets))
    return L4Routes(tuple(found), frozenset(resolver.used), tuple(notes))


def _l4_destinations(
    weighted: Sequence[vs.RouteDestination], ref: ObjectRef, path: Path, resolver: Resolver
) -> tuple[Destination, ...]:
    result = []
    for index, entry in enumerate(weighted):
        weight = 1 if len(weighted) == 1 else entry.weight
        backend, _ = resolver.backend(entry.destination, (*path, "route", index, "destination"))
        result += [Destination(backend, weight)] if weight else []
    if not result:
        detail = "the weights of its destinations add up to 0"
        resolver.notes.append(diagnostic("XDS4005", ref, path, detail=detail))
    return tuple(result)
