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
from xds_server.incremental import Fixed, Lookups, Pieces, derived, mapped, rekeyed, united
from xds_server.memo import Memo, no_memo
from xds_server.mesh.model import NameTable, RouteTable, View, VirtualHost
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

    # What is in pieces is written in pieces: one that did not change is not looked at.
    pieces = derived(memo, ("pieces of hosts", group), _host_pieces, view.route_tables)
    hosts_of = Lookups(mapped(memo, ("hosts", group), pieces, lambda some: memo(written, some)))
    pieces = derived(memo, ("pieces of names", group), _name_pieces, view.name_tables)
    names_of = Lookups(mapped(memo, ("names", group), pieces, lambda some: memo(answers, some)))

    def routes(name: str, table: RouteTable) -> Made:
        parts, known = hosts_of.views[0].get(name), memo  # another group may have the same pieces
        if parts is None:
            parts, known = (written(tuple(table.virtual_hosts), table.in_client),), no_memo
        found = attempt(known, _ref(table.origins), route_configuration, table, parts)
        return (None, (found,)) if isinstance(found, Diagnostic) else found

    def names(name: str, table: NameTable) -> Made:
        parts = names_of.views[0].get(name) or (answers(tuple(table.hosts)),)
        found = attempt(memo, _ref(table.origins), name_table, table, parts)
        return (None, (found,)) if isinstance(found, Diagnostic) else (found, ())

    tables = derived(memo, ("tables", group), routes, view.route_tables, hosts_of)
    name_tables = derived(memo, ("name tables", group), names, view.name_tables, names_of)
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
        ROUTE: settled("routes", {"": tables}),
        SECRET: made("secrets", secret, view.secrets, lambda value: (value.origin,)),
    }
    return Resources({type_url: by_type[type_url] for type_url in TYPES.values()}), tuple(bugs)


def _named(made: Made) -> Iterator[tuple[str, Resource]]:
    if made[0] is not None:
        yield made[0].name, made[0]


def _host_pieces(_: str, table: RouteTable) -> Pieces[VirtualHost] | None:
    return table.virtual_hosts if isinstance(table.virtual_hosts, Pieces) and not table.in_client else None


def _name_pieces(_: str, table: NameTable) -> Pieces[Any] | None:
    return table.hosts if isinstance(table.hosts, Pieces) else None


Made = tuple[Resource | None, tuple[Diagnostic, ...]]
"""A resource, and the bugs that kept it or parts of it from being made."""


def _origins(value: Any) -> Sequence[Origin]:
    origins: Sequence[Origin] = value.origins
    return origins


def _ref(origins: Sequence[Origin]) -> ObjectRef | None:
    return origins[0].ref if origins else None
