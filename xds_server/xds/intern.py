"""One object for all that is equal. What is computed of it, and every response, is then shared by groups too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from weakref import WeakValueDictionary

from xds_server.envoy.resource import CLUSTER, ENDPOINT, TYPES, Resource, Resources
from xds_server.incremental import Fixed, changed, edited
from xds_server.xds.substitute import empty_assignment
from xds_server.xds.table import EMPTY_TABLE, Table, Tables, digest


class Intern:
    """Knows what exists for as long as somebody holds it."""

    def __init__(self) -> None:
        self._resources: WeakValueDictionary[tuple[str, str, str], Resource] = WeakValueDictionary()
        self._tables: WeakValueDictionary[tuple[str, int, int], Table] = WeakValueDictionary()
        self._sets: WeakValueDictionary[tuple[Table, ...], Tables] = WeakValueDictionary()

    def resource(self, resource: Resource) -> Resource:
        return self._resources.setdefault((resource.type_url, resource.name, resource.version), resource)

    def table(self, type_url: str, rows: Fixed[str, Resource], source: Fixed[str, Resource], digest: int) -> Table:
        made = Table(rows, source, digest)
        found = self._tables.setdefault((type_url, len(rows), digest), made)
        return found if found is made or not changed(found.rows, rows) else made

    def tables(self, by_type: Mapping[str, Table]) -> Tables:
        return self._sets.setdefault(tuple(by_type[type_url] for type_url in TYPES.values()), Tables(by_type))


def settled(resources: Resources, before: Tables, intern: Intern) -> Tables:
    """What is offered of a translation: an empty assignment more for each cluster that has none, and the old object for
    all that did not change since `before`. Groups that are offered the same get the same object. What did not change
    since the translation of which `before` was made is not looked at."""
    tables = {type_url: before.by_type.get(type_url, EMPTY_TABLE) for type_url in resources.by_type}
    changes = {type_url: changed(tables[type_url].source, rows) for type_url, rows in resources.by_type.items()}
    found: dict[str, Table] = {}
    for type_url, rows in resources.by_type.items():
        old = tables[type_url]
        edits: dict[str, Resource | None] = {name: rows.get(name) for name in changes[type_url]}
        if type_url == ENDPOINT:
            edits |= _empty_assignments(changes[CLUSTER], tables[CLUSTER].source, resources, edits)
        known = {name: _known(resource, old.rows.get(name), intern) for name, resource in edits.items()}
        new = edited(old.rows, known)
        is_same = new is old.rows and old is not EMPTY_TABLE
        found[type_url] = old if is_same else intern.table(type_url, new, rows, _digest(old, known))
    return intern.tables(found)


def _digest(old: Table, edits: Mapping[str, Resource | None]) -> int:
    """That of the table with the edits."""
    before = digest(old.rows.values()) if old.digest is None else old.digest
    gone = digest(old.rows[name] for name in edits if name in old.rows)
    come = digest(resource for resource in edits.values() if resource is not None)
    return (before - gone + come) & (2**64 - 1)


def _empty_assignments(
    clusters: Iterable[str], old: Mapping[str, Resource], now: Resources, edits: Mapping[str, Resource | None]
) -> Iterator[tuple[str, Resource | None]]:
    """Those of clusters that changed, or lost their assignments; None for one that is needed no more."""
    needed = {
        name: needs
        for needs, rows in ((False, old), (True, now.by_type[CLUSTER]))
        for cluster in clusters
        if cluster in rows
        for name in _assignments(rows[cluster])
    }
    for name, resource in edits.items():
        # A cluster and its assignment have the same name, as everything that `envoy` makes of one backend.
        cluster = now.by_type[CLUSTER].get(name) if resource is None else None
        if cluster is not None and name in _assignments(cluster):
            needed[name] = True
    for name, needs in needed.items():
        if name not in now.by_type[ENDPOINT]:
            yield name, empty_assignment(name) if needs else None


def _assignments(cluster: Resource) -> Iterator[str]:
    return (name for type_url, name in cluster.references if type_url == ENDPOINT)


def _known(resource: Resource | None, have: Resource | None, intern: Intern) -> Resource | None:
    if resource is None or have is None or have.version != resource.version:
        return intern.resource(resource) if resource is not None else None
    return have
