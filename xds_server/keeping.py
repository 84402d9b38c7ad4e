"""Keeps the last good state up to date on disk, beside the fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from xds_server.envoy.resource import Resource
from xds_server.last_good import LastGood, together
from xds_server.mesh.proxy import Proxy
from xds_server.state_file import StateError

Served = Mapping[Proxy, Callable[[], Iterable[Resource]]]
"""What each group gets; flattened only where it is called, which may be in a thread."""

_GROUPS = 256  # groups kept on disk, also of proxies that did not come back yet
_PAUSE = 0.05  # seconds between two savings
_SHARE = 10  # nothing is saved for so many times the CPU time that a saving took: it costs 10 % of a core at most

log = structlog.get_logger()


class Keeping:
    """served: what the groups get now."""

    def __init__(self, last_good: LastGood, served: Callable[[], Served]) -> None:
        self._last_good = last_good
        self._served = served
        self._more: dict[Proxy, tuple[Resource, ...]] = {}  # since the last saving
        self._unsaved = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._problem = ""

    def changed(self) -> None:
        """Some group gets something else."""
        self._unsaved.set()

    async def will_get(self, proxy: Proxy, resources: Iterable[Resource]) -> None:
        """Returns once it is kept that a group may get these too. What it gets must be so before anything else runs."""
        async with self._one_at_a_time:
            self._more[proxy] = together(self._more.get(proxy, ()), resources)
            await self._do(partial(self._last_good.add, list(self._more.items())))

    async def up_to_date(self) -> None:
        """Returns once all that the groups get is kept."""
        async with self._one_at_a_time:
            if self._unsaved.is_set():
                await self._save()

    async def run(self) -> None:
        """Saves soon after every change until it is cancelled, and once more then."""
        try:
            while True:
                await self._unsaved.wait()
                async with self._one_at_a_time:
                    seconds = await self._save()
                await asyncio.sleep(max(_PAUSE, seconds * _SHARE))
        finally:
            await self.up_to_date()

    async def _save(self) -> float:
        """Returns the seconds of CPU time that it took."""
        self._unsaved.clear()
        self._more.clear()
        groups = list(self._served().items())[-_GROUPS:]
        return await self._do(lambda: self._last_good.save((proxy, resources()) for proxy, resources in groups))

    async def _do(self, action: Callable[[], None]) -> float:
        """Does it in a thread, also when it is cancelled: an older state must not be written after a newer one."""
        doing = asyncio.ensure_future(asyncio.to_thread(_done, action))
        try:
            said, (self._problem, seconds) = self._problem, await asyncio.shield(doing)
        finally:
            await asyncio.wait({doing})
        if self._problem and self._problem != said:
            log.warning("what proxies get is not kept", reason=self._problem)
        elif said and not self._problem:
            log.info("what proxies get is kept again")
        return seconds


def _done(action: Callable[[], None]) -> tuple[str, float]:
    """Returns why it was not possible, and the seconds of CPU time that it took."""
    began = time.thread_time()
    try:
        action()
    except StateError as error:
        return str(error), 0.0
    return "", time.thread_time() - began
