"""Memoisation by identity: the arguments of a pure function are its cache key, so nothing is invalidated by hand.

The frozen structs of this project hash by identity (``eq=False``) and a value that did not change keeps its
object, so a lookup costs a few pointer comparisons however large the arguments are.
"""

from __future__ import annotations

from collections.abc import Callable
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
        self._old: dict[tuple[Any, ...], Any] = {}
        self._new: dict[tuple[Any, ...], Any] = {}

    def __call__(self, function: Callable[..., R], /, *args: object) -> R:
        key = (function, args)
        result = self._new.get(key, _MISSING)
        if result is _MISSING:
            result = self._old.get(key, _MISSING)
            if result is _MISSING:
                result = function(*args)
            self._new[key] = result
        return result  # type: ignore[no-any-return]

    def turn(self) -> None:
        """Ends a generation: what it did not use is forgotten."""
        self._old, self._new = self._new, {}

    def __len__(self) -> int:
        return len(self._old | self._new)


_MISSING: Any = object()
