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


def no_memo(function: Callable[..., R], /, *args: object) -> R:
    """Always calls. `translate` gives the same bytes with it as with a `Generations`."""
    return function(*args)


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
        """What was kept under the key in this generation or the one before; None for nothing."""
        return self._new.get(key, self._old.get(key))

    def keep(self, key: Hashable, value: Any) -> None:
        self._new[key] = value

    def turn(self) -> None:
        """Ends a generation: what it did not use is forgotten."""
        self._old, self._new = self._new, {}

    def __len__(self) -> int:
        return len(self._old | self._new)


_MISSING: Any = object()


def last(memo: Memo, key: Hashable) -> Any:
    """What a function kept when it was called last, from which it can make its next result more cheaply; None for
    nothing. A result must be the same without it: tests/property sees to that."""
    return memo.last(key) if isinstance(memo, Generations) else None


def keep(memo: Memo, key: Hashable, value: Any) -> None:
    if isinstance(memo, Generations):
        memo.keep(key, value)


def learned(memo: Memo, value: R, function: Callable[..., R], /, *args: object) -> R:
    """What `function` gives for the arguments, if that is known already; else `value`, which equals it and was cheaper
    to make, and from now on is what it gives."""
    if not isinstance(memo, Generations):
        return value
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
