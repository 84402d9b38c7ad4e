"""Route table -> route configuration (`envoy.config.route.v3.RouteConfiguration`)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.envoy import actions, filters, headers, matchers
from xds_server.envoy.resource import CLUSTER, ROUTE, Resource, version
from xds_server.incremental import Pieces
from xds_server.memo import no_memo
from xds_server.mesh.model import Forward, Redirect, Respond, Route, RouteTable, VirtualHost
from xds_server.mesh.origin import Origin

_MAX_BODY = 1 << 20


class Written(msgspec.Struct, frozen=True, eq=False):
    """Some virtual hosts, one behind the other, as entries of a RouteConfiguration. digests: one for each, also
    joined. bugs: one for each virtual host that a bug left out."""

    entries: bytes
    digests: bytes
    origins: tuple[Origin, ...]
    references: tuple[tuple[str, str], ...]
    bugs: tuple[Diagnostic, ...]


def written(hosts: tuple[VirtualHost, ...], in_client: bool = False) -> Written:
    found: list[_Host] = []
    bugs: list[Diagnostic] = []
    for host in hosts:
        result = attempt(no_memo, _ref(host), virtual_host, host, in_client)
        if isinstance(result, Diagnostic):
            bugs.append(result)
            result = _unavailable(host)
        found.append(result)
    return Written(
        b"".join(host.entry for host in found),
        b"".join(blake2b(host.entry, digest_size=8).digest() for host in found),
        tuple(dict.fromkeys(origin for host in found for origin in host.origins)),
        tuple((CLUSTER, name) for name in dict.fromkeys(name for host in found for name in host.clusters)),
        tuple(bugs),
    )


def route_configuration(table: RouteTable, parts: Sequence[Written]) -> tuple[Resource, tuple[Diagnostic, ...]]:
    """The resource, and one diagnostic for each virtual host that a bug left out. parts: all its virtual hosts.

    Its version is the hash of the hashes of its virtual hosts, so that one that changes is all that is hashed."""
    # The virtual hosts (field 2) are between what comes before and after them: building the message anew for one that
    # changed would copy all the others.
    head = route_pb2.RouteConfiguration(name=table.name).SerializeToString()
    tail = route_pb2.RouteConfiguration(
        # A route may be there before its cluster: the order of delivery sees to it, and Envoy answers 503.
        validate_clusters={"value": False},
        ignore_port_in_host_matching=not table.ports_in_domains,
        max_direct_response_body_size_bytes={"value": _MAX_BODY},
    ).SerializeToString()
    digests = b"".join((head, *(part.digests for part in parts), tail))
    origins = Pieces((tuple(table.origins), *(part.origins for part in parts)))
    references = Pieces(tuple(part.references for part in parts))
    bugs = tuple(bug for part in parts for bug in part.bugs)
    body = (head, *(part.entries for part in parts), tail)
    return Resource(ROUTE, table.name, version(digests), body, origins, references), bugs


class _Host(NamedTuple):
    """A virtual host as an entry of a RouteConfiguration, what made it and the clusters that it names."""

    entry: bytes
    origins: tuple[Origin, ...]
    clusters: tuple[str, ...] = ()


def virtual_host(host: VirtualHost, in_client: bool) -> _Host:
    message = route_components_pb2.VirtualHost(
        name=host.name,
        domains=host.domains,
        routes=[_route(route, in_client) for route in host.routes],
        require_tls="ALL" if host.require_tls else "NONE",
        include_request_attempt_count=True,
        response_headers_to_add=[_alt_svc(host.http3_port)] if host.http3_port else [],
    )
    forwards = (route.action for route in host.routes if isinstance(route.action, Forward))
    clusters = dict.fromkeys(name for action in forwards for name in actions.backends(action))
    return _Host(_entry(message), _origins(host), tuple(clusters))


def _alt_svc(port: int) -> dict[str, Any]:
    """Where else the host is served (RFC 7838), for a day as Istio says. A route that says it itself knows better."""
    header = {"key": "alt-svc", "value": f'h3=":{port}"; ma=86400'}
    return {"header": header, "append_action": "ADD_IF_ABSENT"}


def _entry(message: Any) -> bytes:
    entry: bytes = route_pb2.RouteConfiguration(virtual_hosts=[message]).SerializeToString(deterministic=True)
    return entry


def _route(route: Route, in_client: bool) -> dict[str, Any]:
    return {
        "name": route.name,
        "match": matchers.match(route.match),
        **_action(route, in_client),
        **headers.edits(route.request_headers, route.response_headers),
        "typed_per_filter_config": filters.per_route(route),
        "stat_prefix": route.stat_prefix,
    }


def _action(route: Route, in_client: bool) -> dict[str, Any]:
    action, path = route.action, route.match.path
    if isinstance(action, Forward):
        return {"route": actions.forward(action, path, in_client)}
    if isinstance(action, Redirect):
        return {"redirect": actions.redirect(action, path)}
    return {"direct_response": actions.respond(action)}


def _unavailable(host: VirtualHost) -> _Host:
    """Answers 503 to all its domains: left out, its requests would fall to the routes of somebody else's `*`."""
    every = {"match": {"prefix": "/"}, "direct_response": actions.respond(Respond(503))}
    message = route_components_pb2.VirtualHost(name=host.name, domains=host.domains, routes=[every])
    return _Host(_entry(message), _origins(host))


def _origins(host: VirtualHost) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys((*host.origins, *(route.origin for route in host.routes))))


def _ref(host: VirtualHost) -> ObjectRef | None:
    return host.routes[0].origin.ref if host.routes else None
