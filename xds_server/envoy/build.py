"""Writes a proxy's view down as Envoy's resources."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from xds_server.boundary import attempt
from xds_server.diagnostics import Diagnostic, ObjectRef
from xds_server.envoy.clusters import cluster
from xds_server.envoy.endpoints import load_assignment
from xds_server.envoy.listeners import api_listener, grpc_server, listener
from xds_server.envoy.name_tables import answers, name_table
from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, TYPES, Resource, Resources
from xds_server.envoy.routes import route_configuration, written
from xds_server.envoy.secrets import secret
from xds_server.incremental import Fixed, Pieces, derived, fixed, mapped, rekeyed, stable, united
from xds_server.memo import Memo, no_memo
from xds_server.mesh.model import NameTable, RouteTable, View
from xds_server.mesh.origin import Origin


def build(view: View, memo: Memo, group: Hashable = None) -> tuple[Resources, tuple[Diagnostic, ...]]:
    """The resources of one proxy group; the diagnostics are bugs, one for each value left out.

    group: names the group, so that what its last view and this one have in common is not looked at again.
    """
    bugs: list[Diagnostic] = []

    def made(
        kind: str, builder: Callable[[Any], Resource], values: Fixed[str, Any], origins: Callable[[Any], Any] = _origins
    ) -> Fixed[str, Resource]:
        def one(name: str, value: Any) -> Made:
            found = attempt(memo, _ref(origins(value)), builder, value)
            return (None, (found,)) if isinstance(found, Diagnostic) else (found, ())

        return settled(kind, {"": derived(memo, (kind, group), one, values)})

    def settled(kind: str, found: Mapping[str, Fixed[str, Made]]) -> Fixed[str, Resource]:
        bugs.extend(united(memo, (kind, "bugs", group), found, lambda pair: pair[1]))
        return rekeyed(memo, (kind, "resources", group), found, _named)[0]

    def small(name: str, table: RouteTable) -> Made | None:
        if isinstance(table.virtual_hosts, Pieces):
            return None
        parts = (written(tuple(table.virtual_hosts), table.in_client),)
        found = attempt(no_memo, _ref(table.origins), route_configuration, table, parts)
        return (None, (found,)) if isinstance(found, Diagnostic) else found

    def large(table: RouteTable) -> Made:
        """Written in pieces: one that did not change is not looked at."""
        assert isinstance(table.virtual_hosts, Pieces)
        in_client = table.in_client
        key = ("pieces", group, table.name, in_client)
        parts = mapped(memo, key, table.virtual_hosts, lambda hosts: memo(written, hosts, in_client))
        found = attempt(memo, _ref(table.origins), route_configuration, table, parts)
        return (None, (found,)) if isinstance(found, Diagnostic) else found

    def names(table: NameTable) -> Made:
        hosts = table.hosts if isinstance(table.hosts, Pieces) else Pieces((tuple(table.hosts),))
        parts = mapped(memo, ("names", group, table.name), hosts, lambda some: memo(answers, some))
        found = attempt(memo, _ref(table.origins), name_table, table, parts)
        return (None, (found,)) if isinstance(found, Diagnostic) else (found, ())

    in_pieces = derived(memo, ("large", group), _in_pieces, view.route_tables)
    tables = {
        "small": derived(memo, ("small", group), small, view.route_tables),
        "large": stable(memo, ("written", group), fixed((name, large(table)) for name, table in in_pieces.items())),
    }
    name_tables = stable(memo, ("names", group), fixed((n, names(table)) for n, table in view.name_tables.items()))
    listeners = {
        "listeners": made("listeners", listener, view.listeners),
        "api_listeners": made("api_listeners", api_listener, view.api_listeners),
        "grpc_servers": made("grpc_servers", grpc_server, view.grpc_servers),
        "name_tables": settled("name tables", {"": name_tables}),
    }
    by_type = {
        CLUSTER: made("clusters", cluster, view.backends),
        ENDPOINT: made("endpoints", load_assignment, view.endpoints),
        LISTENER: rekeyed(memo, ("all listeners", group), listeners, lambda made: ((made.name, made),))[0],
        ROUTE: settled("routes", tables),
        SECRET: made("secrets", secret, view.secrets, lambda value: (value.origin,)),
    }
    return Resources({type_url: by_type[type_url] for type_url in TYPES.values()}), tuple(bugs)


def _named(made: Made) -> Iterator[tuple[str, Resource]]:
    if made[0] is not None:
        yield made[0].name, made[0]


def _in_pieces(name: str, table: RouteTable) -> RouteTable | None:
    return table if isinstance(table.virtual_hosts, Pieces) else None


Made = tuple[Resource | None, tuple[Diagnostic, ...]]
"""A resource, and the bugs that kept it or parts of it from being made."""


def _origins(value: Any) -> Sequence[Origin]:
    origins: Sequence[Origin] = value.origins
    return origins


def _ref(origins: Sequence[Origin]) -> ObjectRef | None:
    return origins[0].ref if origins else None
