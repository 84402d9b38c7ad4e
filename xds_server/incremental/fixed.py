"""Mappings that are never changed once made, and what differs between two."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping
from itertools import compress
from operator import is_not
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Fixed(dict[K, V]):
    """A mapping that is never changed once made. Compared by identity, so that it can be an argument of a memoised
    function. The order of its rows says nothing."""

    __slots__ = ("__weakref__", "_edited", "_former")
    __hash__ = object.__hash__  # type: ignore[assignment]  # typeshed declares every dict unhashable
    __eq__ = object.__eq__
    __ne__ = object.__ne__

    _former: weakref.ref[Fixed[K, V]]
    _edited: frozenset[K]


F = TypeVar("F", bound=Fixed[Any, Any])


def edited(old: Fixed[K, V], edits: Mapping[K, V | None]) -> Fixed[K, V]:
    """A copy with the edits, of which None removes; `old` itself when nothing differs."""
    real = {key: value for key, value in edits.items() if old.get(key) is not value}
    if not real:
        return old
    new = type(old)(old)
    for key, value in real.items():
        if value is None:
            del new[key]
        else:
            new[key] = value
    return descended(new, old, real)


def descended(new: F, old: F, edits: Iterable[Any]) -> F:
    """Lets `new` know that it is `old` but for the keys of `edits`."""
    new._former, new._edited = weakref.ref(old), frozenset(edits)
    return new


def changed(old: Fixed[K, Any], new: Fixed[K, Any]) -> Collection[K]:
    """The keys of what came, went or is another object."""
    if new is old:
        return ()
    if not old:
        return list(new)
    former = getattr(new, "_former", None)
    if former is not None and former() is old:
        return new._edited
    if list(new) == list(old):  # both in one order, so that no row is looked up
        return set(compress(new, map(is_not, new.values(), old.values())))
    return {key for key, value in new.items() if old.get(key) is not value} | (old.keys() - new.keys())


EMPTY: Fixed[Any, Any] = Fixed()
