"""The newest value, and nobody waits in a queue for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Holds one value. A follower that is slow misses values in between, never the newest.

    Belongs to one event loop; `set` must be called on it.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self._changed = asyncio.Event()

    def set(self, value: T) -> None:
        self.value = value
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncIterator[T]:
        """The value now, then every value that is the newest when the follower asks for the next."""
        while True:
            changed, value = self._changed, self.value
            yield value
            await changed.wait()
