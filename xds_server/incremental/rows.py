"""Rows made from rows, one from each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar, cast

from xds_server.incremental.fixed import EMPTY, Fixed, changed, edited, fixed, followed
from xds_server.memo import Memo

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")

_EVERY = object()
"""Looked up in place of a key by who looks at all the keys that there are."""


class Lookups:
    """Collections in which the function of `derived` may look things up; what it looked up is remembered.

    sources: each is a `Fixed`, also where its type only says what can be done with its views."""

    def __init__(self, *sources: Mapping[Any, Any]) -> None:
        self.sources = cast("tuple[Fixed[Any, Any], ...]", sources)
        self.made: list[tuple[int, object]] = []
        self.views = tuple(_Remembering(source, slot, self.made) for slot, source in enumerate(self.sources))


class _Remembering(Mapping[K, V]):
    """A collection as the function of `derived` sees it."""

    __slots__ = ("_made", "_rows", "_slot")

    def __init__(self, rows: Fixed[K, V], slot: int, made: list[tuple[int, object]]) -> None:
        self._rows, self._slot, self._made = rows, slot, made

    def __getitem__(self, key: K) -> V:
        self._made.append((self._slot, key))
        return self._rows[key]

    def get(self, key: K, default: Any = None) -> Any:
        self._made.append((self._slot, key))
        return self._rows.get(key, default)

    def __contains__(self, key: object) -> bool:
        self._made.append((self._slot, key))
        return key in self._rows

    def __iter__(self) -> Iterator[K]:
        self._made.append((self._slot, _EVERY))
        return iter(self._rows)

    def __len__(self) -> int:
        self._made.append((self._slot, _EVERY))
        return len(self._rows)


_Inputs = tuple[Fixed[Any, Any], tuple[Fixed[Any, Any], ...], object]
"""The rows, what functions look things up in, and the context."""


class _Rows:
    """What `derived` made last, and who looked up what: (slot, key) -> keys of rows. That a row looks up its own key
    goes without saying."""

    __slots__ = ("inputs", "looked_up", "readers", "result")

    def __init__(self, inputs: _Inputs) -> None:
        self.inputs = inputs
        self.result: Fixed[Any, Any] = EMPTY
        self.readers: dict[tuple[int, object], set[Any]] = {}
        self.looked_up: dict[Any, tuple[tuple[int, object], ...]] = {}

    def remember(self, key: Any, made: list[tuple[int, object]]) -> None:
        for place in self.looked_up.pop(key, ()):
            readers = self.readers[place]
            readers.discard(key)
            if not readers:
                del self.readers[place]
        places = tuple({place for place in made if place[1] != key}) if made else ()
        if places:
            self.looked_up[key] = places
            for place in places:
                self.readers.setdefault(place, set()).add(key)

    def stale(self, inputs: _Inputs) -> set[Any]:
        """The keys of the rows that may differ now."""
        before, old_sources, _ = self.inputs
        items, sources, _ = inputs
        found = set(changed(before, items))
        for slot, (old, new) in enumerate(zip(old_sources, sources, strict=True)):
            if old is new:
                continue
            others = changed(old, new)
            found.update(key for key in others if key in items)
            for key in others:
                found |= self.readers.get((slot, key), _NOBODY)
            if any((key in old) is not (key in new) for key in others):
                found |= self.readers.get((slot, _EVERY), _NOBODY)
        return found


_NOBODY: frozenset[Any] = frozenset()
_NOTHING = Lookups()


def derived(
    memo: Memo,
    name: Hashable,
    function: Callable[[K, V], R | None],
    items: Fixed[K, V],
    lookups: Lookups = _NOTHING,
    context: object = None,
) -> Fixed[K, R]:
    """`function` of every row, without those of which it makes None.

    It is asked again for rows that differ from those of the last call with this `name`, or whose lookups would have
    another result; and for all rows when `context`, all else that it depends on, is not equal to the last.
    """
    place = (derived, name, id(function.__code__))
    before: _Rows | None = memo.last(place)
    inputs: _Inputs = (items, lookups.sources, context)
    if before is not None and before.inputs == inputs:
        memo.keep(place, before)
        return before.result
    memo.keep(place, None)  # in case that the function raises
    made = lookups.made
    if before is None or before.inputs[2] != context or len(before.inputs[1]) != len(lookups.sources):
        state = _Rows(inputs)
        rows: dict[K, R] = {}
        for key, value in items.items():
            made.clear()
            result = function(key, value)
            if result is not None:
                rows[key] = result
            if made:
                state.remember(key, made)
        state.result = fixed(rows)
    else:
        state = before
        edits: dict[K, R | None] = {}
        for key in before.stale(inputs):
            made.clear()
            result = function(key, items[key]) if key in items else None
            state.remember(key, made)
            if result is None or result != state.result.get(key):  # an equal value stays the same object
                edits[key] = result
        state.inputs = inputs
        state.result = edited(state.result, edits)
    memo.keep(place, state)
    return state.result


def stable(memo: Memo, name: Hashable, rows: Fixed[K, V]) -> Fixed[K, V]:
    """The last collection of this name, if it has the same rows; for few rows that are put together each time."""
    place = (stable, name)
    before: Fixed[K, V] | None = memo.last(place)
    result = rows if before is None or changed(before, rows) else before
    memo.keep(place, result)
    return result


def layered(memo: Memo, name: Hashable, below: Fixed[K, V], above: Fixed[K, V]) -> Fixed[K, V]:
    """The rows of both, of those with the same key that above. It takes no more room than what is above."""
    place = (layered, name)
    before: tuple[Fixed[K, V], Fixed[K, V], Fixed[K, V]] | None = memo.last(place)
    if before is None or before[0] is not below or before[1] is not above:
        result = edited(below, above)
        if before is not None and result is not below:
            touched = {*changed(before[0], below), *changed(before[1], above)}
            result = followed(result, before[2], touched)
        before = (below, above, result)
    memo.keep(place, before)
    return before[2]
