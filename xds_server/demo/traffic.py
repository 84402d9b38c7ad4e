"""Requests at a steady rate, and what came back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator

from xds_server.demo.client import Reply, Target, fetch


class Traffic:
    """What was answered: in all, by whom within the last `window` requests, and every failure."""

    def __init__(self, window: int = 300) -> None:
        self.total = 0
        self.failures: list[Reply] = []
        self._recent: deque[str] = deque(maxlen=window)

    def record(self, reply: Reply) -> None:
        self.total += 1
        if reply.ok:
            self._recent.append(reply.json()["version"])
        else:
            self.failures.append(reply)

    def recent(self) -> Counter[str]:
        """Version -> answers within the window."""
        return Counter(self._recent)

    def share(self, version: str) -> float:
        """The version's part of the window, from 0 to 1."""
        recent = self.recent()
        return recent[version] / max(1, recent.total())

    def forget(self) -> None:
        """Starts a new window."""
        self._recent.clear()


@contextlib.asynccontextmanager
async def requests(target: Target, traffic: Traffic, senders: int = 4, pause: float = 0.03) -> AsyncIterator[None]:
    """Sends requests while the block runs: each of the senders one after the other, with a pause in seconds."""

    async def send() -> None:
        while True:
            traffic.record(await fetch(target))
            await asyncio.sleep(pause)

    tasks = [asyncio.create_task(send()) for _ in range(senders)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
