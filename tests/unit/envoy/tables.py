"""Route tables of one host, and what they become."""

from __future__ import annotations

from typing import Any

from tests.envoy_config import as_dict
from tests.unit.envoy.full import (
    MORE,
    ORIGIN,
)
from xds_server.diagnostics import Diagnostic
from xds_server.envoy.resource import Resource
from xds_server.envoy.routes import route_configuration, written
from xds_server.mesh.model import (
    Forward,
    Match,
    Redirect,
    Respond,
    Route,
    RouteTable,
    VirtualHost,
)


def route(match: Match, action: Forward | Redirect | Respond, **more: Any) -> Route:
    return Route("r", match, action, ORIGIN, **more)


def table(*routes: Route, **host: Any) -> RouteTable:
    return RouteTable("t", (VirtualHost("v", ("a.example.com",), routes, **host),), MORE)


def configured(value: RouteTable) -> tuple[Resource, tuple[Diagnostic, ...]]:
    return route_configuration(value, (written(tuple(value.virtual_hosts), value.in_client),))


def first_route(value: Route) -> dict[str, Any]:
    resource, bugs = configured(table(value))
    assert bugs == ()
    found: dict[str, Any] = as_dict(resource)["virtualHosts"][0]["routes"][0]
    return found
