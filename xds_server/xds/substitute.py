"""What is offered while some resources are withheld because Envoy refused, or may have refused, them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from xds_server.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Resource, sealed
from xds_server.incremental import changed, fixed
from xds_server.xds.table import Held, Table, Tables

Accepted = tuple[tuple[str, Held], ...]
"""(type URL, what was accepted of it), the nearest source first; a type may occur more than once."""


class Published(msgspec.Struct, frozen=True, eq=False):
    """What a proxy group gets.

    refused: resources that a proxy of the group refused and none accepted; each is withheld.
    accepted: what the group accepted last, offered in place of what is refused.
    before: what was offered until recently; a client that resumes may still use it.
    """

    tables: Tables
    refused: frozenset[Resource] = frozenset()
    accepted: Accepted = ()
    before: Tables | None = None


def substitute(tables: Tables, withheld: frozenset[Resource], accepted: Accepted) -> Tables:
    """`tables` with each withheld resource in its last accepted form, or left out if it has none.

    What a last accepted form refers to is kept with it: a route table that stays old needs its old clusters. A
    cluster whose assignment is left out gets an empty one. A cluster whose secret is left out is withheld too.
    """
    rows = {type_url: dict(table.rows) for type_url, table in tables.by_type.items()}
    todo: list[Resource] = []
    withheld |= stuck(tables, withheld, accepted)
    for resource in sorted(withheld, key=lambda r: (r.type_url, r.name)):
        if rows[resource.type_url].get(resource.name) is not resource:
            continue
        del rows[resource.type_url][resource.name]
        todo += _restore(rows, resource.type_url, resource.name, withheld, accepted)
    while todo:
        for type_url, name in todo.pop().references:
            if name not in rows[type_url]:
                todo += _restore(rows, type_url, name, withheld, accepted)
    refused = {(r.type_url, r.name, r.version) for r in withheld}
    for empty in empty_assignments(rows[CLUSTER], rows[ENDPOINT]):
        if (ENDPOINT, empty.name, empty.version) not in refused:
            rows[ENDPOINT][empty.name] = empty
    return Tables({type_url: _table(table, rows[type_url]) for type_url, table in tables.by_type.items()})


def stuck(tables: Tables, withheld: frozenset[Resource], accepted: Accepted) -> frozenset[Resource]:
    """Clusters that would wait for a withheld secret for ever: as long as one does, Envoy answers no change of any."""
    had = {
        name for type_url, held in accepted if type_url == SECRET for name, r in held.rows.items() if r not in withheld
    }
    missing = {(SECRET, r.name) for r in withheld if r.type_url == SECRET and r.name not in had}
    if not missing:
        return frozenset()
    return frozenset(c for c in tables.by_type[CLUSTER].rows.values() if not missing.isdisjoint(c.references))


def spared(
    type_url: str,
    held: Held,
    view: Table,
    published: Tables,
    target: Tables,
    withheld: frozenset[Resource],
    accepted: Accepted,
) -> frozenset[str]:
    """Names that a client keeps if it has them: they exist, but in no form that could be offered; and clusters to which
    a route may lead that it keeps, in a form of which this server knows only the version or not even that."""
    offered = (published.by_type[type_url].rows, view.rows)
    names = {r.name for r in withheld if r.type_url == type_url and any(rows.get(r.name) is r for rows in offered)}
    if type_url == CLUSTER:
        routing = (LISTENER, ROUTE)
        leading = [resource for kind in routing for resource in target.by_type[kind].rows.values()]
        names |= {name for resource in leading for kind, name in resource.references if kind == CLUSTER}
        kept = {(kind, name) for kind, had in accepted for name, have in had.rows.items() if isinstance(have, str)}
        staying = (r for r in withheld if r.type_url in routing and r.name in published.by_type[r.type_url].rows)
        if any((r.type_url, r.name) in kept for r in staying):
            names |= held.rows.keys()
    return frozenset(names)


def empty_assignments(clusters: Mapping[str, Resource], assignments: Mapping[str, Resource]) -> Iterator[Resource]:
    """An assignment without endpoints for each cluster that has none: without any, Envoy holds the cluster back for
    15 s, and with it the acknowledgement of all clusters."""
    for cluster in clusters.values():
        for type_url, name in cluster.references:
            if type_url == ENDPOINT and name not in assignments:
                yield empty_assignment(name)


def empty_assignment(name: str) -> Resource:
    return sealed(ENDPOINT, name, ClusterLoadAssignment(cluster_name=name))


def stripped(table: Table, type_url: str, withheld: frozenset[Resource], accepted: Accepted) -> Table:
    """`table` with each withheld resource in its last accepted form, or left out if it has none."""
    if not any(table.rows.get(resource.name) is resource for resource in withheld):
        return table
    rows = {type_url: {name: resource for name, resource in table.rows.items() if resource not in withheld}}
    for name in table.rows.keys() - rows[type_url].keys():
        _restore(rows, type_url, name, withheld, accepted)
    return _table(table, rows[type_url])


def _restore(
    rows: dict[str, dict[str, Resource]], type_url: str, name: str, withheld: frozenset[Resource], accepted: Accepted
) -> list[Resource]:
    for accepted_type, held in accepted:
        have = held.rows.get(name) if accepted_type == type_url else None
        if isinstance(have, Resource) and have not in withheld:
            rows[type_url][name] = have
            return [have]
    return []


def _table(before: Table, rows: dict[str, Resource]) -> Table:
    now = fixed(rows)
    return Table(now) if changed(before.rows, now) else before
