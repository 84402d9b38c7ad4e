"""What to tell a client next: one pure step from what it holds towards what it wants."""

from __future__ import annotations

import msgspec

from xds_server.incremental import changed
from xds_server.memo import Memo, learned
from xds_server.xds.subscription import Subscription
from xds_server.xds.table import (
    Change,
    Held,
    Rule,
    Table,
    Wanted,
    difference,
    everything,
    everything_since,
    merged,
    version_info,
    wanted,
    wanted_of,
)

CHUNK = 100  # resources in a response at most, where it can be split
CHUNK_BYTES = 3 * 2**20  # below the 4 MiB that gRPC clients accept by default


class Plan(msgspec.Struct, frozen=True, eq=False):
    """change: what the response says; None if there is nothing to say. held: what the client holds after it.
    version: of all that is offered. owes_removals: even then it has what it should not have."""

    change: Change | None
    held: Held
    version: str
    owes_removals: bool


def plan(
    memo: Memo, view: Table, subscription: Subscription, held: Held, accepted: Held, spared: frozenset[str], rule: Rule
) -> Plan:
    """See `table.difference`, which it asks for the change.

    Clients that were told everything hold the same object, so that what is planned for one serves all that are alike.
    """
    version = memo(version_info, view)
    if held.told and held.told[1] == subscription and not rule.full:
        return _since(memo, view, held, accepted, spared, rule, version)
    seen = memo(wanted, view, subscription)
    change = difference(held, accepted, seen, spared, rule, CHUNK, CHUNK_BYTES)
    after = merged(held, change) if change else held
    told = after.rows.keys() <= seen.rows.keys()
    if change and change.complete and told:
        after = memo(everything, view, subscription)
    return Plan(change, after, version, not told)


def _since(
    memo: Memo, view: Table, held: Held, accepted: Held, spared: frozenset[str], rule: Rule, version: str
) -> Plan:
    """The plan for a client that had all there was: only what changed since is looked at."""
    assert held.told
    before, subscription = held.told
    names = changed(before.rows, view.rows)
    seen = wanted_of(view, subscription, names)
    had = Held({name: held.rows[name] for name in names if name in held.rows})
    change = difference(had, accepted, seen, spared, rule, CHUNK, CHUNK_BYTES)
    left = merged(had, change) if change else had
    told = left.rows.keys() <= seen.rows.keys()
    if change is None:
        after = held
    elif change.complete and told:
        # Where clients with another past meet: the same object as theirs.
        after = learned(memo, everything_since(held, view, names, seen), everything, view, subscription)
    else:
        after = merged(held, change)
    return Plan(change, after, version, not told)


def has_all(memo: Memo, view: Table, subscription: Subscription) -> Held:
    """Held by a client that has all that it wants."""
    return memo(everything, view, subscription)


def restated(memo: Memo, view: Table, subscription: Subscription) -> Change:
    """A response that says all that there is, to a client that is believed to have it."""
    seen: Wanted = memo(wanted, view, subscription)
    return Change(tuple(resource for resource in seen.rows.values() if resource is not None), full=True)
