"""Work for many streams in slices, between which everything else on the event loop runs."""

from __future__ import annotations

import asyncio
from collections import deque

SLICE = 0.002
"""Seconds."""


class Breath:
    """Who has one of many pieces of work awaits `drawn` before it. It belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last = 0.0  # when a slice began
        self._many = 1

    async def drawn(self) -> None:
        """Returns at once while a slice lasts; else in a later turn of the loop, first come, first served."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            if loop.time() - self._last < SLICE:
                return
            loop.call_soon(self._draw, loop)
        self._waiting.append(loop.create_future())
        await self._waiting[-1]

    def _draw(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins a slice: with one of those who wait, or with more of them than before if these took less than one."""
        now = loop.time()
        self._many = 2 * self._many if now - self._last < SLICE else 1
        self._last = now
        for _ in range(min(self._many, len(self._waiting))):
            due = self._waiting.popleft()
            if not due.done():  # nobody gave up waiting
                due.set_result(None)
        if self._waiting:
            loop.call_soon(self._draw, loop)
