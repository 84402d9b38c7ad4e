"""The `tcp` and `tls` routes of a VirtualService, which pass connections on unopened."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from xds_server.diagnostics import Diagnostic, ObjectRef, Path, diagnostic
from xds_server.kube.istio import virtual_service as vs
from xds_server.mesh import checks
from xds_server.mesh.backends import BackendRef
from xds_server.mesh.model import Destination, Tcp
from xds_server.mesh.origin import Origin
from xds_server.mesh.policy import TcpOptions
from xds_server.mesh.routes.clients import Client, holds
from xds_server.mesh.routes.targets import Resolver, Targets
from xds_server.mesh.routes.weights import weight_notes


class L4Route(msgspec.Struct, frozen=True):
    """A `tcp` or `tls` route, or one match of it. server_names: SNI hosts (`tls` only); subnets: destination CIDRs.
    No destinations: the connections are closed."""

    destinations: tuple[Destination, ...]
    origin: Origin
    server_names: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    options: TcpOptions = TcpOptions()

    def traffic(self, stat_prefix: str) -> Tcp:
        options = self.options
        return Tcp(
            self.destinations,
            stat_prefix,
            options.idle_timeout,
            options.max_duration,
            options.hash_source_ip,
            options.tunnel,
        )


class L4Routes(msgspec.Struct, frozen=True, eq=False):
    routes: tuple[L4Route, ...]
    used: frozenset[BackendRef]
    diagnostics: tuple[Diagnostic, ...]


def tcp_routes(service: vs.VirtualService, client: Client, targets: Targets) -> L4Routes:
    """One route for each match that can hold for the client, in the order written."""
    ref = service.ref
    notes: list[Diagnostic] = []
    resolver = Resolver(ref, targets, client.port, notes)
    found = []
    for index, route in enumerate(service.spec.tcp):
        path: Path = ("spec", "tcp", index)
        holding = [(number, m) for number, m in enumerate(route.match) if holds(m, client, ref.namespace)]
        if route.match and not holding:
            continue
        passed_on = _passed_on(route.route, Origin(ref, path), resolver)
        if not route.match:
            found.append(passed_on)
        for number, match in holding:
            where = (*path, "match", number)
            subnets = _subnets(match.destination_subnets, ref, where, notes)
            if subnets is not None:
                found.append(msgspec.structs.replace(passed_on, origin=Origin(ref, where), subnets=subnets))
    return L4Routes(tuple(found), frozenset(resolver.used), tuple(notes))


def tls_routes(service: vs.VirtualService, client: Client, targets: Targets) -> L4Routes:
    """As `tcp_routes`, by the server name that the client asks for."""
    ref = service.ref
    notes: list[Diagnostic] = []
    resolver = Resolver(ref, targets, client.port, notes)
    found = []
    for index, route in enumerate(service.spec.tls):
        path: Path = ("spec", "tls", index)
        holding = [(number, m) for number, m in enumerate(route.match) if holds(m, client, ref.namespace)]
        if not holding:
            continue
        passed_on = _passed_on(route.route, Origin(ref, path), resolver)
        for number, match in holding:
            where = (*path, "match", number)
            subnets = _subnets(match.destination_subnets, ref, where, notes)
            if subnets is not None:
                server_names = tuple(dict.fromkeys(host.lower() for host in match.sni_hosts))
                origin = Origin(ref, where)
                found.append(
                    msgspec.structs.replace(passed_on, origin=origin, server_names=server_names, subnets=subnets)
                )
    return L4Routes(tuple(found), frozenset(resolver.used), tuple(notes))


def _subnets(written: Sequence[str], ref: ObjectRef, path: Path, notes: list[Diagnostic]) -> tuple[str, ...] | None:
    """None when one of them cannot be read: the match must not take more than its author meant."""
    good = True
    for index, subnet in enumerate(written):
        problem = checks.cidr(subnet)
        if problem:
            where = (*path, "destinationSubnets", index)
            notes.append(diagnostic("XDS4004", ref, where, value=subnet, reason=problem))
            good = False
    return tuple(sorted(set(written))) if good else None


def _passed_on(weighted: Sequence[vs.RouteDestination], origin: Origin, resolver: Resolver) -> L4Route:
    """The route without its conditions. What the policies of several destinations say about connections counts when
    they agree; a tunnel, a way of hashing and the time-outs are those of the one that says something."""
    path = (*origin.path, "route")
    result = []
    options: list[TcpOptions] = []
    for index, entry in enumerate(weighted):
        weight = 1 if len(weighted) == 1 else entry.weight
        found = resolver.resolved(entry.destination, (*path, index, "destination"))
        if weight:
            result.append(Destination(found.name, weight))
            options.append(found.tcp_options)
    resolver.notes += weight_notes([entry.weight for entry in weighted], origin.ref, path)
    if not result:
        detail = "the weights of its destinations add up to 0"
        effect = "its connections are closed"
        resolver.notes.append(diagnostic("XDS4005", origin.ref, path, detail=detail, effect=effect))
        return L4Route((), origin)
    if len(set(options)) > 1:
        reason = "for only some of the destinations of a route; the first one's are used for all"
        field = "the DestinationRule's tunnel, hashing or time-outs of TCP"
        resolver.notes.append(diagnostic("XDS4009", origin.ref, path, field=field, reason=reason))
    return L4Route(tuple(result), origin, options=options[0])
