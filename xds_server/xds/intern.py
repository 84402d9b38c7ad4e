"""One object for all that is equal. What is computed of it, and every response, is then shared by groups too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from weakref import WeakValueDictionary

from xds_server.envoy.resource import CLUSTER, ENDPOINT, TYPES, Resource, Resources
from xds_server.incremental import Fixed, changed, edited
from xds_server.memo import Memo
from xds_server.xds.substitute import empty_assignment
from xds_server.xds.table import EMPTY_TABLE, Table, Tables, digest


class Intern:
    """Knows what exists for as long as somebody holds it."""

    def __init__(self) -> None:
        self._resources: WeakValueDictionary[tuple[str, str, str], Resource] = WeakValueDictionary()
        self._tables: WeakValueDictionary[tuple[str, int, int | None], Table] = WeakValueDictionary()
        self._sets: WeakValueDictionary[tuple[Table, ...], Tables] = WeakValueDictionary()

    def resource(self, resource: Resource) -> Resource:
        return self._resources.setdefault((resource.type_url, resource.name, resource.version), resource)

    def table(self, type_url: str, table: Table) -> Table:
        found = self._tables.setdefault((type_url, len(table.rows), table.digest), table)
        return table if changed(found.rows, table.rows) else found

    def tables(self, by_type: Mapping[str, Table]) -> Tables:
        return self._sets.setdefault(tuple(by_type[type_url] for type_url in TYPES.values()), Tables(by_type))


def settled(resources: Resources, last: Resources, before: Tables, memo: Memo, intern: Intern) -> Tables:
    """What is offered of a translation: an empty assignment more for each cluster that has none, and the old object for
    all that did not change since `before`. Groups that are offered the same get the same object.

    last: the translation that `before` was made of. What is the same in both is not looked at."""
    found: dict[str, Table] = {}
    for type_url, rows in resources.by_type.items():
        empty = tuple(_empty_assignments(last, resources, intern)) if type_url == ENDPOINT else ()
        old = before.by_type.get(type_url, EMPTY_TABLE)
        found[type_url] = memo(_settled, type_url, last.by_type[type_url], rows, old, empty, intern)
    return intern.tables(found)


def _settled(
    type_url: str,
    last: Fixed[str, Resource],
    rows: Fixed[str, Resource],
    old: Table,
    empty: tuple[tuple[str, Resource | None], ...],
    intern: Intern,
) -> Table:
    edits = {**{name: rows.get(name) for name in changed(last, rows)}, **dict(empty)}
    known = {name: _known(resource, old.rows.get(name), intern) for name, resource in edits.items()}
    new = edited(old.rows, known)
    if old is EMPTY_TABLE:
        new = edited(rows, known)  # as good as all of them are the same, and take no more room then
    elif new is old.rows:
        return old
    return intern.table(type_url, Table(new, _digest(old, known)))


def _digest(old: Table, edits: Mapping[str, Resource | None]) -> int:
    """That of the table with the edits."""
    before = digest(old.rows.values()) if old.digest is None else old.digest
    gone = digest(old.rows[name] for name in edits if name in old.rows)
    come = digest(resource for resource in edits.values() if resource is not None)
    return (before - gone + come) & (2**64 - 1)


def _empty_assignments(last: Resources, now: Resources, intern: Intern) -> Iterator[tuple[str, Resource | None]]:
    """Those of clusters that changed, or lost their assignments; None for one that is needed no more."""
    before, clusters, assignments = last.by_type[CLUSTER], now.by_type[CLUSTER], now.by_type[ENDPOINT]
    touched = changed(before, clusters)
    needed = {
        name: needs
        for needs, rows in ((False, before), (True, clusters))
        for cluster in touched
        if cluster in rows
        for name in _assignments(rows[cluster])
    }
    for name in changed(last.by_type[ENDPOINT], assignments):
        # A cluster and its assignment have the same name, as everything that `envoy` makes of one backend.
        cluster = clusters.get(name) if name not in assignments else None
        if cluster is not None and name in _assignments(cluster):
            needed[name] = True
    for name, needs in sorted(needed.items()):
        if name not in assignments:
            yield name, intern.resource(empty_assignment(name)) if needs else None


def _assignments(cluster: Resource) -> Iterator[str]:
    return (name for type_url, name in cluster.references if type_url == ENDPOINT)


def _known(resource: Resource | None, have: Resource | None, intern: Intern) -> Resource | None:
    if resource is None or have is None or have.version != resource.version:
        return intern.resource(resource) if resource is not None else None
    return have
