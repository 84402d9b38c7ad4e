"""Memoisation by identity: the arguments of a pure function are its cache key, so nothing is invalidated by hand.

The frozen structs of this project hash by identity (``eq=False``) and a value that did not change keeps its
object, so a lookup costs a few pointer comparisons however large the arguments are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


class Memo(Protocol):
    """Calls a pure function, or returns what it returned for the same arguments before."""

    def __call__(self, function: Callable[..., R], /, *args: object) -> R: ...

    def last(self, key: Hashable, /) -> Any:
        """What was kept under the key when it was asked for last; None for nothing. A function makes its next result of
        it, which must be the same without it: tests/property sees to that."""

    def keep(self, key: Hashable, value: Any, /) -> None: ...


class _NoMemo:
    def __call__(self, function: Callable[..., R], /, *args: object) -> R:
        return function(*args)

    def last(self, key: Hashable) -> None:
        return None

    def keep(self, key: Hashable, value: Any) -> None:
        pass


no_memo: Memo = _NoMemo()
"""Always calls. `translate` gives the same bytes with it as with a `Generations`."""


class Generations:
    """A memo that forgets what two consecutive generations did not ask for.

    The key holds the arguments themselves, so an object's identity cannot be reused while it is a key.
    """

    def __init__(self) -> None:
        self._old: dict[Any, Any] = {}
        self._new: dict[Any, Any] = {}

    def __call__(self, function: Callable[..., R], /, *args: object) -> R:
        key = (function, args)
        result = self._new.get(key, _MISSING)
        return self._older(key) if result is _MISSING else result  # type: ignore[no-any-return]

    def _older(self, key: tuple[Callable[..., Any], tuple[object, ...]]) -> Any:
        """The result of a call that this generation did not make yet."""
        result = self._old.get(key, _MISSING)
        if result is _MISSING:
            function, args = key
            result = function(*args)
        self._new[key] = result
        return result

    def last(self, key: Hashable) -> Any:
        """Kept in this generation or the one before."""
        found = self._new.get(key, _MISSING)
        return self._old.get(key) if found is _MISSING else found

    def keep(self, key: Hashable, value: Any) -> None:
        self._new[key] = value

    def turn(self) -> dict[Any, Any]:
        """Ends a generation: what it did not use is forgotten. Returns that, for the caller to let go of it."""
        forgotten, self._old, self._new = self._old, self._new, {}
        return forgotten

    def __len__(self) -> int:
        return len(self._old | self._new)


_MISSING: Any = object()


def learned(memo: Memo, value: R, function: Callable[..., R], /, *args: object) -> R:
    """What `function` gives for the arguments, if that is known already; else `value`, which equals it and was cheaper
    to make, and from now on is what it gives."""
    key = (function, args)
    found: R = memo.last(key) or value
    memo.keep(key, found)
    return found


def canonical(memo: Memo, value: R) -> R:
    """An equal value that was there before, if there was one; so that it is the same object."""
    found: R = memo(_itself, value)
    return found


def _itself(value: R) -> R:
    return value
