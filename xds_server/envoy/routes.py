"""Route table -> route configuration (`envoy.config.route.v3.RouteConfiguration`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from envoy.config.route.v3 import route_components_pb2, route_pb2

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.envoy import actions, filters, headers, matchers
from xds_server.envoy.resource import CLUSTER, ROUTE, Resource, sealed
from xds_server.memo import Memo
from xds_server.mesh.model import Forward, Redirect, Respond, Route, RouteTable, VirtualHost
from xds_server.mesh.origin import Origin

_MAX_BODY = 1 << 20


def route_configuration(table: RouteTable, memo: Memo) -> tuple[Resource, tuple[Diagnostic, ...]]:
    """The resource, and one diagnostic for each virtual host that a bug left out."""
    hosts: list[_Host] = []
    bugs: list[Diagnostic] = []
    for host in table.virtual_hosts:
        result = attempt(memo, _ref(host), virtual_host, host, table.in_client)
        if isinstance(result, Diagnostic):
            bugs.append(result)
            result = _unavailable(host)
        hosts.append(result)
    message = route_pb2.RouteConfiguration(
        name=table.name,
        virtual_hosts=[host.message for host in hosts],
        # A route may be there before its cluster: the order of delivery sees to it, and Envoy answers 503.
        validate_clusters={"value": False},
        ignore_port_in_host_matching=not table.ports_in_domains,
        max_direct_response_body_size_bytes={"value": _MAX_BODY},
    )
    origins = (*table.origins, *(origin for host in hosts for origin in host.origins))
    references = ((CLUSTER, name) for host in hosts for name in host.clusters)
    return sealed(ROUTE, table.name, message, origins, references), tuple(bugs)


class _Host(NamedTuple):
    """A VirtualHost message, which is shared, so nobody may change it, what made it and the clusters it names."""

    message: Any
    origins: tuple[Origin, ...]
    clusters: tuple[str, ...] = ()


def virtual_host(host: VirtualHost, in_client: bool) -> _Host:
    message = route_components_pb2.VirtualHost(
        name=host.name,
        domains=host.domains,
        routes=[_route(route, in_client) for route in host.routes],
        require_tls="ALL" if host.require_tls else "NONE",
        include_request_attempt_count=True,
    )
    forwards = (route.action for route in host.routes if isinstance(route.action, Forward))
    clusters = dict.fromkeys(name for action in forwards for name in actions.backends(action))
    return _Host(message, _origins(host), tuple(clusters))


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
    return _Host(message, _origins(host))


def _origins(host: VirtualHost) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(route.origin for route in host.routes))


def _ref(host: VirtualHost) -> ObjectRef | None:
    return host.routes[0].origin.ref if host.routes else None
