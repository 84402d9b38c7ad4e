"""One object for all that is equal. What is computed of it, and every response, is then shared by groups too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from weakref import WeakValueDictionary

from xds_server.envoy.resource import CLUSTER, ENDPOINT, TYPES, Resource, Resources
from xds_server.xds.substitute import empty_assignments
from xds_server.xds.table import EMPTY_TABLE, Table, Tables


class Intern:
    """Knows what exists for as long as somebody holds it."""

    def __init__(self) -> None:
        self._resources: WeakValueDictionary[tuple[str, str, str], Resource] = WeakValueDictionary()
        self._tables: WeakValueDictionary[tuple[Resource, ...], Table] = WeakValueDictionary()
        self._sets: WeakValueDictionary[tuple[Table, ...], Tables] = WeakValueDictionary()

    def resource(self, resource: Resource) -> Resource:
        return self._resources.setdefault((resource.type_url, resource.name, resource.version), resource)

    def table(self, rows: Mapping[str, Resource]) -> Table:
        return self._tables.setdefault(tuple(rows.values()), Table(rows))

    def tables(self, by_type: Mapping[str, Table]) -> Tables:
        return self._sets.setdefault(tuple(by_type[type_url] for type_url in TYPES.values()), Tables(by_type))


def settled(resources: Resources, before: Tables, intern: Intern) -> Tables:
    """What is offered of a translation: an empty assignment more for each cluster that has none, and the old object for
    all that did not change since `before`. Groups that are offered the same get the same object."""
    return intern.tables(
        {
            type_url: _table(rows, before.by_type.get(type_url, EMPTY_TABLE), intern)
            for type_url, rows in _complete(resources).by_type.items()
        }
    )


def _table(new: Mapping[str, Resource], old: Table, intern: Intern) -> Table:
    if new is old.rows:
        return old
    rows = dict(_interned(new, old.rows, intern))
    same = len(rows) == len(old.rows) and all(old.rows.get(name) is r for name, r in rows.items())
    return old if same and old is not EMPTY_TABLE else intern.table(rows)


def _interned(
    new: Mapping[str, Resource], old: Mapping[str, Resource], intern: Intern
) -> Iterator[tuple[str, Resource]]:
    for name, resource in new.items():
        have = old.get(name)
        if have is not resource and (have is None or have.version != resource.version):
            have = intern.resource(resource)
        yield name, have if have is not None else resource


def _complete(resources: Resources) -> Resources:
    clusters, endpoints = resources.by_type[CLUSTER], resources.by_type[ENDPOINT]
    missing = {empty.name: empty for empty in empty_assignments(clusters, endpoints)}
    if not missing:
        return resources
    rows = {**endpoints, **missing}
    return Resources({**resources.by_type, ENDPOINT: {name: rows[name] for name in sorted(rows)}})
