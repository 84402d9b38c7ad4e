"""Writes a proxy's view down as Envoy's resources."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef, diagnostic
from xds_server.envoy.clusters import cluster
from xds_server.envoy.endpoints import load_assignment
from xds_server.envoy.listeners import api_listener, grpc_server, listener
from xds_server.envoy.name_tables import name_table
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, TYPES, Resource, Resources
from xds_server.envoy.routes import route_configuration
from xds_server.envoy.secrets import secret
from xds_server.memo import Memo, each
from xds_server.mesh.model import View
from xds_server.mesh.origin import Origin


def build(view: View, memo: Memo, group: Hashable = None) -> tuple[Resources, tuple[Diagnostic, ...]]:
    """The resources of one proxy group; the diagnostics are bugs, one for each value left out.

    group: names the group, so that what its last view and this one have in common is not looked at again.
    """

    def made(kind: str, builder: Callable[[Any], Resource], values: tuple[Any, ...]) -> tuple[Made, ...]:
        return each(memo, (kind, group), lambda value: attempt(memo, _ref(value.origins), builder, value), values)

    routes: list[Made] = []
    for table in view.route_tables:
        found = attempt(memo, _ref(table.origins), route_configuration, table, memo)
        routes += (found,) if isinstance(found, Diagnostic) else (found[0], *found[1])
    results: dict[str, tuple[Made, ...]] = {
        CLUSTER: made("clusters", cluster, view.backends),
        ENDPOINT: made("endpoints", load_assignment, view.endpoints),
        LISTENER: (
            *made("listeners", listener, view.listeners),
            *made("api_listeners", api_listener, view.api_listeners),
            *made("grpc_servers", grpc_server, view.grpc_servers),
            *made("name_tables", name_table, view.name_tables),
        ),
        ROUTE: tuple(routes),
        SECRET: tuple(attempt(memo, value.origin.ref, secret, value) for value in view.secrets),
    }
    named = {type_url: memo(_named, found) for type_url, found in results.items()}
    by_type = {type_url: named[type_url][0] for type_url in TYPES.values()}
    return Resources(by_type), tuple(bug for _, bugs in named.values() for bug in bugs)


Made = Resource | Diagnostic
"""A resource, or the bug that kept it from being made."""


def _named(results: tuple[Made, ...]) -> tuple[Mapping[str, Resource], tuple[Diagnostic, ...]]:
    """The resources by name, sorted. Of several with one name, for which Envoy refuses them all, the first counts."""
    kept: dict[str, Resource] = {}
    bugs: list[Diagnostic] = []
    for result in results:
        if isinstance(result, Diagnostic):
            bugs.append(result)
        elif kept.setdefault(result.name, result).version != result.version:
            bugs.append(_twice(result))
    return {name: kept[name] for name in sorted(kept)}, tuple(bugs)


def _twice(resource: Resource) -> Diagnostic:
    kind = resource.type_url.rpartition(".")[2]
    return diagnostic("XDS1010", _ref(resource.origins), detail=f"two {kind}s are named {resource.name!r}")


def _ref(origins: tuple[Origin, ...]) -> ObjectRef | None:
    return origins[0].ref if origins else None
