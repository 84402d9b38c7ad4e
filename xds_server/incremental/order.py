"""Rows in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar, overload

from xds_server.incremental.fixed import EMPTY, Fixed, changed, edited
from xds_server.memo import Memo

V = TypeVar("V")
R = TypeVar("R")
G = TypeVar("G")

_PIECE = 32
"""Rows of a piece when it is made; it is cut in two when it has grown to twice as many."""


class Pieces(Sequence[V]):
    """Values in order, in pieces. A piece in which nothing differs is the same tuple as in the sequence before."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: tuple[tuple[V, ...], ...] = ()) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(self.pieces)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    @overload
    def __getitem__(self, index: int) -> V: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[V]: ...
    def __getitem__(self, index: int | slice) -> V | Sequence[V]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return next(islice(self, places, None))
        return tuple(islice(self, places.start, places.stop)) if places.step == 1 else tuple(self)[index]

    def __bool__(self) -> bool:
        return any(self.pieces)

    def followed_by(self, more: Iterable[V]) -> Pieces[V]:
        return Pieces((*self.pieces, tuple(more)))


class _Cut:
    __slots__ = ("keys", "of", "result", "rows", "values")

    def __init__(self, rows: Fixed[Any, Any], of: Callable[[Any], Iterable[Any]]) -> None:
        self.rows, self.of = rows, of
        self.result: Pieces[Any] = Pieces()
        ordered = sorted(rows)
        self.keys = [ordered[at : at + _PIECE] for at in range(0, len(ordered), _PIECE)]
        self.values = [self._found(keys) for keys in self.keys]

    def _found(self, keys: list[Any]) -> tuple[Any, ...]:
        return tuple(value for key in keys for value in self.of(self.rows[key]))

    def edit(self, rows: Fixed[Any, Any]) -> None:
        touched: set[int] = set()
        for key in changed(self.rows, rows):
            at = max(0, bisect_right(self.keys, key, key=lambda keys: keys[0]) - 1)
            if not self.keys:
                self.keys, self.values = [[]], [()]
            keys = self.keys[at]
            place = bisect_left(keys, key)
            is_there = place < len(keys) and keys[place] == key
            if key in rows and not is_there:
                keys.insert(place, key)
            elif key not in rows and is_there and len(keys) > 1:
                del keys[place]
            elif key not in rows and is_there:
                del self.keys[at], self.values[at]
                touched = {other - (other > at) for other in touched if other != at}
                continue
            touched.add(at)
            if len(keys) >= 2 * _PIECE:
                self.keys[at : at + 1] = [keys[:_PIECE], keys[_PIECE:]]
                self.values[at : at + 1] = [(), ()]
                touched = {other + (other > at) for other in touched} | {at, at + 1}
        self.rows = rows
        for at in touched:
            self.values[at] = self._found(self.keys[at])


def pieces(memo: Memo, name: Hashable, rows: Fixed[Any, V], of: Callable[[V], Iterable[R]]) -> Pieces[R]:
    """All that `of` finds in the rows, in the order of their keys."""
    place = (pieces, name, id(of.__code__))
    state: _Cut | None = memo.last(place)
    memo.keep(place, None)
    if state is None:
        state = _Cut(rows, of)
        state.result = Pieces(tuple(state.values))
    elif state.rows is not rows:
        state.edit(rows)
        state.result = Pieces(tuple(state.values))
    memo.keep(place, state)
    return state.result


def pieces_of_each(
    memo: Memo, name: Hashable, groups: Fixed[G, Fixed[Any, V]], of: Callable[[V], Iterable[R]]
) -> Fixed[G, Pieces[R]]:
    """As `pieces`, for each of many."""
    place = (pieces_of_each, name, id(of.__code__))
    before: tuple[Fixed[G, Fixed[Any, V]], dict[G, _Cut], Fixed[G, Pieces[R]]] | None = memo.last(place)
    memo.keep(place, None)
    old, cuts, result = before or (EMPTY, {}, EMPTY)
    edits: dict[G, Pieces[R] | None] = {}
    for group in changed(old, groups):
        if group not in groups:
            del cuts[group]
            edits[group] = None
            continue
        cut = cuts.get(group)
        if cut is None:
            cut = cuts[group] = _Cut(groups[group], of)
        else:
            cut.edit(groups[group])
        edits[group] = Pieces(tuple(cut.values))
    result = edited(result, edits)
    memo.keep(place, (groups, cuts, result))
    return result


_Piecewise = dict[int, tuple[tuple[Any, ...], Any]]
"""By the id of a piece, which one that is kept keeps: the piece, and what was made of it."""


def mapped(
    memo: Memo, name: Hashable, groups: Fixed[G, Pieces[V]], function: Callable[[tuple[V, ...]], R]
) -> Fixed[G, tuple[R, ...]]:
    """`function` of each piece of each group."""
    place = (mapped, name, id(function.__code__))
    before: tuple[Fixed[G, Pieces[V]], dict[G, _Piecewise], Fixed[G, tuple[R, ...]]] | None = memo.last(place)
    memo.keep(place, None)
    old, made, result = before or (EMPTY, {}, EMPTY)
    edits: dict[G, tuple[R, ...] | None] = {}
    for group in changed(old, groups):
        known = made.pop(group, {})
        edits[group] = None
        if group in groups:
            every = groups[group].pieces
            now = {id(piece): known.get(id(piece)) or (piece, function(piece)) for piece in every}
            made[group] = now
            edits[group] = tuple(now[id(piece)][1] for piece in every)
    result = edited(result, edits)
    memo.keep(place, (groups, made, result))
    return result
