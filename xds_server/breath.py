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
        self._is_over = True  # the last slice: the loop has turned since, and nobody waits
        self._began = 0.0
        self._many = 1

    async def drawn(self) -> None:
        """Returns at once while a slice lasts; else in a later turn of the loop, first come, first served."""
        loop = asyncio.get_running_loop()
        if self._is_over:
            self._is_over = False
            self._began = loop.time()
            loop.call_soon(self._turn, loop)
        elif self._waiting or loop.time() - self._began >= SLICE:
            self._waiting.append(loop.create_future())
            await self._waiting[-1]

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins a slice with some of those who wait: with more than before if these took less than one."""
        now = loop.time()
        self._many = 2 * self._many if now - self._began < SLICE else max(1, self._many // 2)
        self._began = now
        self._is_over = not self._waiting
        if self._is_over:
            self._many = 1  # how much those do who come next is not known
        for _ in range(min(self._many, len(self._waiting))):
            due = self._waiting.popleft()
            if not due.done():  # nobody gave up waiting
                due.set_result(None)
        if not self._is_over:
            loop.call_soon(self._turn, loop)
