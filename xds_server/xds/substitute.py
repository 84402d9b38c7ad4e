"""What is offered while some resources are withheld because Envoy refused, or may have refused, them."""

from __future__ import annotations

from xds_server.envoy.resource import Resource
from xds_server.xds.table import Held, Table, Tables

Accepted = tuple[tuple[str, Held], ...]
"""(type URL, what was accepted of it), the nearest source first; a type may occur more than once."""


def substitute(tables: Tables, withheld: frozenset[Resource], accepted: Accepted) -> Tables:
    """`tables` with each withheld resource in its last accepted form, or left out if it has none.

    What a last accepted form refers to is kept with it: a route table that stays old needs its old clusters.
    """
    rows = {type_url: dict(table.rows) for type_url, table in tables.by_type.items()}
    todo: list[Resource] = []
    for resource in sorted(withheld, key=lambda r: (r.type_url, r.name)):
        if rows[resource.type_url].get(resource.name) is not resource:
            continue
        del rows[resource.type_url][resource.name]
        todo += _restore(rows, resource.type_url, resource.name, withheld, accepted)
    while todo:
        for type_url, name in todo.pop().references:
            if name not in rows[type_url]:
                todo += _restore(rows, type_url, name, withheld, accepted)
    return Tables({type_url: _table(table, rows[type_url]) for type_url, table in tables.by_type.items()})


def stripped(table: Table, withheld: frozenset[Resource]) -> Table:
    """`table` without the withheld resources."""
    if not any(table.rows.get(resource.name) is resource for resource in withheld):
        return table
    return Table({name: resource for name, resource in table.rows.items() if resource not in withheld})


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
    if rows == before.rows:
        return before
    return Table({name: rows[name] for name in sorted(rows)})
