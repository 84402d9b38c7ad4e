"""Mappings that are never changed once made, and what differs between two."""

from __future__ import annotations

import weakref
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import compress
from operator import is_not
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SMALL = 64
"""A mapping of so many rows is copied when it is edited. Of a larger one the copy has the edits alone, as long as there
are not many; so it costs the same for any number of rows."""

_Former = tuple[weakref.ref[Any], Collection[Any]] | None


class Fixed(Mapping[K, V]):
    """A mapping that is never changed once made. Compared by identity, so that it can be an argument of a memoised
    function. The order of its rows says nothing, and no value is None. Made by `fixed` and `edited`."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


class _Whole(dict[K, V], Fixed[K, V]):
    """One that has all of its rows.

    former: what it was made of, and the keys that were edited."""

    __slots__ = ("__weakref__", "former")
    former: _Former
    __hash__ = object.__hash__  # type: ignore[assignment, misc]  # typeshed declares every dict unhashable
    __eq__ = object.__eq__
    __ne__ = object.__ne__


class _Edited(Fixed[K, V]):
    """One that has what differs from another: `edits`, of which None removes. former: as above."""

    __slots__ = ("__weakref__", "base", "edits", "former", "size")
    former: _Former

    def __init__(self, base: _Whole[K, V], edits: dict[K, V | None], size: int) -> None:
        self.base, self.edits, self.size = base, edits, size

    def __getitem__(self, key: K) -> V:
        if key not in self.edits:
            return self.base[key]
        found = self.edits[key]
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: K, default: Any = None, /) -> Any:
        if key not in self.edits:
            return self.base.get(key, default)
        found = self.edits[key]
        return default if found is None else found

    def __contains__(self, key: object) -> bool:
        return self.edits[key] is not None if key in self.edits else key in self.base

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[K]:
        return iter(self.whole())

    def items(self) -> ItemsView[K, V]:
        return self.whole().items()

    def values(self) -> ValuesView[V]:
        return self.whole().values()

    def whole(self) -> dict[K, V]:
        rows = dict(self.base)
        for key, value in self.edits.items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return rows


def fixed(rows: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> Fixed[K, V]:
    """The rows as they are now."""
    new: _Whole[K, V] = _Whole(rows)
    new.former = None
    return new


def edited(old: Fixed[K, V], edits: Mapping[K, V | None]) -> Fixed[K, V]:
    """The next one, with the edits, of which None removes; `old` itself when nothing differs."""
    real = {key: value for key, value in edits.items() if old.get(key) is not value}
    if not real:
        return old
    if not old:
        return fixed(real)  # type: ignore[arg-type]  # nothing is removed from nothing
    base, before = _apart(old)
    size = len(old) + sum((value is not None) - (key in old) for key, value in real.items())
    few = _Edited(base, {**before, **real}, size)
    is_enough = len(base) > _SMALL and len(few.edits) ** 2 <= 4 * len(base)
    new: _Edited[K, V] | _Whole[K, V] = few if is_enough else _Whole(few.whole())
    new.former = (weakref.ref(old), real.keys())
    return new


def followed(new: Fixed[K, V], old: Fixed[K, V], touched: Iterable[K]) -> Fixed[K, V]:
    """`new`, which nobody else knows yet and which was not made of `old` but differs from it in no other keys than
    these; `old` itself if it does not differ."""
    real = [key for key in touched if old.get(key) is not new.get(key)]
    if not real:
        return old
    assert isinstance(new, (_Edited, _Whole))
    new.former = (weakref.ref(old), real)
    return new


def _apart(rows: Fixed[K, V]) -> tuple[_Whole[K, V], dict[K, V | None]]:
    """A mapping as one that has all of its rows, and the edits of that."""
    if isinstance(rows, _Edited):
        return rows.base, rows.edits
    assert isinstance(rows, _Whole)
    return rows, {}


def changed(old: Fixed[K, Any], new: Fixed[K, Any]) -> Collection[K]:
    """The keys of what came, went or is another object."""
    if new is old:
        return ()
    if not old:
        return list(new)
    assert isinstance(new, (_Edited, _Whole))
    if new.former is not None and new.former[0]() is old:
        return new.former[1]
    (one, before), (other, after) = _apart(old), _apart(new)
    if one is other:
        return {key for key in {**before, **after} if old.get(key) is not new.get(key)}
    olds, news = dict(old.items()), dict(new.items())
    if list(olds) == list(news):  # both in one order, so that no row is looked up
        return set(compress(news, map(is_not, news.values(), olds.values())))
    return {key for key, value in news.items() if olds.get(key) is not value} | (olds.keys() - news.keys())


EMPTY: Fixed[Any, Any] = fixed()
