"""Rows gathered by something else than their own keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from xds_server.incremental.fixed import EMPTY, Fixed, changed, edited, fixed
from xds_server.memo import Memo

V = TypeVar("V")
R = TypeVar("R")
G = TypeVar("G")
M = TypeVar("M", bound=Hashable)
X = TypeVar("X", bound=Hashable)


class _Parts:
    __slots__ = ("inputs", "members", "result")

    def __init__(self, inputs: tuple[tuple[Fixed[Any, Any], ...], object]) -> None:
        self.inputs = inputs
        self.members: dict[Any, tuple[tuple[Any, Any, Any], ...]] = {}
        self.result: Fixed[Any, Fixed[Any, Any]] = EMPTY


def partitioned(
    memo: Memo,
    name: Hashable,
    spread: Callable[[Any, Any], Iterable[tuple[G, M, R]]],
    *collections: Fixed[Any, Any],
    context: object = None,
) -> Fixed[G, Fixed[M, R]]:
    """Group -> member -> value. `spread` names the groups of a row, and for each what the row is called there and what
    it is; names within a group are the row's own. context: all else that `spread` depends on."""
    place = (partitioned, name, id(spread.__code__))
    before: _Parts | None = memo.last(place)
    inputs = (collections, context)
    if before is not None and before.inputs == inputs:
        memo.keep(place, before)
        return before.result
    memo.keep(place, None)
    if before is None or before.inputs[1] != context or len(before.inputs[0]) != len(collections):
        state = _Parts(inputs)
        made: dict[G, dict[M, R]] = {}
        for number, rows in enumerate(collections):
            for key, value in rows.items():
                members = tuple(spread(key, value))
                if members:
                    state.members[number, key] = members
                    for group, member, result in members:
                        made.setdefault(group, {})[member] = result
        state.result = fixed({group: fixed(rows) for group, rows in made.items()})
    else:
        state = before
        edits: dict[G, dict[M, R | None]] = {}
        for number, (old, new) in enumerate(zip(state.inputs[0], collections, strict=True)):
            for key in changed(old, new):
                members = tuple(spread(key, new[key])) if key in new else ()
                for group, member, _ in state.members.pop((number, key), ()):
                    edits.setdefault(group, {}).setdefault(member, None)
                for group, member, result in members:
                    edits.setdefault(group, {})[member] = result
                if members:
                    state.members[number, key] = members
        groups = {group: edited(state.result.get(group, EMPTY), found) for group, found in edits.items()}
        state.inputs = inputs
        state.result = edited(state.result, {group: found or None for group, found in groups.items()})
    memo.keep(place, state)
    return state.result


def united(
    memo: Memo, name: Hashable, collections: Mapping[str, Fixed[Any, R]], of: Callable[[R], Iterable[X]]
) -> Fixed[X, X]:
    """All that `of` finds in the rows of some collections, each once."""
    place = (united, name, id(of.__code__))
    before: tuple[dict[str, Fixed[Any, Any]], dict[X, int], Fixed[X, X]] | None = memo.last(place)
    if before is not None and before[0] == collections:
        memo.keep(place, before)
        return before[2]
    memo.keep(place, None)
    olds, counts, result = before or ({}, {}, EMPTY)
    touched: dict[X, None] = {}
    for label in dict.fromkeys((*olds, *collections)):
        old, new = olds.get(label, EMPTY), collections.get(label, EMPTY)
        for key in changed(old, new):
            if key in new:
                for found in of(new[key]):
                    counts[found] = counts.get(found, 0) + 1
                    touched[found] = None
            if key in old:
                for found in of(old[key]):
                    counts[found] -= 1
                    touched[found] = None
    edits: dict[X, X | None] = {}
    for found in touched:
        if counts[found]:
            edits[found] = result.get(found, found)
        else:
            del counts[found]
            edits[found] = None
    result = edited(result, edits)
    memo.keep(place, (dict(collections), counts, result))
    return result


class _Named:
    """What `rekeyed` made last. several: the rows of keys that more than one row has."""

    __slots__ = ("collections", "result", "several")

    def __init__(self) -> None:
        self.collections: Mapping[str, Fixed[Any, Any]] = {}
        self.several: dict[Any, dict[Any, Any]] = {}
        self.result: Fixed[Any, Any] = EMPTY


def rekeyed(
    memo: Memo,
    name: Hashable,
    collections: Mapping[str, Fixed[Any, V]],
    spread: Callable[[V], Iterable[tuple[G, R]]],
    rank: Callable[[Any], Any] = lambda origin: origin,
) -> tuple[Fixed[G, R], Mapping[G, Mapping[Any, R]]]:
    """All that `spread` finds in the rows of some collections, by the keys that it gives; and what has a key that
    something else has too, of which the row that comes first counts: to be looked at before the next call, which may
    edit it. rank: of (collection, key of the row). What a row gives last for a key is what counts of it."""
    place = (rekeyed, name, id(spread.__code__))
    before: _Named | None = memo.last(place)
    if before is not None and before.collections == collections:
        memo.keep(place, before)
        return before.result, before.several
    memo.keep(place, None)
    state = before or _Named()
    edits = _rekeyed(state, collections, spread, rank)
    if edits is None:
        state.several = {}
        all_rows: dict[Any, dict[Any, Any]] = {}
        for label, rows in collections.items():
            for key, row in rows.items():
                for found, value in dict(spread(row)).items():
                    all_rows.setdefault(found, {})[label, key] = value
        edits = dict.fromkeys(state.result)
        for found, same in all_rows.items():
            edits[found] = same[min(same, key=rank)]
            if len(same) > 1:
                state.several[found] = same
    state.result = edited(state.result, edits)
    state.collections = dict(collections)
    memo.keep(place, state)
    return state.result, state.several


def _rekeyed(
    state: _Named,
    collections: Mapping[str, Fixed[Any, V]],
    spread: Callable[[V], Iterable[tuple[G, R]]],
    rank: Callable[[Any], Any],
) -> dict[G, R | None] | None:
    """The edits of the result; None when a key gets a second row, so that all have to be looked at."""
    edits: dict[G, R | None] = {}
    added: list[tuple[G, Any, R]] = []
    for label in dict.fromkeys((*state.collections, *collections)):
        old, new = state.collections.get(label, EMPTY), collections.get(label, EMPTY)
        for key in changed(old, new):
            origin = (label, key)
            given = dict(spread(new[key])) if key in new else {}
            for found in dict(spread(old[key])) if key in old else ():
                same = state.several.get(found)
                if found in given:
                    edits[found] = value = given.pop(found)
                    if same is not None:
                        same[origin] = value
                        edits[found] = same[min(same, key=rank)]
                elif same is not None:
                    del same[origin]
                    edits[found] = same[min(same, key=rank)]
                    if len(same) == 1:
                        del state.several[found]
                else:
                    edits[found] = None
            added += [(found, origin, value) for found, value in given.items()]
    for found, origin, value in added:
        if found in state.several:
            same = state.several[found]
            same[origin] = value
            edits[found] = same[min(same, key=rank)]
        elif (edits[found] if found in edits else state.result.get(found)) is None:
            edits[found] = value
        else:
            return None
    return edits
