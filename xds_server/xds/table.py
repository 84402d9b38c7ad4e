"""What a stream is offered and what its client holds, as immutable values that streams share.

Every function here is pure and is called through a memo (`xds.shared`), so its cost is paid once for all streams
whose arguments are the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from xds_server.envoy.resource import LISTENER, ROUTE, Resource
from xds_server.incremental import Fixed, edited, fixed
from xds_server.incremental import changed as differing
from xds_server.memo import Memo
from xds_server.xds.order import PHASES, Offer
from xds_server.xds.subscription import Subscription

ABSENT = ""
"""Held in place of a version: the client knows that there is no such resource."""
UNKNOWN = "?"
"""Held in place of a version: the client may have anything, and must be told."""


class Table(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """All resources of one type, by name. digest: of all of them, if it is known already."""

    rows: Fixed[str, Resource]
    digest: int | None = None


class Tables(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """All types, by type URL."""

    by_type: Mapping[str, Table]


class Wanted(msgspec.Struct, frozen=True, eq=False):
    """What one subscription should see, names sorted. None: it was asked for by name and does not exist."""

    rows: Mapping[str, Resource | None]


class Held(msgspec.Struct, frozen=True, eq=False):
    """What a client has: name -> the resource, or only its version when the client itself told us.
    told: it is all that this subscription sees of this table, so that only what changed since can differ."""

    rows: Mapping[str, Resource | str]
    told: tuple[Table, Subscription] | None = None


class Change(msgspec.Struct, frozen=True, eq=False):
    """What one response says.

    resources: what it carries. changed: those of them that the client does not have yet.
    removed: names that are gone; absent: names that were asked for and do not exist.
    complete: nothing is left to say after it. full: what it does not carry is gone.
    """

    resources: tuple[Resource, ...] = ()
    changed: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    complete: bool = True
    full: bool = False


class Rule(msgspec.Struct, frozen=True):
    """How the changes of a type are told.

    full: every response carries all that is wanted, so that what is missing in it is gone (SotW CDS and LDS).
    removals: the client is told of resources that it has and should not have. If not, it is still told of those
        that it never accepted, because nothing can be using them (with `absences`).
    absences: the client is told of names that it asked for and that do not exist.
    """

    full: bool
    removals: bool
    absences: bool


NOTHING = Change()
EMPTY_TABLE = Table(fixed())
EMPTY_TABLES = Tables({})
EMPTY_HELD = Held({})


def version_of(held: Resource | str) -> str:
    return held if isinstance(held, str) else held.version


def version_info(table: Table) -> str:
    """The hash of everything in the table: equal on every replica and after every restart."""
    found = table.digest if table.digest is not None else digest(table.rows.values())
    return f"{found:016x}"


def digest(resources: Iterable[Resource]) -> int:
    """The sum of a hash of each: whatever their order, and so that what changes can be taken out and added."""
    found = 0
    for resource in resources:
        content = f"{resource.name}\0{resource.version}".encode()
        found += int.from_bytes(blake2b(content, digest_size=8).digest())
    return found & (2**64 - 1)


def wanted(table: Table, subscription: Subscription) -> Wanted:
    """What a subscription sees of a table."""
    names = sorted({*table.rows, *subscription.names} if subscription.wildcard else subscription.names)
    return Wanted({name: table.rows.get(name) for name in names})


def everything(table: Table, subscription: Subscription) -> Held:
    """Held by a client that was told all that it wants."""
    found: Fixed[str, Resource | str] = table.rows  # type: ignore[assignment]  # no value is ever put into it
    asked = {name: found.get(name, ABSENT) for name in subscription.names}
    return Held(edited(found, asked) if subscription.wildcard else fixed(asked), (table, subscription))


def everything_since(held: Held, table: Table, names: Iterable[str], seen: Wanted) -> Held:
    """`everything`, from what it was before these names changed."""
    assert held.told
    assert isinstance(held.rows, Fixed)  # made here
    edits = {name: seen.rows[name] or ABSENT if name in seen.rows else None for name in names}
    return Held(edited(held.rows, edits), (table, held.told[1]))


def wanted_of(table: Table, subscription: Subscription, names: Iterable[str]) -> Wanted:
    """As `wanted`, for some names alone."""
    rows = {name: table.rows.get(name) for name in sorted(names) if subscription.wildcard or name in subscription.names}
    return Wanted({name: r for name, r in rows.items() if r is not None or name in subscription.names})


def difference(
    held: Held, accepted: Held, seen: Wanted, spared: frozenset[str], rule: Rule, limit: int, size: int
) -> Change | None:
    """The next response that brings a client from what it holds to what it wants; None when it has all.

    A response carries at most `limit` resources and `size` bytes of them, but always one. With `rule.full` it
    carries all, whatever the limits. spared: names that are withheld, so that a client that has them keeps them.
    """
    if rule.full:
        return _full(held, seen)
    changed: list[Resource] = []
    total = 0
    complete = True
    for name, resource in seen.rows.items():
        if resource is None or _same(held.rows.get(name), resource):
            continue
        total += resource.size
        if changed and (len(changed) == limit or total > size):
            complete = False
            break
        changed.append(resource)
    removed = _removed(held, accepted, seen, spared, rule)
    absent = _absent(held, seen) if rule.absences else ()
    if not (changed or removed or absent):
        return None
    return Change(tuple(changed), tuple(changed), removed, absent, complete)


def _same(have: Resource | str | None, resource: Resource) -> bool:
    return have is resource or (have is not None and version_of(have) == resource.version)


def _full(held: Held, seen: Wanted) -> Change | None:
    resources = tuple(resource for resource in seen.rows.values() if resource is not None)
    changed = tuple(resource for resource in resources if not _same(held.rows.get(resource.name), resource))
    removed = _gone(held, seen)
    absent = _absent(held, seen)
    return Change(resources, changed, removed, absent, full=True) if changed or removed or absent else None


def _gone(held: Held, seen: Wanted) -> tuple[str, ...]:
    return tuple(sorted(name for name, have in held.rows.items() if seen.rows.get(name) is None and have != ABSENT))


def _removed(held: Held, accepted: Held, seen: Wanted, spared: frozenset[str], rule: Rule) -> tuple[str, ...]:
    gone = [name for name in _gone(held, seen) if name not in spared]
    if rule.removals:
        return tuple(gone)
    if rule.absences:
        return tuple(name for name in gone if isinstance(held.rows[name], Resource) and name not in accepted.rows)
    return ()


def _absent(held: Held, seen: Wanted) -> tuple[str, ...]:
    return tuple(name for name, resource in seen.rows.items() if resource is None and name not in held.rows)


def merged(held: Held, change: Change) -> Held:
    """Held after a response was sent, or accepted."""
    sent = {resource.name: resource for resource in change.resources}
    rows = sent if change.full else {**held.rows, **sent}
    for name in change.removed:
        rows.pop(name, None)
    return Held({**rows, **dict.fromkeys(change.absent, ABSENT)})


def reverted(
    held: Held, accepted: Held, in_flight: tuple[Change, ...], refused: Change, names: tuple[str, ...]
) -> Held:
    """Held after a response was refused: what was accepted, and on top of it what else is in flight. Of its resources
    `names`, those of which nothing is left count as told; what was to be sent again still is."""
    after = accepted
    for change in in_flight:
        after = merged(after, change)
    rows = {name: have for name, have in after.rows.items() if name in held.rows or name in refused.removed}
    rows.update((name, UNKNOWN) for name, have in held.rows.items() if have == UNKNOWN)
    told = [name for name, have in held.rows.items() if have == ABSENT and name not in refused.absent]
    return Held({**dict.fromkeys((*names, *told), ABSENT), **rows})


def without(held: Held, names: Iterable[str]) -> Held:
    """Forgets that names were sent, so that they are sent again."""
    rows = dict(held.rows)
    for name in names:
        rows.pop(name, None)
    return Held(rows)


def doubted(held: Held, names: Iterable[str]) -> Held:
    """Takes names as held in an unknown version, so that the client is told what they are, or that they are gone."""
    return Held({**held.rows, **dict.fromkeys(names, UNKNOWN)})


def restricted(held: Held, names: frozenset[str]) -> Held:
    """Forgets all but `names`."""
    return Held({name: have for name, have in held.rows.items() if name in names})


def resumed(before: Tables | None) -> Tables:
    """What a client that resumes is taken to see: all but what leads to the rest, for which it asks later."""
    rows = before.by_type if before else {}
    return Tables({type_url: table for type_url, table in rows.items() if type_url not in (LISTENER, ROUTE)})


def offered(memo: Memo, views: Tables, target: Tables, phase: int) -> tuple[tuple[str, Table], ...]:
    """What a phase changes on the way to the target: type URLs and what is to be seen of them."""
    changes = []
    for line in PHASES[phase].lines:
        new = target.by_type[line.type_url]
        old = views.by_type.get(line.type_url)
        if old is not None and old is not new and line.offer is Offer.BOTH:
            new = memo(union, old, new)
        if old is not new:
            changes.append((line.type_url, new))
    return tuple(changes)


def changed(views: Tables, changes: tuple[tuple[str, Table], ...], target: Tables) -> Tables:
    """The views after the changes: the target itself once all of it is seen, where streams that are alike meet."""
    by_type = {**views.by_type, **dict(changes)}
    return target if by_type == target.by_type else Tables(by_type)


def leaving(old: Table, new: Table) -> frozenset[str]:
    """The names that are in the old one alone."""
    return frozenset(name for name in differing(old.rows, new.rows) if name not in new.rows)


def union(old: Table, new: Table) -> Table:
    """Both; where a name is in both, the new resource."""
    gone = {name: old.rows[name] for name in leaving(old, new)}
    return Table(edited(new.rows, gone)) if gone else new
